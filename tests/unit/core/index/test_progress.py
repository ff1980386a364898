from __future__ import annotations

import pytest
from tests.support.core.collections import clustered

from vectorcache.index.build import build_collection
from vectorcache.index.layout import BuildSettings
from vectorcache.index.progress import Progress, Silence, progress_bars
from vectorcache.stores.memory import MemoryBlobStore


class Heard(Progress):
    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.done: list[int] = []

    def stage(self, name: str, steps: int) -> None:
        self.stages.append((name, steps))
        self.done.append(0)

    def advance(self, steps: int = 1) -> None:
        self.done[-1] += steps


async def test_a_build_tells_how_far_it_is() -> None:
    heard = Heard()
    result = await build_collection(
        MemoryBlobStore(), "words", clustered(300), BuildSettings(iterations=1), progress=heard
    )
    assert [name for name, _ in heard.stages] == [
        "reading", "clustering", "assigning", "measuring recall", "writing chunks", "writing id lookup"
    ]  # fmt: skip
    steps = dict(heard.stages)
    done = {name: count for (name, _), count in zip(heard.stages, heard.done, strict=True)}
    assert steps["writing chunks"] == len(result.manifest.chunks)
    for name in ("assigning", "measuring recall", "writing chunks"):
        assert done[name] == steps[name]


def test_silence_takes_everything() -> None:
    silence = Silence()
    silence.advance(3)
    silence.stage("a", 1)


def test_bars_are_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as bars:
        bars.advance()  # before any stage
        bars.stage("writing chunks", 4)
        bars.advance(4)
        bars.stage("writing id lookup", 1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "writing chunks" in err
    assert "4/4" in err
    assert "1/1" in err  # a stage that ends is full
