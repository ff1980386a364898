from __future__ import annotations

import pytest

from vectorcache_llm.response.guard import Guard
from vectorcache_llm.response.guard.question import question_of
from vectorcache_llm.response.guard.tokens import tokens_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Why is the sky blue?", "why"),
        ("How come the sky is blue?", "why"),
        ("What makes the sky blue?", "why"),
        ("Why don't you list some birds?", ""),
        ("How many moons has Mars?", "how many"),
        ("How many days does delivery take?", "how long"),
        ("How much is it?", "how much"),
        ("When will my parcel arrive?", "when"),
        ("Please tell me when parcels arrive.", "when"),
        ("When to prune roses", "when"),
        ("Warn me when costs rise.", ""),
        ("Where do I enable dark mode?", "how"),
        ("Where do I find truffles?", "where"),
        ("How much time does it take?", "how long"),
        ("Where can I park?", "where"),
        ("When I travel, what does my plan cover?", "what"),
        ("Who wrote Emma?", "who"),
        ("List some birds.", ""),
    ],
)
def test_question_types(text: str, kind: str) -> None:
    assert question_of(tokens_of(text)).kind == kind


def test_conjunctions_are_compared() -> None:
    guard = Guard()
    for joining in ("when", "where"):
        assert question_of(tokens_of(f"Summarise it {joining} costs rise")) == ("", "", {joining: joining})
    assert guard.refuses("Summarise it when costs rise", "Summarise it where costs rise") is not None
    assert guard.refuses("Do I get a discount when I buy 12?", "Is there a discount if I buy twelve?") is None
