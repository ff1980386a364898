"""Slips of the pen, apart from other words."""

from __future__ import annotations

SHORTEST = 5
"""Letters of a word that may have a slip; in a shorter one, one letter makes another word."""


def is_slip(a: str, b: str) -> bool:
    """Whether two words differ by one letter missing, doubled or wrong, or two exchanged; not by the first one.

    Damerau's four errors (F. Damerau, "A technique for computer detection and correction of spelling errors", 1964),
    in one place at most.
    """
    if min(len(a), len(b)) < SHORTEST or abs(len(a) - len(b)) > 1 or a[0] != b[0]:
        return False
    if not (a.isalpha() and b.isalpha()):
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[start:], b[start:]
    return (
        rest_a[1:] == rest_b[1:]
        or rest_a[1:] == rest_b
        or rest_a == rest_b[1:]
        or (rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:])
    )
