"""What a call to a model costs."""

from __future__ import annotations

import math

import msgspec

from vectorcache.errors import InvalidInput

PER = 1_000_000
"""Prices are for so many tokens."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of a model in any one currency, for a million tokens.

    Attributes:
        prompt: of tokens that are sent.
        completion: of tokens that come back.
    """

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        for field in ("prompt", "completion"):
            price = getattr(self, field)
            if not (math.isfinite(price) and price >= 0):
                raise InvalidInput(field, price, "0 or more for a million tokens")

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / PER
