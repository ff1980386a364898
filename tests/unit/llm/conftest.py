"""Parts of a cache that fail on demand."""

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.flaky import Ears, FlakyEmbedder, FlakyIndex, FlakyStore, flaky_index


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


@pytest.fixture
def store(clock: FakeClock) -> FlakyStore:
    return FlakyStore(clock=clock)


@pytest.fixture
def embedder() -> FlakyEmbedder:
    return FlakyEmbedder()


@pytest.fixture
def index(embedder: FlakyEmbedder, clock: FakeClock) -> FlakyIndex:
    return flaky_index(embedder, clock=clock)


@pytest.fixture
def ears() -> Ears:
    return Ears()
