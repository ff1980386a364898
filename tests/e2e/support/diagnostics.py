"""What to look at when a test has failed: the state of the cluster, into a folder."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.support.kubectl import Failed, run
from tests.e2e.support.settings import Settings

LINES = "--tail=2000"


def collect(settings: Settings, folder: Path) -> None:
    """Write resources, events and logs of our namespaces into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "nodes.txt", "get", "nodes", "--output=wide")
    for namespace in (settings.system, settings.words, settings.other):
        scope = f"--namespace={namespace}"
        _save(
            folder / f"{namespace}.txt", scope, "get", "all,pvc,configmap,networkpolicy,pdb", "--output=wide"
        )
        _save(
            folder / f"{namespace}.yaml",
            scope,
            "get",
            "vectorcaches,statefulsets,deployments",
            "--output=yaml",
        )
        _save(folder / f"{namespace}-events.txt", scope, "get", "events", "--sort-by=.lastTimestamp")
        _save(folder / f"{namespace}-pods.txt", scope, "describe", "pods")
        for pod in _lines(scope, "get", "pods", "--output=name"):
            name = pod.partition("/")[2]
            _save(folder / f"{namespace}-{name}.log", scope, "logs", name, "--all-containers", LINES)
            _save(folder / f"{namespace}-{name}-before.log", scope, "logs", name, "--previous", LINES)


def _save(path: Path, *arguments: str) -> None:
    try:
        text = run("kubectl", *arguments, seconds=20)
    except Failed as error:
        text = f"{error}\n"
        if "--previous" in arguments:
            return  # as good as always: there is no previous one
    path.write_text(text)


def _lines(*arguments: str) -> list[str]:
    try:
        return run("kubectl", *arguments, seconds=20).split()
    except Failed:
        return []
