import pytest

from vectorcache.errors import InvalidInput
from vectorcache_operator.settings import OperatorSettings
from vectorcache_service.settings import read


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("", ()), ("one", ("one",)), ("one, two,one,", ("one", "two")), (" one ,two-2 ", ("one", "two-2"))],
)
def test_namespaces(text: str, namespaces: tuple[str, ...]) -> None:
    assert read(OperatorSettings, {"VECTORCACHE_NAMESPACES": text}).watched == namespaces


@pytest.mark.parametrize("text", ["One", "a b", "*", "a,,b", "-a"])
def test_an_invalid_namespace(text: str) -> None:
    with pytest.raises(InvalidInput, match="VECTORCACHE_NAMESPACES"):
        read(OperatorSettings, {"VECTORCACHE_NAMESPACES": text})
