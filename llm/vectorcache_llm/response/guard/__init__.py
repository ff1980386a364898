"""The guard for similar questions: checks for differences that embeddings miss but that change the answer.

This package holds the checks, the features that they compare, and the word lists. Embeddings and thresholds live
elsewhere.
"""

from vectorcache_llm.response.guard.checks import CHECKS, Check
from vectorcache_llm.response.guard.features import Features, features_of
from vectorcache_llm.response.guard.guard import Guard, Refusal
from vectorcache_llm.response.guard.pair import Pair

__all__ = ["CHECKS", "Check", "Features", "Guard", "Pair", "Refusal", "features_of"]
