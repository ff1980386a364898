"""The response cache: what a language model answered, served again to the same request or to a similar one.

What lives here: requests and replies, the cache over tiers of similarity indexes, guard and threshold, decorators.
What never does: how vectors are made (``embedders``) or found (``similarity``), and any model's API.
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
