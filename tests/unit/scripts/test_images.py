"""What the Dockerfile takes from the project is there, and what it installs is what pyproject.toml says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
REQUIREMENTS = ROOT / "scripts/requirements.py"


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _required(*extras: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, REQUIREMENTS, *extras], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.splitlines()


def test_an_extra_brings_what_it_names_and_what_its_extras_name(pyproject: dict[str, Any]) -> None:
    extras = pyproject["project"]["optional-dependencies"]
    found = _required("node")
    assert set(pyproject["project"]["dependencies"]) <= set(found)
    assert {*extras["azure"], *extras["service"]} <= set(found)
    assert not [one for one in found if one.startswith("vectorcache")]
    assert not [one for one in found if one.startswith(("kopf", "faiss", "kubernetes"))]


def test_an_unknown_extra_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        _required("nothing")


def test_every_package_is_copied_into_the_build(pyproject: dict[str, Any]) -> None:
    packages = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = {package.partition("/")[0] for package in packages}
    assert folders == set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.M))
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{folder}" for folder in folders} <= set(kept)


@pytest.mark.parametrize("image", ["operator", "node", "router", "client"])
def test_an_image_runs_as_nobody_in_particular(image: str) -> None:
    _, _, stage = DOCKERFILE.partition(f" AS {image}\n")
    stage = stage.partition("\nFROM ")[0]
    assert "\nUSER 10001:10001\n" in stage
    assert "\nENTRYPOINT [" in stage
    assert "org.opencontainers.image.version" in stage


def test_the_dockerfile_downloads_from_no_address_of_its_own() -> None:
    assert "://" not in DOCKERFILE
    assert DOCKERFILE.count("ARG BASE=") == 1
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)) <= {
        "${BASE}",
        *re.findall(r" AS (\S+)$", DOCKERFILE, re.M),
    }
