import json
from pathlib import Path
from typing import Any

import pytest

from vectorcache.errors import InvalidInput
from vectorcache_llm.config.kinds import SETTINGS
from vectorcache_llm.config.layers import FILE_VARIABLE, load
from vectorcache_llm.errors import InvalidSetting
from vectorcache_llm.metrics import Price


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "caches.yaml"
    path.write_text(
        "response:\n  ttl: 60\n  deadline: 0.5\n  tiers: [memory, redis]\nchat:\n  limit: 500\ndata: /srv\n"
    )
    return path


def test_defaults_apply_and_are_named_as_the_source() -> None:
    found = load()
    assert found.settings.response.ttl == 86_400
    assert set(found.sources.values()) == {"default"}


def test_each_layer_overrides_the_one_before(file: Path) -> None:
    environ = {"VECTORCACHE_LLM_RESPONSE_TTL": "70", "VECTORCACHE_LLM_CHAT_LIMIT": "600", "PATH": "/bin"}
    found = load(file, environ, {"chat": {"limit": 700}, "response.ttl_jitter": 0.2})
    response = found.settings.response
    assert (response.deadline, response.ttl, response.ttl_jitter) == (0.5, 70.0, 0.2)
    assert response.tiers == ("memory", "redis")
    assert (found.settings.chat.limit, found.settings.data) == (700, "/srv")
    assert {key: source for key, source in found.sources.items() if source != "default"} == {
        "response.ttl": "VECTORCACHE_LLM_RESPONSE_TTL",
        "response.deadline": str(file),
        "response.tiers": str(file),
        "response.ttl_jitter": "code",
        "chat.limit": "code",
        "data": str(file),
    }


def test_the_environment_may_name_the_file(file: Path) -> None:
    assert load(environ={FILE_VARIABLE: str(file)}).settings.chat.limit == 500


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("RESPONSE_TIERS", "memory, redis,qdrant", ("memory", "redis", "qdrant")),
        ("RESPONSE_TIERS", "", ()),
        ("RESPONSE_SEMANTIC", "false", False),
        ("RESPONSE_MIN_SIMILARITY", "0.9", 0.9),
        ("RESPONSE_TTL", "none", None),
        ("CHAT_STORE", "none", None),
        ("EMBEDDER_OPTIONS", '{"dimension": 128}', {"dimension": 128}),
        (
            "METRICS_PRICES",
            '{"small": {"prompt": 1, "completion": 2}}',
            {"small": Price(prompt=1, completion=2)},
        ),
        ("REDIS_URL", "redis://there", "redis://there"),
    ],
)
def test_environment_variables_are_parsed(variable: str, text: str, value: object) -> None:
    found = load(environ={f"VECTORCACHE_LLM_{variable}": text}).settings
    section, _, name = variable.lower().partition("_")
    assert getattr(getattr(found, section), name) == value


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            {"response.ttl": "soon"},
            r"response\.ttl \(from code\): 'soon' is not allowed; allowed: a number, greater than 0, or none",
        ),
        ({"response.ttl": 0}, "response.ttl .*: 0 is not allowed"),
        ({"response": {"ttl_jitter": 1.5}}, "response.ttl_jitter .* a number, at least 0, at most 1"),
        ({"response": {"tiers": ["disk", "disk"]}}, "a list, each item one of .*, without duplicates"),
        ({"response": {"tiers": ["disk", "tape"]}}, "a list, each item one of memory, disk, redis"),
        ({"response": {"semantic": "yes"}}, "true or false"),
        ({"chat": {"limit": 0}}, "an integer, at least 1"),
        ({"metrics": {"prices": {"m": {"prompt": -1, "completion": 0}}}}, "prices"),
        ({"response": 5}, "'response' is not allowed"),
    ],
)
def test_the_error_for_an_invalid_value_names_the_key_and_the_source(
    code: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSetting, match=message):
        load(code=code)


def test_the_error_for_an_invalid_value_of_the_environment_names_the_variable() -> None:
    with pytest.raises(InvalidSetting, match=r"chat\.limit \(from VECTORCACHE_LLM_CHAT_LIMIT\): 'many'"):
        load(environ={"VECTORCACHE_LLM_CHAT_LIMIT": "many"})


@pytest.mark.parametrize(
    ("given", "suggestion"),
    [
        ({"code": {"response.tll": 5}}, r"response\.ttl\?"),
        ({"code": {"nothing": {"like": 5}}}, "one of data, embedder.name"),
        ({"code": {"chat": {"limits": 5}}}, r"chat\.limit\?"),
        ({"environ": {"VECTORCACHE_LLM_CHAT_LIMITS": "5"}}, r"VECTORCACHE_LLM_CHAT_LIMIT\?"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(given: dict[str, Any], suggestion: str) -> None:
    with pytest.raises(InvalidSetting, match=suggestion):
        load(**given)


def test_an_unknown_key_of_the_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "caches.yaml"
    path.write_text("chat:\n  limitt: 3\n")
    with pytest.raises(InvalidSetting, match=r"\(from .*caches\.yaml\): 'chat\.limitt'.*chat\.limit\?"):
        load(path)


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_not_a_mapping_is_rejected(tmp_path: Path, content: str) -> None:
    path = tmp_path / "caches.yaml"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="caches.yaml"):
        load(path)


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("content", ["", "response:\n", "# nothing\n"])
def test_an_empty_file_or_section_changes_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "caches.yaml"
    path.write_text(content)
    assert load(path).settings == load().settings


def test_secrets_are_never_shown() -> None:
    found = load(
        code={
            "qdrant.api_key": "s3cret",
            "redis.url": "redis://me:s3cret@there:6379/0",
            "embedder.options": {"api_key": "s3cret", "model": "small", "nested": {"token": "s3cret"}},
        }
    )
    shown = json.dumps(found.shown())
    assert "s3cret" not in shown
    assert found.shown()["redis.url"] == {"value": "redis://me:***@there:6379/0", "source": "code"}
    assert found.shown()["embedder.options"]["value"]["model"] == "small"


@pytest.mark.parametrize(
    "given",
    [
        {"code": {"qdrant.api_key": ["s3cret"]}},
        {"code": {"qdrant.api_keys": "s3cret", "qdrant": {"api_key_": "s3cret"}}},
        {"code": {"qdrant": {"apikey": "s3cret"}}},
        {"environ": {"VECTORCACHE_LLM_QDRANT_APIKEY": "s3cret"}},
        {"environ": {"VECTORCACHE_LLM_EMBEDDER_OPTIONS": '{"api_key": "s3cret"'}},
        {"code": {"embedder.options": "api_key=s3cret"}},
    ],
)
def test_errors_do_not_contain_secrets(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting) as caught:
        load(**given)
    assert "s3cret" not in str(caught.value)


def test_shown_has_every_setting_as_json() -> None:
    shown = json.loads(json.dumps(load().shown()))
    assert list(shown) == list(SETTINGS)
    assert shown["response.tiers"] == {"value": ["disk"], "source": "default"}


def test_every_setting_has_a_description_and_allowed_values() -> None:
    assert all(setting.about and setting.allowed for setting in SETTINGS.values())
