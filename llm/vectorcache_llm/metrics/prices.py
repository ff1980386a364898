"""Prices of models."""

from __future__ import annotations

import math

import msgspec

from vectorcache.errors import InvalidInput

PER = 1_000_000
"""Number of tokens that a price is for."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of a model for a million tokens, in any currency.

    Attributes:
        prompt: price of prompt tokens.
        completion: price of completion tokens.
    """

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        for field in ("prompt", "completion"):
            price = getattr(self, field)
            if not (math.isfinite(price) and price >= 0):
                raise InvalidInput(field, price, "0 or more, for a million tokens")

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of a number of tokens."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / PER
