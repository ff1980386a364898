"""Chat memory: sessions of turns, and what of them to send to a model within its token limit.

``tokens`` counts, ``turns`` is what is kept, ``log`` where, ``context`` chooses what to send, ``summaries`` are made
in the background, ``memory`` is the whole.
"""

from vectorcache_llm.chat.context import Context
from vectorcache_llm.chat.memory import ChatMemory
from vectorcache_llm.chat.summaries import Summarise
from vectorcache_llm.chat.tokens import Tokenizer, byte_tokenizer, file_tokenizer, tiktoken_tokenizer
from vectorcache_llm.chat.turns import Turn

__all__ = [
    "ChatMemory",
    "Context",
    "Summarise",
    "Tokenizer",
    "Turn",
    "byte_tokenizer",
    "file_tokenizer",
    "tiktoken_tokenizer",
]
