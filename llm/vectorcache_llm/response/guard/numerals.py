"""Numbers in a text: in digits, in words, and with a magnitude."""

from __future__ import annotations

from collections.abc import Sequence

_SMALL = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
SPOKEN = (
    {word: value for value, word in enumerate(_SMALL)}
    | {word: value for value, word in enumerate(_ORDINALS, start=1)}
    | {word: 10 * value for value, word in enumerate(_TENS, start=2)}
    | {"dozen": 12, "twice": 2}
)
"""Numbers in words."""
MAGNITUDES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "k": 10**3, "mn": 10**6, "mio": 10**6, "bn": 10**9,
}  # fmt: skip


def in_digits(digits: str, magnitude: str = "") -> str:
    """Return the normal form of "1,000", or of "2.5" with "million".

    3.0 becomes 3. 3.10 does not become 3.1, because it may be a version.
    """
    plain = digits.replace(",", "").replace("−", "-")
    whole, point, fraction = plain.partition(".")
    if point and not fraction.strip("0"):
        plain = whole
    if magnitude:
        return (
            _plain(float(plain) * MAGNITUDES[magnitude])
            if plain.count(".") < 2 and ":" not in plain
            else plain
        )
    return plain.lstrip("0") or "0" if plain.isdigit() else plain


def spoken(words: Sequence[str], start: int) -> tuple[str, int]:
    """Return the number in words that begins at ``start``, and how many words it takes: 0 if there is no number.

    "twenty one" is 21, "two hundred thousand" is 200000, "third" is 3. "one" alone does not count as a number, because
    it is as often a pronoun.
    """
    total, current, taken = 0, 0, 0
    for word in words[start:]:
        if word in MAGNITUDES and taken:
            current = max(current, 1) * MAGNITUDES[word]
            if MAGNITUDES[word] > 100:
                total, current = total + current, 0
        elif word in SPOKEN:
            value = SPOKEN[word]
            if taken and not (current % 100 >= 20 and value < 10) and current % 100:
                break
            current += value
        else:
            break
        taken += 1
    if taken == 1 and words[start] == "one":
        return "", 0
    return str(total + current), taken


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
