from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

WORDS = [f"word-{number}" for number in range(200)]


@pytest.fixture
def source(tmp_path: Path, vectors: np.ndarray) -> Path:
    np.save(tmp_path / "vectors.npy", vectors)
    pq.write_table(
        pa.table({"word": WORDS, "length": [len(word) for word in WORDS]}), tmp_path / "words.parquet"
    )
    return tmp_path / "vectors.npy"


def test_a_file_becomes_a_collection(run, source: Path, tmp_path: Path) -> None:
    built = run(
        *("build", source, "--to", tmp_path / "blobs", "--collection", "words", "--metric", "cosine"),
        *("--cells", 5, "--cells-per-chunk", 1, "--chunk-bytes", 1 << 16, "--recall", 0.9),
        *("--codes", "4", "--queries", source),
        *("--attributes", tmp_path / "words.parquet", "--id-column", "word"),
    )
    assert built.exit_code == 0, built.output
    assert "200 x 4, cosine" in built.stdout
    assert "recall@10" in built.stdout
    assert "4 bits per component" in built.stdout
    assert "of 200 given queries" in built.stdout
    shown = run("collections", "show", "words", "--blobs", tmp_path / "blobs").stdout
    assert "ids      string" in shown
    assert "payload  length: int64" in shown
    assert "chunks   5," in shown
    assert "codes    4 bits per component" in shown


def test_a_source_that_does_not_exist(run, tmp_path: Path) -> None:
    result = run("build", tmp_path / "no.npy", "--to", tmp_path / "blobs", "--collection", "words")
    assert result.exit_code == 2
    assert "no.npy' is not allowed; allowed: an existing file" in result.stderr
    assert not (tmp_path / "blobs" / "words").exists()


def test_a_setting_that_is_not_allowed(run, source: Path, tmp_path: Path) -> None:
    result = run("build", source, "--to", tmp_path / "blobs", "--collection", "words", "--recall", "1.5")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "recall_target: 1.5 is not allowed" in result.stderr
