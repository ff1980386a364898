"""The files for contributors: the CI workflow, the commit hooks, and the forms for issues."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pre_commit.clientlib import load_config

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def loaded(path: Path) -> dict[Any, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def steps_of(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in loaded(workflow)["jobs"].values() for step in job["steps"]]


def makes(text: str) -> set[str]:
    """The targets of all ``make TARGET`` in a text."""
    return set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", text))


def test_there_are_workflows_and_forms() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml"]
    assert [path.name for path in FORMS] == ["bug.yml", "feature.yml"]
    assert loaded(ROOT / ".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"] is False


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_targets_that_exist_and_actions_of_a_major_version(workflow: Path) -> None:
    content = loaded(workflow)
    assert content[True].keys() >= {"push", "pull_request"}  # YAML 1.1 reads the key `on` as a boolean
    assert content["permissions"] == {"contents": "read"}
    assert "secrets." not in workflow.read_text()
    assert all("timeout-minutes" in job for job in content["jobs"].values())
    for step in steps_of(workflow):
        assert ("run" in step) != ("uses" in step)
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/none@v1"))
        assert makes(step.get("run", "")) <= TARGETS


def test_ci_runs_lint_tests_docs_and_the_end_to_end_tests_on_the_oldest_python_and_a_newer_one() -> None:
    (workflow,) = WORKFLOWS
    commands = "\n".join(step.get("run", "") for step in steps_of(workflow))
    assert makes(commands) >= {"lint", "test", "test-exhaustive", "docs", "e2e"}
    versions = loaded(workflow)["jobs"]["test"]["strategy"]["matrix"]["python"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f">={versions[0]}" == oldest
    assert len(versions) == 2
    for path in re.findall(r"--config (\S+)", commands):
        assert (ROOT / path).is_file()


def test_the_targets_named_for_contributors_exist() -> None:
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "docs/tutorial.md",
        ".github/PULL_REQUEST_TEMPLATE.md",
        ".ci/run",
    ):
        text = (ROOT / name).read_text()
        code = "\n".join(re.findall(r"`[^`]+`", text) + re.findall(r"^make .*", text, re.MULTILINE))
        assert makes(code) <= TARGETS, name


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_a_form_has_fields_with_labels_and_unique_ids(form: Path) -> None:
    content = loaded(form)
    assert content.keys() == {"name", "description", "labels", "body"}
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in content["body"]} <= FIELDS
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields) > 2
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_the_commit_hooks_are_the_commands_of_make_lint() -> None:
    (repository,) = load_config(str(ROOT / ".pre-commit-config.yaml"))["repos"]
    hooks = [shlex.split(hook["entry"])[:2] for hook in repository["hooks"]]
    recipe = MAKEFILE[MAKEFILE.index("\nlint: ") :].split("\n\n")[0]
    linted = [command.split()[:2] for command in re.findall(r"^\t\$\(BIN\)/(.+)$", recipe, re.MULTILINE)]
    assert [[Path(program).name, *rest] for program, *rest in hooks] == linted
    assert all(program.startswith(".venv/bin/") for program, *_ in hooks)
