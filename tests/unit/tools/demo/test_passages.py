import numpy as np
import pytest

from vectorcache.errors import InvalidInput
from vectorcache_tools.demo import passages
from vectorcache_tools.demo.passages import load_passages


def test_some_passages_are_held_out_and_the_others_keep_their_texts() -> None:
    sample, embed = load_passages(300, 20)
    assert (sample.vectors.shape, sample.queries.shape) == ((300, 256), (20, 256))
    assert len(set(sample.ids.tolist())) == 300
    titles, texts = sample.payload["title"], sample.payload["text"]
    assert max(len(text.split()) for text in texts) == passages.WORDS
    np.testing.assert_allclose(sample.vectors[[0, 299]], embed([texts[0], texts[299]]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(sample.queries, axis=1), 1.0, atol=1e-5)
    assert sample.table().column_names == ["id", "title", "text"]
    assert len(titles) == 300


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages, "find_spec", lambda module: None if module == "wordllama" else object())
    with pytest.raises(InvalidInput, match=r"no wordllama.*vectorcache\[demo\]"):
        load_passages(10, 1)
