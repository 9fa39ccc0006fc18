"""Validates Kubernetes objects strictly: `validate.py VERSION FILE…`. Prints what is wrong, and at last how many different ones were looked
at, and which kinds were not, because they are none of Kubernetes' own."""

import json
import sys

import kubernetes_validate
import yaml

# Of the Prometheus operator, cert-manager, Envoy Gateway, the Gateway API and Istio.
FOREIGN = (
    "monitoring.coreos.com/",
    "cert-manager.io/",
    "gateway.envoyproxy.io/",
    "gateway.networking.k8s.io/",
    "networking.istio.io/",
    "security.istio.io/",
)


def main():
    version, seen, left_out, wrong = sys.argv[1], set(), set(), 0
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as file:
            for document in yaml.load_all(file, yaml.CSafeLoader):
                if not document:
                    continue
                if document["apiVersion"].startswith(FOREIGN):
                    left_out.add(document["kind"])
                    continue
                # Many sets have the same.
                text = json.dumps(document, sort_keys=True)
                if text in seen:
                    continue
                seen.add(text)
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    wrong += 1
                    where = ".".join(str(part) for part in error.path)
                    print(f"{path}: {document['kind']} {document['metadata']['name']}: {where}: {error.message}")
    print(f"{len(seen)} validated, {wrong} wrong, not looked at: {' '.join(sorted(left_out)) or 'none'}")
    sys.exit(wrong != 0)


main()
