import pytest

from vectorcache_llm.opened import Opened


class Door(Opened):
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.told: list[str] = []

    async def open(self) -> None:
        self.told.append("open")
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.told.append("close")


async def test_the_context_manager_opens_and_closes() -> None:
    door = Door()
    async with door as inside:
        assert inside is door
        assert door.told == ["open"]
    assert door.told == ["open", "close"]


async def test_an_object_that_fails_to_open_is_closed() -> None:
    door = Door(KeyError("half open"))
    with pytest.raises(KeyError, match="half open"):
        async with door:
            pass
    assert door.told == ["open", "close"]
