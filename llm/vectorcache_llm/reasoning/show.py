"""Chains and trees as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vectorcache_llm.extras import require
from vectorcache_llm.reasoning.chain import ChainOfThought
from vectorcache_llm.reasoning.tree import Node, TreeOfThought

if TYPE_CHECKING:
    from rich.tree import Tree


def as_text(reasoning: ChainOfThought | TreeOfThought) -> str:
    """Return a chain or a tree as lines of text. Nodes of a tree's best path are marked with a star."""
    return _chain(reasoning) if isinstance(reasoning, ChainOfThought) else _tree(reasoning)


def rich_tree(tree: TreeOfThought) -> Tree:
    """Return a tree for a rich console, with the best path in bold.

    Raises:
        MissingExtra: rich is not installed.
    """
    kind: Any = require("rich.tree", "cli").Tree
    text: Any = require("rich.text", "cli").Text
    best = {node.id for node in tree.best_path()}
    nodes = {node.id: node for node in tree.nodes}

    def label(node: Node) -> Any:
        return text(_label(node, node.id in best), style="bold" if node.id in best else "")

    whole = kind(text(tree.problem, style="cyan"))
    waiting = [(whole, tree.root)]
    for above, node in waiting:
        branch = above.add(label(node))
        waiting += [(branch, nodes[child]) for child in node.children]
    found: Tree = whole
    return found


def _chain(chain: ChainOfThought) -> str:
    lines = [chain.problem]
    for step in chain.steps:
        lines.append(f"{step.number:>3}. {step.thought}  ({step.confidence:.2f})")
        lines += [f"     because {step.rationale}"] if step.rationale else []
    return "\n".join([*lines, *_answer(chain.answer)])


def _tree(tree: TreeOfThought) -> str:
    nodes = {node.id: node for node in tree.nodes}
    best = {node.id for node in tree.best_path()}
    lines = [tree.problem]
    waiting: list[tuple[Node, str, str]] = [(tree.root, "", "")]
    while waiting:
        node, before, indent = waiting.pop()
        lines.append(f"{before}{_label(node, node.id in best)}")
        last = len(node.children) - 1
        below = [
            (
                nodes[child],
                indent + ("└── " if place == last else "├── "),
                indent + ("    " if place == last else "│   "),
            )
            for place, child in enumerate(node.children)
        ]
        waiting += reversed(below)
    return "\n".join([*lines, *_answer(tree.answer)])


def _label(node: Node, best: bool) -> str:
    return f"{'* ' if best else ''}{node.thought}  [{node.id}, {node.score:.2f}]"


def _answer(answer: str) -> list[str]:
    return [f"answer: {answer}"] if answer else []
