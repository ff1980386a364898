"""Distinguishes a typo from a different word."""

from __future__ import annotations

SHORTEST = 5
"""Minimum length, in letters, of a word that may contain a typo. In a shorter one, one letter makes a new word."""


def is_typo(a: str, b: str) -> bool:
    """Return whether one word is the other one with a single typo, after an equal first letter.

    A typo is one of Damerau's four errors (F. Damerau, "A technique for computer detection and correction of spelling
    errors", 1964), in one place at most: a missing, an extra or a wrong letter, or two neighbouring letters swapped.
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
