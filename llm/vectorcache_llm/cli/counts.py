"""Metrics across commands: a file in the data folder to which each command adds its counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from vectorcache_llm.metrics import Metrics

FILE = "metrics.json"


def load_counts(folder: Path, into: Metrics) -> None:
    """Add the counts of earlier commands to ``into``. An unreadable file is ignored."""
    try:
        into.load(msgspec.json.decode((folder / FILE).read_bytes()))
    except (OSError, msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError):
        return


def add_counts(folder: Path, metrics: Metrics) -> None:
    """Add the counts of this command to the file. A lock serialises commands that end at the same time."""
    state = metrics.dump()
    if not (state["latencies"] or any(state["counters"].values())):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f"{FILE}.lock"):
        whole = metrics.fresh()
        load_counts(folder, whole)
        whole.load(state)
        partial = folder / f"{FILE}.partial"
        partial.write_bytes(msgspec.json.encode(whole.dump()))
        partial.replace(folder / FILE)


@contextmanager
def _locked(path: Path) -> Iterator[Any]:
    """Hold a lock file. On platforms without ``fcntl`` there is no lock, and the last writer wins."""
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:
            yield file
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
