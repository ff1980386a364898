"""The guard in front of similar questions: what embeddings do not tell apart, and answers do.

What lives here: the checks, what they read of a text, and the word lists they stand on. What never does: embeddings
and thresholds.
"""

from vectorcache_llm.response.guard.checks import CHECKS, Check
from vectorcache_llm.response.guard.features import Features, features_of
from vectorcache_llm.response.guard.guard import Guard, Refusal
from vectorcache_llm.response.guard.pair import Pair

__all__ = ["CHECKS", "Check", "Features", "Guard", "Pair", "Refusal", "features_of"]
