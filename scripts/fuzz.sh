#!/usr/bin/env bash
# Fuzzes one target after the other. `make fuzz` calls it.
#
#   make fuzz                              every target, ten minutes each
#   make fuzz TARGET=json FUZZ_SECONDS=60  one of them
#
# Inputs that find something new are kept in fuzz/corpus/TARGET, so that the next run goes on from there. An input that
# fails, hangs or takes too much memory is made small, and stands in fuzz/artifacts/TARGET. Ends with an error then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CARGO_FUZZ=0.13.2
readonly HOST=x86_64-unknown-linux-gnu
# How long an input may be, in bytes; how long one run may take, in seconds; how much memory it may take, in MiB.
readonly MAX_LEN=${FUZZ_MAX_LEN:-16384} TIMEOUT=${FUZZ_TIMEOUT:-10} MEMORY=2048
seconds=${FUZZ_SECONDS:-600}

mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
if [ -n "${TARGET:-}" ]; then
  case " ${targets[*]} " in
  *" $TARGET "*) targets=("$TARGET") ;;
  *) echo "there is no target \`$TARGET\`; write one of: ${targets[*]}" && exit 2 ;;
  esac
fi

tool=.tools/cargo-fuzz/bin/cargo-fuzz
if ! "$tool" --version 2>/dev/null | grep -qF "$CARGO_FUZZ"; then
  cargo install --locked --quiet --version "$CARGO_FUZZ" --root .tools/cargo-fuzz cargo-fuzz
fi

# Coverage needs a compiler flag that is not stable yet. Nothing here uses `unsafe`, so that no sanitizer of memory is needed.
build=(env RUSTC_BOOTSTRAP=1 "$tool" build --sanitizer none --target "$HOST")
# All of them at once would keep every one of the programs in memory that the linker makes.
for target in "${targets[@]}"; do
  "${build[@]}" "$target"
done

dictionary() {
  case $1 in
  json) echo json ;;
  rules | settings | kubernetes) echo yaml ;;
  cel) echo cel ;;
  shell) echo shell ;;
  *) echo wire ;;
  esac
}

# Makes an input small that fails, and says what to do with it.
minimise() {
  local target=$1 program=$2 found=$3 small=fuzz/artifacts/$1/small-${3##*/}
  "$program" -minimize_crash=1 -max_total_time=60 "-timeout=$TIMEOUT" "-rss_limit_mb=$MEMORY" \
    -exact_artifact_path="$small" "$found" >/dev/null 2>&1 || true
  [ -s "$small" ] || cp "$found" "$small"
  echo "FOUND: $small"
  echo "  again:       $program $small"
  echo "  to keep it:  mkdir -p tests/fuzz/regressions/$target && cp $small tests/fuzz/regressions/$target/WHAT_IT_SHOWS"
  echo "  as a test:   cargo nextest run --test it -E 'test(fuzz::replay::$target)'"
}

failed=0
for target in "${targets[@]}"; do
  program=fuzz/target/$HOST/release/$target
  corpus=fuzz/corpus/$target artifacts=fuzz/artifacts/$target seeds=fuzz/corpus/.seeds/$target
  rm -rf "$seeds" && mkdir -p "$corpus" "$artifacts" "$seeds"
  LUTHIEN_FUZZ_SEEDS=$seeds "$program"
  before=$(find "$artifacts" -type f | wc -l)
  log=$artifacts/log
  echo "== $target: ${seconds}s"
  status=0
  inputs=("$corpus" "$seeds")
  [ ! -d "tests/fuzz/regressions/$target" ] || inputs+=("tests/fuzz/regressions/$target")
  # What is known already is not written again.
  "$program" "${inputs[@]}" "-max_total_time=$seconds" "-max_len=$MAX_LEN" "-timeout=$TIMEOUT" \
    "-rss_limit_mb=$MEMORY" "-dict=fuzz/dictionaries/$(dictionary "$target").dict" "-artifact_prefix=$artifacts/" \
    -print_final_stats=1 >"$log" 2>&1 || status=$?
  grep -E 'INITED|^Done|stat::(number_of_executed_units|average_exec_per_sec|slowest_unit_time_sec|peak_rss_mb)' "$log" || true
  grep -E 'cov:' "$log" | tail -1 || true
  [ "$status" -eq 0 ] && continue
  failed=1
  grep -nE 'panicked at|ERROR: libFuzzer|SUMMARY' -A2 "$log" | head -20 || true
  if [ "$(find "$artifacts" -type f | wc -l)" -gt "$before" ]; then
    while IFS= read -r found; do minimise "$target" "$program" "$found"; done < <(find "$artifacts" -type f -newer "$seeds" -regextype posix-extended -regex '.*/(crash|timeout|oom|leak|slow-unit)-[0-9a-f]+')
  fi
done
exit "$failed"
