"""No package reads private attributes of another one, not even through a base class."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in ROOT.glob("*/vectorcache*/__init__.py"))
NAMEDTUPLE = {"_asdict", "_replace", "_fields"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def private_reads(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and is_private(node.attr):
            yield node


def test_there_are_packages() -> None:
    assert {path.name for path in PACKAGES} >= {"vectorcache", "vectorcache_node", "vectorcache_router"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_private_names_are_those_of_the_package(package: Path) -> None:
    trees = {path: ast.parse(path.read_text()) for path in package.rglob("*.py")}
    own = {name for tree in trees.values() for name in names_defined(tree)} | NAMEDTUPLE
    foreign = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}"
        for path, tree in trees.items()
        for node in private_reads(tree)
        if node.attr not in own
    ]
    assert not foreign


def test_private_imports_are_those_of_the_package() -> None:
    foreign = [
        f"{path.relative_to(ROOT)}:{node.lineno} {alias.name}"
        for package in PACKAGES
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] != package.name
        for alias in node.names
        if is_private(alias.name)
    ]
    assert not foreign
