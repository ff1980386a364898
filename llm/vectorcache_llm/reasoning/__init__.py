"""The reasoning cache: chains and trees of thought by problem, whole or step by step, and those of similar problems.

``chain`` and ``tree`` define the values, ``show`` prints them, and ``cache`` stores them.
"""

from vectorcache_llm.reasoning.cache import ReasoningCache, SimilarReasoning, reasoning_id
from vectorcache_llm.reasoning.chain import ChainOfThought, Step
from vectorcache_llm.reasoning.show import as_text, rich_tree
from vectorcache_llm.reasoning.tree import Node, Thought, TreeOfThought

__all__ = [
    "ChainOfThought",
    "Node",
    "ReasoningCache",
    "SimilarReasoning",
    "Step",
    "Thought",
    "TreeOfThought",
    "as_text",
    "reasoning_id",
    "rich_tree",
]
