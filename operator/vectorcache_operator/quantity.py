"""Kubernetes quantities, for example ``10Gi``, ``250m`` and ``1.5``."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")}
_SUFFIXES |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)}
_SUFFIXES |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}
_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d+)|([A-Za-z]*))")


def parse(text: str | int | float) -> Decimal:
    """Return the value of a quantity.

    Raises:
        ValueError: the text is not a quantity.
    """
    found = _QUANTITY.fullmatch(str(text))
    if found is None or (found[3] or "") not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity such as 512Mi, 4Gi, 250m or 2")
    return Decimal(found[1] + (found[2] or "")) * _SUFFIXES[found[3] or ""]


def size(text: str | int) -> int:
    """Return a quantity as a whole number of bytes.

    Raises:
        ValueError: the text is not a quantity.
    """
    return int(parse(text))


def same(left: str | int | float, right: str | int | float) -> bool:
    """Return whether two quantities have the same value, even in different notations."""
    try:
        return parse(left) == parse(right)
    except ValueError:
        return left == right


def times(text: str, factor: int) -> str:
    """Return a multiple of a quantity in the same unit: ten times ``1.5Gi`` is ``15Gi``."""
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2]:
        return str(size(text) * factor)
    value = Decimal(found[1]) * factor
    return f"{value.normalize():f}{found[3]}"


def mebibytes(count: int) -> str:
    """Return a number of bytes as a quantity, rounded up to mebibytes."""
    return f"{-(-count // 2**20)}Mi"
