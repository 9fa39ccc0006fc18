"""Renders sets of values with Helm 4, as a JSON object of sets, templates and texts: `helm4.py CHART NAMESPACE SET…`. A chart that does
not lint is an error."""

import json
import sys

import helm_python


def main():
    path, namespace, *sets = sys.argv[1:]
    rendered = {}
    with helm_python.Chart.load(path) as chart:
        for name in sets:
            with open(f"tests/chart/values/{name}.yaml", encoding="utf-8") as file:
                values = helm_python.values_from_yaml(file.read())
            report = helm_python.lint(path, values, strict=True, namespace=namespace, kube_version="v1.32.0")
            if report["errors"]:
                sys.exit(f"{name}: {report['errors']}")
            rendered[name] = chart.render(values=values, name="luthien", namespace=namespace)
    json.dump(rendered, sys.stdout)


main()
