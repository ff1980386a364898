"""Watches that record when resources appear and become ready."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_COLUMNS = 'jsonpath={.kind}{"/"}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}'


@dataclass
class Seen:
    """Attributes: first, when a resource was first seen; ready, when it was first seen ready (seconds, monotonic)."""

    first: dict[str, float] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)

    def note(self, line: str, clock: Callable[[], float] = time.monotonic) -> None:
        """A line of kubectl: kind/name, and the status of the condition Ready where there is one."""
        name, _, status = line.strip().partition(" ")
        self.first.setdefault(name, clock())
        if status == "True":
            self.ready.setdefault(name, clock())


@contextmanager
def watching(namespace: str, *kinds: str) -> Iterator[Seen]:
    """See what happens to the resources of some kinds while the block runs."""
    seen = Seen()
    command = ["kubectl", "--namespace", namespace, "get", "--watch", "--output", _COLUMNS]
    processes = [subprocess.Popen([*command, kind], stdout=subprocess.PIPE, text=True) for kind in kinds]
    threads = [threading.Thread(target=_read, args=(process, seen), daemon=True) for process in processes]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        for process in processes:
            process.terminate()
        for process, thread in zip(processes, threads, strict=True):
            process.wait(10)
            thread.join(10)
            assert process.stdout is not None
            process.stdout.close()


def _read(process: subprocess.Popen[str], seen: Seen) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        seen.note(line)
