#!/usr/bin/env python3
"""Draws which module uses which, from the `use crate::` trees: as text, and as target/graph.dot.

Only what files import is read; a path that is written out in the code (`crate::json::quote`) counts as well. Tests are left
out, because they may use anything.
"""

import collections
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"


def code(path):
    """The text of a file without comments and without its tests."""
    text = path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests {")[0]
    return re.sub(r"//[^\n]*", "", text)


def top_names(tree):
    """The first names of a `use` tree in braces: `model::{A, B}, json` gives model, json."""
    depth, names, name = 0, [], ""
    for char in tree:
        if char == "}" and depth == 0:
            break
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            names.append(name)
            name = ""
        elif depth == 0:
            name += char
    return [part.split("::")[0].strip() for part in [*names, name] if part.strip()]


def main():
    modules = {path.stem if path.suffix == ".rs" else path.name for path in SOURCE.iterdir()}
    uses = collections.defaultdict(collections.Counter)
    for path in sorted(SOURCE.rglob("*.rs")):
        if path.name in ("tests.rs", "stub.rs"):
            continue
        module = path.relative_to(SOURCE).parts[0].removesuffix(".rs")
        text = code(path)
        for found in re.finditer(r"\bcrate::", text):
            rest = text[found.end():]
            names = top_names(rest[1:]) if rest.startswith("{") else [re.match(r"\w*", rest)[0]]
            for name in names:
                if name in modules and name != module:
                    uses[module][name] += 1
    ranks = {}

    def rank(module):
        if module not in ranks:
            ranks[module] = 1 + max((rank(used) for used in uses[module]), default=-1)
        return ranks[module]

    width = max(map(len, modules))
    shown = sorted(modules - {"lib", "main"}, key=lambda module: (-rank(module), module))
    for module in shown:
        targets = " ".join(f"{name}({count})" for name, count in sorted(uses[module].items()))
        print(f"{rank(module)}  {module:<{width}} -> {targets or '-'}")
    lines = [f'  "{module}" -> "{used}";' for module in shown for used in sorted(uses[module])]
    target = ROOT / "target" / "graph.dot"
    target.parent.mkdir(exist_ok=True)
    target.write_text("digraph luthien {\n  rankdir=BT;\n" + "\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{target.relative_to(ROOT)} written; `dot -Tsvg target/graph.dot` draws it")


main()
