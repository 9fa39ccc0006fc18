#!/usr/bin/env python3
"""Writes what is made of the chart's values: README.md from the comments in values.yaml, and the settings in
values.schema.json from config/schema/. `--check` writes nothing and fails when something is out of date.

values.yaml is read line by line, so that nothing has to be installed: two spaces of indentation, a comment above its key, lists
and mappings of one line where they are a default.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/helm/luthien"
SETTINGS = ROOT / "config/schema/luthien.schema.json"
PREFIX = "settings:"
HEAD = """# Values of Luthien's chart

Made of the comments in [values.yaml](values.yaml) by `make chart`. [docs/kubernetes.md](../../../docs/kubernetes.md) says how things
are done; `values.schema.json` refuses what is not here.
"""


def sections(text):
    """Yields (section, [(path, default, comment)])."""
    title, rows, comment, path = None, [], [], []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        heading = re.fullmatch(r"# ---- (.+) ----", line)
        key = re.fullmatch(r"( *)([A-Za-z]+):(?: (.+))?", line)
        if heading:
            if title:
                yield title, rows
            title, rows, comment = heading[1], [], []
        elif line.lstrip().startswith("#"):
            comment.append(line.strip().lstrip("#").strip())
        elif key:
            depth = len(key[1]) // 2
            path = path[:depth] + [key[2]]
            following = lines[number + 1] if number + 1 < len(lines) else ""
            default = key[3]
            if default is None and following.lstrip().startswith("- "):
                default = f"[{following.strip()[2:]}]"
            if default is not None or comment:
                rows.append((".".join(path), default, " ".join(comment)))
            comment = []
        elif not line:
            comment = []
    yield title, rows


def readme():
    out = [HEAD]
    for title, rows in sections((CHART / "values.yaml").read_text(encoding="utf-8")):
        out.append(f"\n## {title}\n\n| value | default | |\n|---|---|---|\n")
        for path, default, comment in rows:
            shown = "" if default is None else f"`{default}`"
            out.append(f"| `{path}` | {shown} | {comment.replace('|', chr(92) + '|')} |\n")
    return "".join(out)


def adapt(node):
    """A part of the settings' schema as Helm's validators read it: draft 7, its definitions among the chart's."""
    if isinstance(node, list):
        return [adapt(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: adapt(value) for key, value in node.items() if key not in ("default", "x-remedy", "format")}
    if isinstance(node.get("$ref"), str):
        # In draft 7 nothing counts beside a reference.
        return {"$ref": node["$ref"].replace("#/$defs/", f"#/definitions/{PREFIX}")}
    choices = node.get("oneOf")
    if choices and all(isinstance(one, dict) and "const" in one for one in choices):
        # Says what may stand there, in place of "must match exactly one".
        node.pop("oneOf")
        node["enum"] = [one["const"] for one in choices]
    return node


def schema():
    chart = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    settings = json.loads(SETTINGS.read_text(encoding="utf-8"))
    definitions = {name: value for name, value in chart["definitions"].items() if not name.startswith(PREFIX)}
    for name, value in settings.pop("$defs").items():
        definitions[PREFIX + name] = adapt(value)
    for key in ("$schema", "title", "required"):
        settings.pop(key)
    definitions[f"{PREFIX}Settings"] = adapt(settings)
    chart["definitions"] = definitions
    return json.dumps(chart, indent=2, ensure_ascii=False) + "\n"


def main():
    stale = []
    for path, text in ((CHART / "README.md", readme()), (CHART / "values.schema.json", schema())):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv[1:]:
            stale.append(str(path.relative_to(ROOT)))
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"{' and '.join(stale)} out of date; run `make chart`")


if __name__ == "__main__":
    main()
