"""kubectl as the tests use it: one class for one namespace. Every call has a deadline."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

ROOT = Path(__file__).resolve().parents[3]


class Failed(Exception):
    """A command ended with an error; the message is what it said."""


def run(*command: str | Path, stdin: str | None = None, seconds: float = 60.0) -> str:
    """Run a command at the project's root and return its standard output.

    Raises:
        Failed: it ended with an error, or not in time.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(words)}: not done in {seconds:g} s; {error.stderr!r}") from error
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Kubectl:
    """kubectl in a namespace.

    Args:
        namespace: where namespaced resources are.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *arguments: str | Path, stdin: str | None = None, seconds: float = 60.0) -> str:
        return run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin, seconds=seconds)

    def get(self, kind: str, name: str) -> Resource:
        """One resource; ``Failed`` where it is not there."""
        found: Resource = json.loads(self("get", kind, name, "--output=json"))
        return found

    def find(self, kind: str, name: str) -> Resource | None:
        """One resource, or None."""
        text = self("get", kind, name, "--output=json", "--ignore-not-found")
        return json.loads(text) if text else None

    def list(self, kind: str, *selectors: str) -> Sequence[Resource]:
        """All resources of a kind with these labels, by name; several kinds are separated by commas."""
        chosen = [f"--selector={','.join(selectors)}"] if selectors else []
        items: list[Resource] = json.loads(self("get", kind, "--output=json", *chosen))["items"]
        return items

    def names(self, kind: str, *selectors: str) -> set[str]:
        """The names of all resources of a kind with these labels."""
        return {item["metadata"]["name"] for item in self.list(kind, *selectors)}

    def apply(self, document: str | Resource) -> None:
        """Apply YAML or a resource."""
        text = document if isinstance(document, str) else json.dumps(document)
        self("apply", "--filename=-", stdin=text)

    def patch(self, kind: str, name: str, change: Resource) -> None:
        """Apply a JSON merge patch."""
        self("patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}")

    def execute(self, pod: str, *command: str, seconds: float = 30.0) -> str:
        """Run a command in a pod."""
        return self("exec", pod, "--", *command, seconds=seconds)


def condition(resource: Resource, name: str) -> Resource:
    """A condition of a resource; empty where it has none of that name."""
    found = (one for one in resource.get("status", {}).get("conditions", []) if one["type"] == name)
    return next(found, {})


def holds(resource: Resource, name: str) -> bool:
    """Whether a condition is true."""
    return condition(resource, name).get("status") == "True"
