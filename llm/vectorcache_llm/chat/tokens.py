"""Token counting."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.extras import require

LONG = 2_000
"""Length in characters from which a text is counted in a thread: about 1 ms of work."""

BYTES_PER_TOKEN = 3
"""English has about four, Chinese about three. The lower number overestimates the tokens, which is safe."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer, which counts the tokens of texts.

    Attributes:
        name: name of the vocabulary. Counts of tokenizers with different names are not comparable.
        count: returns the number of tokens of a text; may be called in a thread.
        per_message: additional tokens of each message, for its role and separators.
        per_request: additional tokens of each request.
    """

    name: str
    count: Callable[[str], int]
    per_message: int = 4
    per_request: int = 3

    async def tokens(self, text: str) -> int:
        """Return the number of tokens of a text without blocking the event loop."""
        return self.count(text) if len(text) < LONG else await asyncio.to_thread(self.count, text)


def tiktoken_tokenizer(encoding: str | Any = "o200k_base") -> Tokenizer:
    """Return a tokenizer for a tiktoken encoding, given by name or as an object.

    By name, its file is downloaded unless TIKTOKEN_CACHE_DIR has it. Create it once, when the program starts.

    Raises:
        MissingExtra: tiktoken is not installed.
        InvalidInput: no encoding has this name.
        Unavailable: its file could not be downloaded.
    """
    tiktoken = require("tiktoken", "tiktoken")
    if isinstance(encoding, str):
        if encoding not in tiktoken.list_encoding_names():
            raise InvalidInput("encoding", encoding, f"one of {', '.join(tiktoken.list_encoding_names())}")
        try:
            encoding = tiktoken.get_encoding(encoding)
        except OSError as error:
            advice = "set TIKTOKEN_CACHE_DIR to a folder that contains it, or use another tokenizer"
            raise Unavailable(
                f"the file of encoding {encoding!r} could not be downloaded; {advice}"
            ) from error
    found: Any = encoding
    return Tokenizer(f"tiktoken:{found.name}", lambda text: len(found.encode_ordinary(text)))


def file_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Return a tokenizer for the ``tokenizer.json`` of a model.

    Raises:
        MissingExtra: tokenizers is not installed.
        InvalidInput: the file does not exist or is not a tokenizer.
    """
    kind = require("tokenizers", "llm").Tokenizer
    try:
        content = Path(path).read_bytes()
        made = kind.from_str(content.decode())
    except Exception as error:  # the library raises bare Exception
        raise InvalidInput("path", os.fspath(path), f"a tokenizer.json ({error})") from error
    made.no_truncation()  # a model truncates its input, but a count must not
    made.no_padding()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Tokenizer(f"file:{digest}", lambda text: len(made.encode(text, add_special_tokens=False).ids))


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer that estimates without a vocabulary: one token per three bytes of UTF-8, often too many."""
    return Tokenizer("bytes", lambda text: -(-len(text.encode()) // BYTES_PER_TOKEN))
