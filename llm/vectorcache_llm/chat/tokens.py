"""How many tokens a text has."""

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
"""Characters from which on a text is counted in a thread: about 1 ms of work."""

BYTES_PER_TOKEN = 3
"""English has about four, Chinese about three: less is on the safe side."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Counts tokens of texts.

    Attributes:
        name: of the vocabulary; counts of two names are not the same.
        count: the number of tokens of a text; may be called in a thread.
        per_message: what a message costs beside its text: role and separators.
        per_request: what a request costs beside its messages.
    """

    name: str
    count: Callable[[str], int]
    per_message: int = 4
    per_request: int = 3

    async def tokens(self, text: str) -> int:
        """The tokens of a text; the event loop stays free."""
        return self.count(text) if len(text) < LONG else await asyncio.to_thread(self.count, text)


def tiktoken_tokenizer(encoding: str | Any = "o200k_base") -> Tokenizer:
    """An encoding of tiktoken, by name or as an object.

    By name, its file is fetched unless TIKTOKEN_CACHE_DIR has it: make it once, when the program begins.

    Raises:
        MissingExtra: tiktoken is not installed.
        InvalidInput: no encoding has this name.
        Unavailable: its file could not be fetched.
    """
    tiktoken = require("tiktoken", "tiktoken")
    if isinstance(encoding, str):
        if encoding not in tiktoken.list_encoding_names():
            raise InvalidInput("encoding", encoding, f"one of {', '.join(tiktoken.list_encoding_names())}")
        try:
            encoding = tiktoken.get_encoding(encoding)
        except OSError as error:
            where = "set TIKTOKEN_CACHE_DIR to a folder that has it, or take another tokenizer"
            raise Unavailable(f"the file of encoding {encoding!r} could not be fetched; {where}") from error
    found: Any = encoding
    return Tokenizer(f"tiktoken:{found.name}", lambda text: len(found.encode_ordinary(text)))


def file_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """A ``tokenizer.json`` as models bring it.

    Raises:
        MissingExtra: tokenizers is not installed.
        InvalidInput: there is no such file, or it is no tokenizer.
    """
    kind = require("tokenizers", "llm").Tokenizer
    try:
        content = Path(path).read_bytes()
        made = kind.from_str(content.decode())
    except Exception as error:  # the library raises bare Exception
        raise InvalidInput("path", os.fspath(path), f"a tokenizer.json ({error})") from error
    made.no_truncation()  # models cut their input; a count must not
    made.no_padding()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Tokenizer(f"file:{digest}", lambda text: len(made.encode(text, add_special_tokens=False).ids))


def byte_tokenizer() -> Tokenizer:
    """An estimate where no vocabulary is at hand: a token for each three bytes of UTF-8, rather too many."""
    return Tokenizer("bytes", lambda text: -(-len(text.encode()) // BYTES_PER_TOKEN))
