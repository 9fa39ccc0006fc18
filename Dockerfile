# Luthien's image: the one program, without a shell, for a user without rights. `docker build -t luthien .`
#
# The program is linked statically, so that it also runs in Envoy's container, where `luthien envoy-config
# --install-program` puts it. The runtime is distroless and not slim Debian: it holds the certificate authorities and time
# zones, which is all that the program needs, and nothing that an intruder could start. What a shell would do, the program
# does itself: `luthien healthcheck`, `luthien drain` and `luthien envoy-config --output`.
#
# A static glibc resolves names by /etc/hosts and by DNS as /etc/resolv.conf says, which is what containers have. It loads
# no other sources of /etc/nsswitch.conf (mdns, LDAP, systemd's resolver other than as a DNS server).

# By tag, with the whole version where there is one. `scripts/pin-images.sh build` prints both by digest, for releases.
ARG BUILDER=rust:1.95.0-slim-bookworm
ARG RUNTIME=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILDER} AS build
WORKDIR /src
# release, or local: quicker to build, slower to run.
ARG PROFILE=release
# With a target named, the flags are for the program only: what runs while it is built (macros) cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static"

# jemalloc is built with make, which the slim image does not have. On arm64 it has to know the largest pages that a kernel may have,
# which are not those of the machine that builds: 64 KiB.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && if [ "$(uname -m)" = aarch64 ]; then printf '[env]\nJEMALLOC_SYS_WITH_LG_PAGE = "16"\n' >> "$CARGO_HOME/config.toml"; fi

# The dependencies, in a layer that lasts until Cargo.lock changes: they are compiled for a program that does nothing.
# The registry is a cache of the builder; what was compiled is in the layer, so that it travels with it.
COPY Cargo.toml Cargo.lock ./
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    mkdir src \
    && echo '//! Nothing yet.' > src/lib.rs \
    && printf '//! Nothing yet.\nfn main() {}\n' > src/main.rs \
    && cargo build --locked --profile "$PROFILE" --target "$(rustc --print host-tuple)" --lib --bins \
    && rm -r src

COPY askama.toml ./
COPY config/prices.yaml config/
COPY migrations migrations
COPY src src
# Newer than what was built from the placeholders, whatever time the files bring along.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    touch src/lib.rs src/main.rs \
    && host=$(rustc --print host-tuple) \
    && cargo build --locked --profile "$PROFILE" --target "$host" --lib --bins \
    && install -D "target/$host/$PROFILE/luthien" /out/luthien \
    && mkdir -p /out/run /out/state

FROM ${RUNTIME}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Luthien" \
      org.opencontainers.image.description="Programmable policy between any AI client and any LLM provider, as an Envoy external processor" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/luthien /usr/local/bin/luthien
# A volume takes the owner of the folder that it is mounted over.
COPY --from=build --chown=65532:65532 /out/run /run/luthien
COPY --from=build --chown=65532:65532 /out/state /var/lib/luthien
ENV LUTHIEN_STATE_DIR=/var/lib/luthien
WORKDIR /var/lib/luthien
USER 65532:65532
ENTRYPOINT ["luthien"]
