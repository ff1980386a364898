"""Trees of thought."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from vectorcache.errors import InvalidInput, NotFound


class Thought(NamedTuple):
    """A node before it has its place in a tree: the root has no parent."""

    id: str
    parent: str | None
    thought: str
    score: float = 0.0


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node of a tree.

    Attributes:
        id: not empty, its own within the tree.
        thought: what was thought.
        parent: the id of the node above; None for the root.
        children: the ids of the nodes below, in order.
        score: how promising it was, any finite number; usually 0 to 1.
        depth: how far it is from the root, which has 0.

    Raises:
        InvalidInput: the id is empty, the score not finite, or the depth negative.
    """

    id: str
    thought: str
    parent: str | None = None
    children: tuple[str, ...] = ()
    score: float = 0.0
    depth: int = 0

    def __post_init__(self) -> None:
        if not self.id:
            raise InvalidInput("id", self.id, "a name that is not empty")
        if not math.isfinite(self.score):
            raise InvalidInput("score", self.score, "a finite number")
        if self.depth < 0:
            raise InvalidInput("depth", self.depth, "0 or more")


class TreeOfThought(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="tree"
):
    """A problem, the thoughts about it as one tree, and the answer.

    Attributes:
        problem: not empty.
        nodes: in any order; exactly one root, and parents, children and depths that agree.
        answer: empty where there is none yet.

    Raises:
        InvalidInput: the problem is empty, or the nodes are no tree; names the node.
    """

    problem: str
    nodes: tuple[Node, ...]
    answer: str = ""

    def __post_init__(self) -> None:
        if not self.problem.strip():
            raise InvalidInput("problem", self.problem, "a text that is not empty")
        _check(self.nodes)

    @classmethod
    def grow(cls, problem: str, thoughts: Iterable[Thought], answer: str = "") -> TreeOfThought:
        """The tree of thoughts that name their parents, each after its parent; children and depths follow from it.

        Raises:
            InvalidInput: they are no tree.
        """
        depths: dict[str | None, int] = {None: -1}
        children: dict[str | None, list[str]] = {}
        given = [Thought(*thought) for thought in thoughts]
        for one in given:
            if one.parent not in depths:
                raise InvalidInput(f"node {one.id!r}.parent", one.parent, "a node that came before")
            depths[one.id] = depths[one.parent] + 1
            children.setdefault(one.parent, []).append(one.id)
        nodes = (
            Node(
                id=one.id,
                thought=one.thought,
                parent=one.parent,
                children=tuple(children.get(one.id, ())),
                score=one.score,
                depth=depths[one.id],
            )
            for one in given
        )
        return cls(problem=problem, nodes=tuple(nodes), answer=answer)

    @property
    def root(self) -> Node:
        """The node without a parent."""
        return next(node for node in self.nodes if node.parent is None)

    @property
    def average_score(self) -> float:
        """The mean of all scores but the root's, which stands for the problem; the root's where it is alone."""
        below = [node.score for node in self.nodes if node.parent is not None]
        return sum(below) / len(below) if below else self.root.score

    def node(self, id: str) -> Node:  # noqa: A002 - the field's name
        """One node.

        Raises:
            NotFound: the tree has no such node.
        """
        for node in self.nodes:
            if node.id == id:
                return node
        raise NotFound("node", id)

    def path(self, id: str) -> list[Node]:  # noqa: A002 - the field's name
        """The nodes from the root to this one.

        Raises:
            NotFound: the tree has no such node.
        """
        nodes = {node.id: node for node in self.nodes}
        if id not in nodes:
            raise NotFound("node", id)
        found = [nodes[id]]
        while (parent := found[-1].parent) is not None:
            found.append(nodes[parent])
        return found[::-1]

    def best_path(self) -> list[Node]:
        """The path from the root to the leaf whose nodes below the root have the highest mean score.

        The mean, since a sum would take long paths for good ones; without the root, since it would pull short paths
        towards its own score. Of equals the shorter one, then the one that comes first.
        """
        nodes = {node.id: node for node in self.nodes}
        best, rank = self.root, -math.inf
        waiting = [(self.root, 0.0)]
        for node, total in waiting:  # by breadth: of equals the shorter comes first
            mean = total / max(node.depth, 1)
            if not node.children and mean > rank:
                best, rank = node, mean
            waiting += [(nodes[child], total + nodes[child].score) for child in node.children]
        return self.path(best.id)

    def with_node(self, thought: Thought) -> TreeOfThought:
        """The tree with a thought below its parent; one of the same id and parent is replaced, its children stay.

        Raises:
            InvalidInput: the parent is not there, or the id is elsewhere in the tree.
        """
        return TreeOfThought.grow(self.problem, _placed(list(self.walk_thoughts()), thought), self.answer)

    def walk_thoughts(self) -> Iterator[Thought]:
        """Every node as a thought, each after its parent, children in their order."""
        nodes = {node.id: node for node in self.nodes}
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield Thought(node.id, node.parent, node.thought, node.score)
            waiting += [nodes[child] for child in reversed(node.children)]


def _placed(thoughts: list[Thought], new: Thought) -> list[Thought]:
    places = [place for place, one in enumerate(thoughts) if (one.id, one.parent) == (new.id, new.parent)]
    for place in places:
        thoughts[place] = new
    return thoughts if places else [*thoughts, new]


def _check(nodes: tuple[Node, ...]) -> None:
    """See that nodes are one tree. Reached from the root, with depths that grow, no cycle is left."""
    by_id = {node.id: node for node in nodes}
    if len(by_id) != len(nodes):
        twice = Counter(node.id for node in nodes).most_common(1)[0][0]
        raise InvalidInput(f"node {twice!r}.id", twice, "an id that no other node has")
    roots = [node.id for node in nodes if node.parent is None]
    if len(roots) != 1:
        raise InvalidInput("nodes", roots, "exactly one node without a parent")
    reached, waiting = set[str](), [by_id[roots[0]]]
    for node in waiting:
        if node.depth != (by_id[node.parent].depth + 1 if node.parent is not None else 0):
            raise InvalidInput(
                f"node {node.id!r}.depth", node.depth, "one more than its parent's, 0 for the root"
            )
        reached.add(node.id)
        waiting += _children(node, by_id)
    if len(reached) != len(nodes):
        lost = next(node for node in nodes if node.id not in reached)
        raise InvalidInput(f"node {lost.id!r}.parent", lost.parent, "a node that has it among its children")


def _children(node: Node, by_id: dict[str, Node]) -> list[Node]:
    if len(set(node.children)) != len(node.children):
        raise InvalidInput(f"node {node.id!r}.children", node.children, "each child once")
    for child in node.children:
        if child not in by_id or by_id[child].parent != node.id:
            raise InvalidInput(f"node {node.id!r}.children", child, "nodes whose parent it is")
    return [by_id[child] for child in node.children]
