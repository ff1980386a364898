import json
from pathlib import Path

import numpy as np
import pytest
from tests.support.client.fake_router import FakeRouter, in_thread

IDS = [10, 11, 12]


def rows(output: str) -> list[list[str]]:
    """Cells of the rows of all tables."""
    lines = [line for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


@pytest.fixture
def search(run, thread_url: str):
    return lambda *arguments, text=None: run("search", "words", "--router", thread_url, *arguments, text=text)


def test_by_id_searches_near_its_vector(search) -> None:
    assert rows(search("--id", "east", "-k", 2).stdout) == [["1", "east", "0"], ["2", "north", "1.41421"]]


def test_several_ids_give_a_table_each(search) -> None:
    output = search("--id", "east", "--id", "west", "-k", 1).stdout
    assert [row[1] for row in rows(output)] == ["east", "west"]
    assert output.index("east") < output.index("west")


def test_an_id_that_does_not_exist(search) -> None:
    result = search("--id", "up")
    assert (result.exit_code, result.stderr) == (2, "error: id 'up' does not exist\n")


def test_ids_of_a_collection_with_numbers(run) -> None:
    router = FakeRouter(np.eye(3, dtype=np.float32), IDS)
    with in_thread(router.app()) as url:
        found = run("search", "words", "--router", url, "--id", "11", "-k", 1)
        assert rows(found.stdout) == [["1", "11", "0"]]
        wrong = run("search", "words", "--router", url, "--id", "eleven")
        assert (wrong.exit_code, "an id of its type" in wrong.stderr) == (2, True)


def test_a_vector_from_a_file(search, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array([0.0, -2.0]))
    (tmp_path / "two.json").write_text("[[0, 3], [4, 0]]")
    assert [row[1] for row in rows(search(tmp_path / "one.npy", "-k", 1).stdout)] == ["south"]
    assert [row[1] for row in rows(search(tmp_path / "two.json", "-k", 1).stdout)] == ["north", "east"]


@pytest.mark.parametrize(("text", "ids"), [("[0, 1]", ["north"]), ("[[0, 1], [0, -1]]", ["north", "south"])])
def test_vectors_from_standard_input_and_the_answer_as_json(search, text: str, ids: list[str]) -> None:
    answer = json.loads(search("-", "--json", "-k", 1, text=text).stdout)
    assert [result["hits"][0]["id"] for result in answer["results"]] == ids
    assert answer["version"] == 7


@pytest.mark.parametrize("text", ["", "{}", '["a"]', "[[0, 1], 2]", "nonsense"])
def test_standard_input_that_holds_no_vectors(search, router: FakeRouter, text: str) -> None:
    result = search("-", text=text)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: VECTOR: '-' is not allowed")
    assert router.calls == 0


def test_settings_reach_the_router(search, router: FakeRouter) -> None:
    search("--id", "east", "--nprobe", 3, "--version", 7, "-k", 2, "--exact")
    search("--id", "east", "--recall", 0.5)
    first, second = router.requests
    assert (first.nprobe, first.version, first.k, first.payload, first.exact) == (3, 7, 2, False, True)
    assert (second.nprobe, second.recall, second.k, second.exact) == (None, 0.5, None, False)


def test_payload_has_columns_of_its_own(search) -> None:
    output = search("--id", "east", "-k", 1, "--payload").stdout
    assert "place" in output
    assert rows(output) == [["1", "east", "0", "1"]]


def test_a_partial_answer_is_reported_on_standard_error(search, router: FakeRouter) -> None:
    router.searched = 0.75
    result = search("--id", "east")
    assert result.exit_code == 0
    assert "only 75%" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["x.npy", "--id", "east"]])
def test_one_source_of_vectors_is_needed(search, arguments: list[str]) -> None:
    result = search(*arguments)
    assert result.exit_code == 2
    assert "a file, -, or --id" in result.stderr


def test_no_file(search) -> None:
    result = search("nowhere.npy")
    assert result.exit_code == 2
    assert "VECTOR: 'nowhere.npy' is not allowed" in result.stderr
