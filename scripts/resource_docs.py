"""Make docs/resource.md from the CRD and from the operator's tables.

python scripts/resource_docs.py            write it
python scripts/resource_docs.py --check    say whether that would change anything; exit status 1 if so
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from prometheus_client import CollectorRegistry

from vectorcache_operator.conditions import MEANINGS
from vectorcache_operator.events import OTHER_REASONS
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.settings import OperatorSettings
from vectorcache_service.settings import flag, variable

ROOT = Path(__file__).parents[1]
CRD = ROOT / "manifests/crd/vectorcaches.yaml"
PAGE = ROOT / "docs/resource.md"

HEAD = """\
<!-- Made by scripts/resource_docs.py from manifests/crd/vectorcaches.yaml and the operator's tables. -->

# The resource VectorCache

A `VectorCache` (short: `vc`) describes one cache over one blob store: how many nodes, how much memory and disk each,
how many routers. The operator makes it so and keeps it so.

```yaml
apiVersion: vectorcache.io/v1alpha1
kind: VectorCache
metadata:
  name: products
spec:
  blob: {url: "azure://account/container/prefix", credentialsSecret: blob}
  nodes: {replicas: 3, memory: {capacity: 4Gi}, disk: {capacity: 40Gi}}
```

`kubectl explain vectorcache.spec.nodes` says what follows, too. `kubectl scale vc/products --replicas=5` and an
autoscaler change `spec.nodes.replicas`.

## What it owns

All of it carries an owner reference, so that it goes with the resource; none has a finalizer. What is deleted or
changed by hand is put right at once, in all fields that the operator sets; fields that it does not set are left to
whoever sets them.

| object | for |
|---|---|
| StatefulSet `NAME-node`, headless Service, ServiceAccount | the nodes; started in parallel, updated one by one |
| claims `cache-NAME-node-N` | the nodes' disks; kept or deleted as `deletionPolicy` says |
| Deployment `NAME-router`, Service, ServiceAccount | the routers |
| Role, RoleBinding `NAME-router` | lets routers watch the nodes' pods and scale this one resource |
| ConfigMap `NAME` | the ring, so that a node warms what it is about to own |
| PodDisruptionBudgets `NAME-node`, `NAME-router` | one pod of each at a time may be evicted |
| NetworkPolicy `NAME-node` | only routers (and the operator) reach nodes |
| NetworkPolicy `NAME-router` | with `router.allowFrom`: only those peers (and the operator) reach routers |
| ServiceMonitor `NAME` | where the cluster has the kind; pods of Prometheus[^1] may then read metrics |

[^1]: in any namespace, labelled `app.kubernetes.io/name: prometheus`
"""

CONDITIONS = """\
Each carries the generation that it speaks of; `lastTransitionTime` moves only where the status changes.

`Ready` becomes true for the first time when all nodes and routers are ready. From then on it stays true as long as
one of each is: any node can answer for any other.
"""


class Field(NamedTuple):
    """One field of the schema."""

    path: str
    type: str
    default: str
    allowed: str
    text: str


def fields(schema: dict[str, Any], path: str = "") -> Iterator[Field]:
    """Every field below a schema that holds a value, and every object that says something."""
    for name, part in schema.get("properties", {}).items():
        where = f"{path}.{name}" if path else name
        inner = part.get("items", part)
        below = list(fields(inner, f"{where}[]" if "items" in part else where))
        if not below or "items" in part:
            yield Field(where, _type(part), _default(part), _allowed(part), part.get("description", ""))
        yield from below


def rules(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every rule: where it holds, and its message."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path or "metadata", " ".join(rule["message"].split())
    for name, part in schema.get("properties", {}).items():
        yield from rules(part, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from rules(schema["items"], f"{path}[]")


def page() -> str:
    """The whole page."""
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    columns = version["additionalPrinterColumns"]
    settings = dataclasses.fields(OperatorSettings)
    parts = [
        HEAD,
        "## Spec\n",
        _table(("field", "type", "default", "allowed", "meaning"), (_row(one) for one in fields(spec))),
        "### Rules\n",
        "What breaks one of these is refused at once, with the message below.\n",
        _table(("where", "message"), ((f"`{where}`", message) for where, message in rules(schema))),
        "## Status\n",
        _table(
            ("field", "type", "meaning"), ((f"`{one.path}`", one.type, one.text) for one in fields(status))
        ),
        "### Conditions\n",
        CONDITIONS,
        _table(
            ("condition", "status", "reason", "meaning"),
            ((f"`{one.type}`", one.status, f"`{one.reason}`", one.text) for one in MEANINGS),
        ),
        "### Columns\n",
        "Those of `kubectl get vc`; the ones marked wide come with `-o wide`.\n",
        _table(
            ("column", "meaning"),
            (
                (
                    one["name"] + (" (wide)" if one.get("priority") else ""),
                    one.get("description", "Since it was made."),
                )
                for one in columns
            ),
        ),
        "### Events\n",
        "Reasons of conditions appear as Events too when they change, and these:\n",
        _table(("reason", "meaning"), ((f"`{reason}`", text) for reason, text in OTHER_REASONS.items())),
        "## The operator\n",
        "### Settings\n",
        _table(
            ("flag", "variable", "default", "meaning"),
            (
                (
                    f"`{flag(one.name)}`",
                    f"`{variable(one.name)}`",
                    f"`{one.metadata['text']}`" if one.metadata["text"] else "",
                    one.metadata["help"],
                )
                for one in settings
            ),
        ),
        "### Metrics\n",
        _table(("metric", "meaning"), _metrics()),
    ]
    return "\n".join(parts)


def _column(column: dict[str, Any]) -> str:
    return f"{column['name']} (wide)" if column.get("priority") else str(column["name"])


def _metrics() -> list[tuple[str, str]]:
    families = OperatorMetrics(CollectorRegistry()).registry.collect()
    names = (
        (family.name + ("_total" if family.type == "counter" else ""), family.documentation)
        for family in families
    )
    return sorted((f"`{name}`", text) for name, text in names if name.startswith("vectorcache_"))


def _row(one: Field) -> tuple[str, ...]:
    return f"`{one.path}`", one.type, one.default, one.allowed, one.text


def _type(part: dict[str, Any]) -> str:
    if part.get("type") == "array":
        return "list"
    if "additionalProperties" in part:
        return "map"
    return str(part.get("type", "object"))


def _default(part: dict[str, Any]) -> str:
    default = part.get("default")
    return (
        "" if default in (None, {}) else f"`{default if isinstance(default, str) else json.dumps(default)}`"
    )


def _allowed(part: dict[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{one}`" for one in part["enum"])
    least, most = part.get("minimum"), part.get("maximum")
    if least is not None:
        return f"{least} to {most}" if most is not None else f"from {least}"
    return ""


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = (" | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in cells).replace("| --- |", "|---|").replace(" --- ", "---")


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    made = page()
    if "--check" in arguments:
        same = PAGE.exists() and PAGE.read_text() == made
        if not same:
            sys.stderr.write(f"{PAGE.relative_to(ROOT)} is not what scripts/resource_docs.py makes\n")
        return int(not same)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
