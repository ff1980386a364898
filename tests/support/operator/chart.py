"""The chart and the manifests as objects: what helm and kubectl, found by PATH, make of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/vectorcache"
MANIFESTS = ROOT / "manifests"
SECONDS = 60.0

KNOWS_CACHES = ("--api-versions", "vectorcache.io/v1alpha1/VectorCache")
"""Flags of ``helm template`` for a cluster that has the CRD."""

Object = dict[str, Any]


class Refused(Exception):
    """The program failed; the message is what it wrote to standard error, ``output`` what to standard output."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def run(program: str, *arguments: str | Path, input: str | None = None, seconds: float = SECONDS) -> str:  # noqa: A002
    """Run a program that some machines lack; return what it wrote.

    Raises:
        Refused: it failed.
    """
    path = shutil.which(program)
    if path is None:
        _missing(f"{program} is not there")
    command = [str(path), *map(str, arguments)]
    done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise Refused(done.stderr, done.stdout)
    return done.stdout


def render(
    values: Mapping[str, Any] | None = None, *flags: str, namespace: str = "vectorcache-system"
) -> list[Object]:
    """The objects of the chart with these values (the defaults where there are none)."""
    given = json.dumps(values or {})
    text = run(
        "helm",
        "template",
        "vectorcache",
        CHART,
        "--namespace",
        namespace,
        *flags,
        "--values",
        "-",
        input=given,
    )
    return objects(text)


def kustomize(folder: Path = MANIFESTS) -> list[Object]:
    """The objects of a kustomization."""
    return objects(run("kubectl", "kustomize", folder))


def objects(text: str) -> list[Object]:
    """The objects of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document]


def the(kind: str, found: list[Object]) -> Object:
    """The only object of a kind."""
    (only,) = of(kind, found)
    return only


def of(kind: str, found: list[Object]) -> list[Object]:
    """All objects of a kind."""
    return [each for each in found if each["kind"] == kind]


def identity(one: Object) -> tuple[str, str, str, str]:
    """What names an object in a cluster."""
    metadata = one["metadata"]
    return one["apiVersion"], one["kind"], metadata.get("namespace", ""), metadata["name"]


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
