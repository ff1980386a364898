"""The values, their schema and their documentation have the same names; unknown values are refused."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from scripts import chart_crd, chart_docs
from tests.support.operator.chart import CHART, Refused, render

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def paths(schema: dict[str, Any], prefix: str = "") -> set[str]:
    """Every value that a schema allows, with dots."""
    found: set[str] = set()
    for name, each in schema["properties"].items():
        inner = "properties" in each and each.get("additionalProperties") is False
        found |= paths(each, f"{prefix}{name}.") if inner else {prefix + name}
    return found


def test_the_schema_names_what_values_and_docs_name() -> None:
    documented = {value.path for value in chart_docs.values((CHART / "values.yaml").read_text())}
    allowed = paths(SCHEMA)
    for name in ("resources", "affinity"):  # maps with keys of Kubernetes' own are one value
        allowed = {path for path in allowed if not path.startswith(f"{name}.")} | {name}
    assert allowed - {"global"} == documented


def test_the_schema_is_a_schema_and_the_defaults_follow_it() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(VALUES)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"image": {"name": "x"}}, "additional properties 'name' not allowed"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"image": {"tag": "a b"}}, "/image/tag"),
        ({"image": {"operator": "Vector Cache"}}, "/image/operator"),
        ({"image": {"pullSecrets": ["pull"]}}, "/image/pullSecrets/0"),
        ({"logLevel": "loud"}, "/logLevel"),
        ({"watchNamespaces": "shop"}, "/watchNamespaces"),
        ({"watchNamespaces": ["Shop"]}, "/watchNamespaces/0"),
        ({"fullnameOverride": "9lives"}, "/fullnameOverride"),
        ({"extraEnv": [{"value": "x"}]}, "/extraEnv/0"),
        ({"resources": {"limits": {"memory": "lots"}}}, "/resources/limits/memory"),
        ({"crds": {"create": "yes"}}, "/crds/create"),
        ({"networkPolicy": {"apiServerPorts": []}}, "/networkPolicy/apiServerPorts"),
        ({"networkPolicy": {"apiServerPorts": [70000]}}, "/networkPolicy/apiServerPorts/0"),
        ({"serviceMonitor": {"interval": "often"}}, "/serviceMonitor/interval"),
        ({"cache": {"create": True}}, "/cache/spec"),
        ({"cache": {"create": True, "spec": {"blob": {}}}}, "/cache/spec/blob"),
        ({"cache": {"name": "a" * 41}}, "/cache/name"),
        ({"test": {"timeout": 0}}, "/test/timeout"),
        ({"securityContext": {"runAsUser": 0}}, "additional properties 'securityContext' not allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_a_value_is_refused_by_its_place(values: dict[str, Any], where: str) -> None:
    with pytest.raises(Refused) as refused:
        render(values)
    assert where in str(refused.value)


def test_a_larger_chart_may_hand_down_global_values() -> None:
    assert render({"global": {"anything": 1}}) == render()


# The generators


def test_the_readme_and_the_copy_of_the_crd_are_up_to_date() -> None:
    assert chart_docs.main(["--check"]) == 0
    assert chart_crd.main(["--check"]) == 0


def test_values_are_read_with_their_comments() -> None:
    text = "# Not of a.\n\n# Of a,\n# in two lines.\na: 1\nb:\n  # Of c.\n  c: [x]\n"
    text += "# Of d.\nd:\n  # Not told.\n  e: {}\n"
    assert chart_docs.values(text) == [
        ("a", 1, "Of a, in two lines."),
        ("b.c", ["x"], "Of c."),
        ("d", {"e": {}}, "Of d."),
    ]


def test_a_value_without_a_comment_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"values without a comment: a, b\.c$"):
        chart_docs.values("a: 1\nb:\n  c: {}\n")


def test_only_the_table_of_a_readme_is_replaced() -> None:
    readme = f"before\n{chart_docs.BEGIN}old\n{chart_docs.END}after\n"
    made = chart_docs.with_table(readme, "new\n")
    assert made == f"before\n{chart_docs.BEGIN}\nnew\n\n{chart_docs.END}after\n"
    assert chart_docs.with_table(made, "new\n") == made
    with pytest.raises(ValueError, match=r"README\.md does not contain the lines"):
        chart_docs.with_table("nothing", "new")


def test_what_is_out_of_date_is_said_and_then_brought_up_to_date(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "values.yaml").write_text("# Of a.\na: 1\n")
    (tmp_path / "README.md").write_text(chart_docs.BEGIN + chart_docs.END)
    monkeypatch.setattr(chart_docs, "CHART", tmp_path)
    assert chart_docs.main(["--check"]) == 1
    assert "run scripts/chart_docs.py" in capsys.readouterr().err
    assert chart_docs.main([]) == chart_docs.main(["--check"]) == 0
    assert "| `a` | `1` | Of a. |" in (tmp_path / "README.md").read_text()

    monkeypatch.setattr(chart_crd, "ROOT", tmp_path)
    monkeypatch.setattr(chart_crd, "SOURCE", tmp_path / "values.yaml")
    monkeypatch.setattr(chart_crd, "COPY", tmp_path / "copy.yaml")
    assert chart_crd.main(["--check"]) == 1
    assert "run scripts/chart_crd.py" in capsys.readouterr().err
    assert chart_crd.main([]) == chart_crd.main(["--check"]) == 0
    assert (tmp_path / "copy.yaml").read_text() == "# Of a.\na: 1\n"
