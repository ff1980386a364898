import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.unit.llm.cli.conftest import Run

from vectorcache_llm.cli import COMMANDS
from vectorcache_llm.cli.counts import add_counts, load_counts
from vectorcache_llm.demo.report import DemoReport, Pass
from vectorcache_llm.metrics import Metrics
from vectorcache_llm.observer import Outcome

FRANCE = ("What is the capital of France?", "Paris.")
CHAIN = {
    "kind": "chain",
    "problem": "How many primes are below 20?",
    "steps": [{"number": 1, "thought": "list them", "confidence": 0.5}],
    "answer": "8",
}
TREE = {
    "kind": "tree",
    "problem": "make 24",
    "nodes": [
        {"id": "r", "thought": "4 6 8 2", "children": ["a"]},
        {"id": "a", "thought": "4 x 6", "parent": "r", "score": 0.9, "depth": 1},
    ],
}


def answer(run: Run, *arguments: object, code: int = 0) -> Any:
    """Return the JSON output of a command."""
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(run: Run, name: str) -> None:
    shown = run(name, "--help").output
    assert f"Example: vectorcache llm {name}" in shown
    assert "--json" in shown


def test_a_reply_persists_between_commands(run: Run) -> None:
    assert run("set", *FRANCE).stdout == "kept\n"
    assert run("get", FRANCE[0]).stdout == "Paris.\n"
    found = answer(run, "get", FRANCE[0])
    assert (found["outcome"], found["reply"], found["tier"]) == ("exact", "Paris.", "disk")


def test_a_similar_question_is_served_and_a_trap_is_not(run: Run) -> None:
    run("set", *FRANCE)
    found = answer(run, "get", "What is the capital city of France?")
    assert (found["outcome"], found["matched"]) == ("semantic", FRANCE[0])
    assert 0.5 <= found["similarity"] <= 1
    trap = answer(run, "get", "What is not the capital of France?", code=1)
    assert (trap["outcome"], trap["reply"]) == ("refused", None)
    assert trap["reason"]


def test_a_miss_is_reported_on_standard_error(run: Run) -> None:
    result = run("get", "nobody asked that")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("miss")


@pytest.mark.parametrize(
    "other",
    [
        ("--tenant", "acme"),
        ("--user", "ada"),
        ("--scope", "de"),
        ("--model", "large"),
        ("--system", "Be brief."),
    ],
)
def test_replies_of_other_scopes_and_contexts_are_not_found(run: Run, other: tuple[str, str]) -> None:
    run("set", *FRANCE)
    assert run("get", FRANCE[0], *other).exit_code == 1
    run("set", FRANCE[0], "Paris, of course.", *other)
    assert run("get", FRANCE[0], *other).stdout == "Paris, of course.\n"
    assert run("get", FRANCE[0]).stdout == "Paris.\n"


def test_a_reply_from_standard_input(run: Run) -> None:
    run("set", "a question", "-", text="a long\nreply")
    assert run("get", "a question").stdout == "a long\nreply\n"


def test_an_empty_reply_is_not_kept(run: Run) -> None:
    assert answer(run, "set", "a question", " ", code=1)["kept"] is False


def test_similar_says_whether_it_would_be_served(run: Run) -> None:
    run("set", *FRANCE)
    run("set", "What is the capital of Spain?", "Madrid.")
    first, second = answer(run, "similar", "What is the capital city of France?")
    assert (first["question"], first["reply"], first["refused"]) == (*FRANCE, "")
    assert second["refused"]
    assert "yes" in run("similar", "What is the capital city of France?").stdout
    assert run("similar", "anything", "--tenant", "nobody").exit_code == 1


def test_reasoning_whole_and_in_parts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "chain.json").write_text(json.dumps(CHAIN))
    assert answer(run, "set-reasoning", tmp_path / "chain.json")["kept"] is True
    assert run("set-reasoning", "-", text=json.dumps(TREE)).stdout == "kept\n"
    assert answer(run, "get-reasoning", CHAIN["problem"])["answer"] == "8"
    assert run("get-reasoning", CHAIN["problem"], "--step", 1).stdout == "list them\n"
    assert "└── * 4 x 6  [a, 0.90]" in run("get-reasoning", "make 24").stdout
    assert answer(run, "get-reasoning", "make 24", "--node", "a")["score"] == 0.9
    assert answer(run, "get-reasoning", "How many primes are there below 20?", code=1) is None
    assert run("get-reasoning", "How many primes are there below 20?", "--similar").exit_code == 0
    missing = run("get-reasoning", CHAIN["problem"], "--step", 7)
    assert (missing.exit_code, missing.stderr) == (2, "error: step '7' does not exist\n")


@pytest.mark.parametrize(
    "content", ["", "{}", '{"kind": "chain", "problem": ""}', '{"kind": "tree", "problem": "p", "nodes": []}']
)
def test_invalid_reasoning_is_refused(run: Run, content: str) -> None:
    result = run("set-reasoning", "-", text=content)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: FILE: '-' is not allowed")


class TestInvalidate:
    @pytest.fixture(autouse=True)
    def filled(self, run: Run) -> None:
        run("set", *FRANCE, "--tag", "geo")
        run("set", "What is the boiling point of water?", "100", "--tenant", "acme")
        run("set-reasoning", "-", text=json.dumps(CHAIN))

    @pytest.mark.parametrize(
        ("conditions", "total"),
        [
            (["--all"], 3),
            (["--tag", "geo"], 1),
            (["--tenant", "acme"], 1),
            (["--pattern", "*primes*"], 1),
            (["--older-than", "1h"], 0),
            (["--older-than", "0s"], 3),
            (["--similar", "the capital of France", "--min-similarity", "0.5"], 1),
            (["--all", "--cache", "reasoning"], 1),
        ],
    )
    def test_by_conditions(self, run: Run, conditions: list[str], total: int) -> None:
        found = answer(run, "invalidate", *conditions)
        assert (found["total"], found["ok"]) == (total, True)
        left = answer(run, "invalidate", "--all")
        assert left["total"] == 3 - total

    @pytest.mark.parametrize(
        "conditions",
        [
            [],
            ["--user", "ada"],
            ["--similar", "x", "--tag", "y"],
            ["--older-than", "soon"],
            ["--all", "--cache", "none"],
        ],
    )
    def test_contradictory_conditions_are_refused(self, run: Run, conditions: list[str]) -> None:
        result = run("invalidate", *conditions)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert answer(run, "invalidate", "--all")["total"] == 3


def test_stats_and_health(run: Run) -> None:
    run("set", *FRANCE)
    found = answer(run, "stats")
    assert found["caches"]["response"]["tiers"]["disk"]["entries"] == 1
    assert all(part["ok"] for parts in found["health"].values() for part in parts)
    assert "tiers.disk.entries" in run("stats").stdout


def test_an_unreachable_server_is_reported(run: Run, environ: dict[str, str]) -> None:
    environ["VECTORCACHE_LLM_CHAT_STORE"] = "redis"
    environ["VECTORCACHE_LLM_REDIS_URL"] = "redis://me:s3cret@127.0.0.1:1/0"
    found = answer(run, "stats", code=1)
    assert [part["ok"] for part in found["health"]["chat"]] == [False, True, True]
    assert found["caches"]["chat"]["entries"] is None
    result = run("invalidate", "--all")
    assert result.exit_code == 1
    assert "chat: " in result.stderr
    assert "response: deleted 0" in result.stdout
    assert "s3cret" not in result.output + json.dumps(found)


def test_metrics_add_up_over_commands(run: Run) -> None:
    assert "no metrics yet" in run("metrics").stderr
    run("set", *FRANCE)
    for question in (FRANCE[0], FRANCE[0], "something else entirely"):
        run("get", question)
    found = answer(run, "metrics")["caches"]["response"]
    assert (found["lookups"], found["hits"]) == (3, 2)
    assert "66.7%" in run("metrics").stdout
    shown = run("metrics", "--prometheus").stdout
    assert (
        'vectorcache_llm_lookups_total{cache="response",outcome="exact",tenant="default",tier=""} 2.0'
        in shown
    )


def test_commands_that_end_at_the_same_time_lose_no_counts(tmp_path: Path) -> None:
    def one(number: int) -> None:
        metrics = Metrics(tenants=1000)
        metrics.looked_up("response", f"tenant {number}", Outcome.EXACT, 0.001)
        add_counts(tmp_path, metrics)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(120)))
    whole = Metrics(tenants=1000)
    load_counts(tmp_path, whole)
    assert whole.as_dict()["caches"]["response"]["hits"] == 120
    assert "other" not in whole.as_dict()["caches"]["response"]["tenants"]


def test_an_unusable_data_folder_is_a_miss(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("get", FRANCE[0], "--data", tmp_path / "file")
    assert result.exit_code == 1
    assert "the metrics were not saved" in result.stderr


@pytest.mark.parametrize("content", ['{"counters": ', '{"counters": []}', "[]"])
def test_unreadable_counts_are_ignored(run: Run, environ: dict[str, str], content: str) -> None:
    run("set", *FRANCE)
    Path(environ["VECTORCACHE_LLM_DATA"], "metrics.json").write_text(content)
    assert run("get", FRANCE[0]).exit_code == 0
    assert answer(run, "metrics")["caches"]["response"]["hits"] == 1


def test_config_shows_the_source_of_each_setting(run: Run, tmp_path: Path) -> None:
    (tmp_path / "caches.yaml").write_text("chat:\n  limit: 123\nqdrant:\n  api_key: s3cret\n")
    result = run("config", "--config", tmp_path / "caches.yaml", "--data", tmp_path / "elsewhere", "--json")
    found = json.loads(result.stdout)
    assert found["chat.limit"] == {"value": 123, "source": str(tmp_path / "caches.yaml")}
    assert found["embedder.name"]["source"] == "VECTORCACHE_LLM_EMBEDDER_NAME"
    assert found["data"] == {"value": str(tmp_path / "elsewhere"), "source": "code"}
    assert found["qdrant.api_key"]["value"] == "***"
    assert "s3cret" not in run("config", "--config", tmp_path / "caches.yaml").output


def test_an_invalid_setting_is_reported_in_one_line(run: Run, environ: dict[str, str]) -> None:
    environ["VECTORCACHE_LLM_CHAT_LIMIT"] = "many"
    result = run("get", "anything")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "error: chat.limit (from VECTORCACHE_LLM_CHAT_LIMIT): 'many' is not allowed"
    )
    assert result.stderr.count("\n") == 1


def test_export_and_import_into_another_folder(run: Run, tmp_path: Path) -> None:
    run("set", *FRANCE, "--ttl", "2h")
    run("set-reasoning", "-", text=json.dumps(TREE))
    file = tmp_path / "all.jsonl"
    assert answer(run, "export", file)["counts"] == {"response": 1, "reasoning": 1, "chat": 0}
    other = ("--data", tmp_path / "other")
    assert answer(run, "import", file, *other)["total"] == 2
    assert run("get", "What is the capital city of France?", *other).stdout == "Paris.\n"
    assert run("get-reasoning", "make 24", *other).exit_code == 0
    again = tmp_path / "again.jsonl"
    run("export", again, *other)
    assert again.read_text().splitlines()[1:] == file.read_text().splitlines()[1:]
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    assert "ends early" in run("import", file).stderr


class TestWarm:
    def test_json_lines(self, run: Run, tmp_path: Path) -> None:
        lines = [
            {"prompt": FRANCE[0], "reply": FRANCE[1], "tags": ["geo"], "tenant": "acme"},
            {"messages": [{"role": "user", "content": "2 + 2?"}], "reply": "4", "model": "small"},
            {"prompt": "never kept", "reply": ""},
        ]
        (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
        found = answer(run, "warm", tmp_path / "prompts.jsonl", code=1)
        assert found["counts"] == {"response": 2}
        assert found["errors"]["response"].startswith("1 replies were not stored")
        assert run("get", FRANCE[0], "--tenant", "acme").stdout == "Paris.\n"
        assert run("get", "2 + 2?", "--model", "small").stdout == "4\n"
        assert answer(run, "invalidate", "--tag", "geo")["total"] == 1

    def test_csv(self, run: Run, tmp_path: Path) -> None:
        text = 'prompt,reply,tags,ttl\n"What is the capital\nof France?",Paris.,"geo, eu",3600\n2 + 2?,4,,\n'
        (tmp_path / "prompts.csv").write_text(text)
        assert answer(run, "warm", tmp_path / "prompts.csv")["total"] == 2
        assert run("get", "What is the capital\nof France?").stdout == "Paris.\n"
        assert answer(run, "invalidate", "--tag", "eu")["total"] == 1

    @pytest.mark.parametrize(
        "line",
        [
            '{"reply": "x"}',
            '{"prompt": "x"}',
            "nonsense",
            '{"prompt": "x", "reply": "y", "colour": "red"}',
            '{"prompt": "x", "reply": "y", "tenant": "\\u0001"}',
            '{"prompt": "x", "reply": "y", "ttl": 0}',
            b"\xff",
        ],
    )
    def test_a_line_that_is_not_allowed_is_named(self, run: Run, tmp_path: Path, line: str | bytes) -> None:
        path = tmp_path / "prompts.jsonl"
        path.write_bytes(
            b'{"prompt": "a", "reply": "b"}\n' + (line if isinstance(line, bytes) else line.encode())
        )
        result = run("warm", path)
        assert result.exit_code == 2
        assert "prompts.jsonl" in result.stderr
        assert "Traceback" not in result.output

    def test_csv_with_a_byte_order_mark_is_read(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "prompts.csv").write_text("prompt,reply\na,b\n", encoding="utf-8-sig")
        assert run("warm", tmp_path / "prompts.csv").exit_code == 0
        assert run("get", "a").stdout == "b\n"

    def test_invalid_csv_is_refused(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "prompts.csv").write_text(f"prompt,reply\na,{'b' * 200_000}\n")
        result = run("warm", tmp_path / "prompts.csv")
        assert result.exit_code == 2
        assert "JSON lines" in result.stderr


@pytest.mark.parametrize(("prompts", "code"), [(5, 0), (6, 1)])
def test_the_demo_prints_its_report_and_fails_if_a_check_failed(
    run: Run, monkeypatch: pytest.MonkeyPatch, prompts: int, code: int
) -> None:
    warm = Pass(asked=prompts, exact=5, tiers={"memory": 5})
    report = DemoReport(prompts=prompts, warm=warm, paraphrases=Pass(semantic=1), precision=1.0)

    async def run_demo(folder: Path, narrator: object) -> DemoReport:
        return report

    monkeypatch.setattr("vectorcache_llm.cli.demo.run_demo", run_demo)
    assert answer(run, "demo", code=code)["prompts"] == prompts
