#!/bin/sh
# `make graph`: which top-level module uses which, read from the `crate::MODULE` paths in the sources. Tests (files and
# `mod tests`) are left out: they may use anything. Prints text and writes target/graph.dot for Graphviz
# (`dot -Tsvg target/graph.dot`).
set -eu

cd "$(dirname "$0")/.."
mkdir -p target
edges=target/graph.txt

find src -name '*.rs' ! -name tests.rs | sort | while read -r file; do
  module=${file#src/}
  module=${module%%/*}
  module=${module%.rs}
  # From `#[cfg(test)]` to the end of the file are the tests, and what a comment says is no use.
  sed -e '/^#\[cfg(test)\]/,$d' -e 's://.*$::' "$file" |
    grep -oE 'crate::([a-z_]+|\{[^}]*\})' |
    sed -e 's/^crate:://' |
    tr -d '{} ' | tr ',' '\n' | sed -e 's/::.*$//' |
    while read -r used; do
      if [ -n "$used" ] && [ "$used" != "$module" ] && { [ -e "src/$used.rs" ] || [ -d "src/$used" ]; }; then
        printf '%s %s\n' "$module" "$used"
      fi
    done || true
done | sort | uniq -c | awk '{ print $2, $3, $1 }' >"$edges"

awk '{
  if ($1 != last) { if (NR > 1) printf "\n"; printf "%-12s ->", $1; last = $1 }
  printf " %s(%s)", $2, $3
} END { printf "\n" }' "$edges"

{
  echo 'digraph modules {'
  echo '  rankdir = BT; node [shape = box, fontname = "sans-serif"];'
  awk '{ printf "  \"%s\" -> \"%s\" [label = \"%s\"];\n", $1, $2, $3 }' "$edges"
  echo '}'
} >target/graph.dot
rm -f "$edges"
echo 'target/graph.dot written; dot -Tsvg target/graph.dot draws it'
