from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache_operator import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("250m", Decimal("0.25")),
        ("1.5Gi", 1610612736),
        ("1k", 1000),
        ("1Ki", 1024),
        ("2e3", 2000),
        ("1E", 10**18),
        ("100n", Decimal("1e-7")),
        (".5", Decimal("0.5")),
        (3, 3),
    ],
)
def test_values(text: str | int, value: Decimal) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1GB", "1 Gi", "one", "1ki"])
def test_an_invalid_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


def test_equal_quantities_in_different_notations() -> None:
    assert quantity.same("1", "1000m")
    assert quantity.same("1.5Gi", "1536Mi")
    assert not quantity.same("1G", "1Gi")
    assert quantity.same("a", "a")
    assert not quantity.same("a", "1")


@pytest.mark.parametrize(
    ("text", "tenfold"),
    [("1Gi", "10Gi"), ("1.5Gi", "15Gi"), ("100M", "1000M"), ("0.25Ti", "2.5Ti"), ("1e3", "10000")],
)
def test_times_keeps_the_unit(text: str, tenfold: str) -> None:
    assert quantity.times(text, 10) == tenfold


@given(st.integers(1, 10**6), st.sampled_from(["", "k", "Mi", "Gi", "T"]), st.integers(1, 100))
def test_times_multiplies(number: int, unit: str, factor: int) -> None:
    text = f"{number}{unit}"
    assert quantity.parse(quantity.times(text, factor)) == quantity.parse(text) * factor


def test_mebibytes_round_up() -> None:
    assert quantity.mebibytes(2**20) == "1Mi"
    assert quantity.mebibytes(2**20 + 1) == "2Mi"
