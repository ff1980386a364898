"""Chat memory: sessions of turns, and the context to send to a model within its token limit.

``tokens`` counts tokens, ``turns`` defines the stored values, ``log`` stores them, ``context`` builds the messages to
send, ``summaries`` runs summaries in the background, and ``memory`` combines them.
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
