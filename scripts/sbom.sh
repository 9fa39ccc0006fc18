#!/usr/bin/env bash
# Writes what the program consists of to target/sbom/luthien.cdx.json (CycloneDX 1.5), and checks it: the schema, and that
# every crate of the program is in it. The same sources give the same bytes, whatever folder they are in.
#
# Takes some minutes the first time, to build the tool. SBOM_TARGET names another platform than this one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TOOL=cargo-cyclonedx
readonly TOOL_VERSION=0.5.9
readonly VALIDATOR='cyclonedx-python-lib[json-validation]==11.12.0'
readonly OUT=target/sbom/luthien.cdx.json

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

for program in cargo git python3; do
  command -v "$program" >/dev/null || fail "$program is not installed"
done
target=${SBOM_TARGET:-$(rustc --print host-tuple)}

if [ "$(.tools/cyclonedx/bin/$TOOL cyclonedx --version 2>/dev/null)" != "$TOOL-cyclonedx $TOOL_VERSION" ]; then
  cargo install --quiet --locked --root .tools/cyclonedx "$TOOL@$TOOL_VERSION" || fail "$TOOL cannot be installed (see above)"
fi
if ! [ -x .tools/cyclonedx/python/bin/python ] || [ "$(cat .tools/cyclonedx/validator.txt 2>/dev/null)" != "$VALIDATOR" ]; then
  rm -rf .tools/cyclonedx/python
  python3 -m venv .tools/cyclonedx/python
  .tools/cyclonedx/python/bin/pip install --quiet --no-input --disable-pip-version-check "$VALIDATOR" ||
    fail "the validator cannot be installed (see above)"
  printf '%s\n' "$VALIDATOR" >.tools/cyclonedx/validator.txt
fi

mkdir -p "$(dirname "$OUT")"
# With a time given, the tool leaves out the serial number that would be another each time.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} \
  .tools/cyclonedx/bin/$TOOL cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps \
  --override-filename luthien.cdx
# The tool names the crate by its folder.
sed "s|path+file://$PWD#|luthien#|g" luthien.cdx.json >"$OUT"
rm luthien.cdx.json

cargo tree --locked --edges normal --target "$target" --prefix none --no-dedupe --format '{p}' |
  awk '{ print $1 "@" substr($2, 2) }' | sort -u |
  .tools/cyclonedx/python/bin/python -c '
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1], encoding="utf-8").read()
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
if error:
    sys.exit(f"error: it is no CycloneDX: {error}")
bom = json.loads(text)
listed = {f"{part['"'name'"']}@{part['"'version'"']}" for part in bom["components"] + [bom["metadata"]["component"]]}
missing = {line.strip() for line in sys.stdin} - listed
if missing or len(listed) < 100:
    sys.exit(f"error: the list lacks {sorted(missing)}; it has {len(listed)} parts")
print(f"{sys.argv[1]}: {len(listed)} parts")
' "$OUT"
