"""The response cache: serves a language model's replies again to the same or a similar request.

This package holds requests and replies, the cache over tiers of similarity indexes, the guard, the threshold and the
decorators. Vectors are made in ``embedders`` and searched in ``similarity``. Nothing here depends on a model's API.
"""

from vectorcache_llm.response.breaker import Breaker
from vectorcache_llm.response.cache import ResponseCache
from vectorcache_llm.response.cacheable import Cacheable, one_reply, repeatable
from vectorcache_llm.response.calls import cached, cached_llm_call
from vectorcache_llm.response.guard import Check, Guard, Refusal
from vectorcache_llm.response.lookup import Answer, Lookup
from vectorcache_llm.response.pairs import LabelledPair, load_pairs
from vectorcache_llm.response.reply import Chunk, Reply
from vectorcache_llm.response.request import Request
from vectorcache_llm.response.shadow import ShadowCollector
from vectorcache_llm.response.threshold import Fixed, Measured, Threshold, measure

__all__ = [
    "Answer",
    "Breaker",
    "Cacheable",
    "Check",
    "Chunk",
    "Fixed",
    "Guard",
    "LabelledPair",
    "Lookup",
    "Measured",
    "Refusal",
    "Reply",
    "Request",
    "ResponseCache",
    "ShadowCollector",
    "Threshold",
    "cached",
    "cached_llm_call",
    "load_pairs",
    "measure",
    "one_reply",
    "repeatable",
]
