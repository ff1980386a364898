"""The pod that searches all the time (``searcher.py``), and what its answers were while something happened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.waiting import until

PROGRAM = Path(__file__).with_name("searcher.py")
COUNTS = ("ok", "failed", "wrong", "partial", "again", "skipped")


@dataclass
class Answers:
    """Answers of a span of time.

    Attributes:
        counts: numbers of answers by result. ``again`` counts those that needed more than one attempt, and ``skipped``
            the searches that were not sent because too many were in flight.
        milliseconds: of each answer, from the moment at which it was due.
        issues: what the searcher said about those that did not go well.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    milliseconds: list[float] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)

    def percentile(self, percent: float) -> float:
        """Milliseconds that so many percent of the answers took at most."""
        return float(np.percentile(self.milliseconds, percent)) if self.milliseconds else float("inf")

    def check(self, *, partial: bool = False, again: bool = False, least: int = 1) -> None:
        """Nothing failed and nothing was wrong.

        Args:
            partial: whether answers may be partial.
            again: whether a search may have needed more than one try.
            least: how many were right at least; none would prove nothing.
        """
        allowed = {"ok", *(["partial"] if partial else []), *(["again"] if again else [])}
        bad = {name: count for name, count in self.counts.items() if count and name not in allowed}
        assert not bad, f"{self.counts}; {self.issues[:5]}"
        assert self.counts["ok"] >= least, f"{self.counts}; {self.issues[:5]}"


@dataclass
class Searches:
    """A searcher that runs as a pod.

    Args:
        kubectl: of the namespace in which it runs.
        name: of the pod.
    """

    kubectl: Kubectl
    name: str
    _rate: float = field(default=0.0, init=False)

    def start(self, router: str, rate: float, image: str, machine: str, nprobe: int | None = None) -> None:
        """Start it and wait until it has searched well for a second: the first searches find cold caches.

        Args:
            router: base URL.
            rate: searches a second.
            image: of the client.
            machine: the Kubernetes node on which it runs.
            nprobe: cells that it searches; all of them unless given.
        """
        program = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": self.name}}
        self.kubectl.apply({**program, "data": {"searcher.py": PROGRAM.read_text()}})
        arguments = [router, str(rate), *([] if nprobe is None else [str(nprobe)])]
        self.kubectl.apply(_pod(self.name, image, machine, arguments))
        self._rate = rate
        self.wait_well()

    def wait_well(self) -> None:
        """Wait until it has searched well for a second."""
        until(lambda: self._goes_well(self._rate), f"pod {self.name} gets answers", 90)

    def stop(self) -> None:
        """End it."""
        self.kubectl("delete", "pod,configmap", self.name, "--grace-period=1", "--ignore-not-found")

    def since(self, begun: float, ended: float = float("inf")) -> Answers:
        """What came back between two moments of the searcher's clock (seconds since 1970)."""
        answers = Answers()
        for line in self._lines():
            if not begun < line["time"] <= ended:
                continue
            if "ok" not in line:
                answers.issues.append(line)
                continue
            for name in COUNTS:
                answers.counts[name] += line[name]
            answers.milliseconds += line["ms"]
        return answers

    def seconds(self, begun: float) -> list[tuple[float, Answers]]:
        """The reports since a moment, each with its own moment."""
        return [
            (line["time"], Answers({name: line[name] for name in COUNTS}, line["ms"]))
            for line in self._lines()
            if line["time"] > begun and "ok" in line
        ]

    def now(self) -> float:
        """The moment of the last report."""
        return max((line["time"] for line in self._lines() if "ok" in line), default=0.0)

    @contextmanager
    def watched(self) -> Iterator[Answers]:
        """The answers while the body runs, and a little longer; they are there after it."""
        answers = Answers()
        begun = self.now()
        yield answers
        settled = time.time() + 1.0
        until(lambda: self.now() >= settled, f"pod {self.name} goes on", 30)
        found = self.since(begun)
        answers.counts, answers.milliseconds, answers.issues = (
            found.counts,
            found.milliseconds,
            found.issues,
        )

    def _goes_well(self, rate: float) -> bool:
        reports = [line for line in self._lines() if "ok" in line][-2:]
        return bool(sum(line["ok"] - line["again"] for line in reports) >= 0.8 * rate)

    def _lines(self) -> list[dict[str, Any]]:
        lines = []
        for text in self.kubectl("logs", self.name, "--ignore-errors").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue  # a line that is being written, or a trace; diagnostics have the whole log
        return lines


def _pod(name: str, image: str, machine: str, arguments: list[str]) -> dict[str, Any]:
    container = {
        "name": "searcher",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-P", "/program/searcher.py", *arguments],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "program", "mountPath": "/program"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": machine},
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [
                {"name": "program", "configMap": {"name": name}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }
