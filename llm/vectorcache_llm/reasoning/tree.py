"""Trees of thought."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from vectorcache.errors import InvalidInput, NotFound


class Thought(NamedTuple):
    """A node that is not part of a tree yet. The root has no parent."""

    id: str
    parent: str | None
    thought: str
    score: float = 0.0


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node of a tree.

    Attributes:
        id: not empty, unique within the tree.
        thought: the thought.
        parent: the id of its parent; None for the root.
        children: the ids of its children, in order.
        score: how promising the thought is: any finite number, usually 0 to 1.
        depth: distance from the root, whose depth is 0.

    Raises:
        InvalidInput: the id is empty, the score is not finite, or the depth is negative.
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
        nodes: the nodes in any order, with exactly one root and consistent parents, children and depths.
        answer: the answer; empty if there is none yet.

    Raises:
        InvalidInput: the problem is empty, or the nodes do not form a tree; names the node.
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
        """Return the tree of thoughts that name their parents. Each thought comes after its parent.

        Raises:
            InvalidInput: the thoughts do not form a tree.
        """
        depths: dict[str | None, int] = {None: -1}
        children: dict[str | None, list[str]] = {}
        given = [Thought(*thought) for thought in thoughts]
        for one in given:
            if one.parent not in depths:
                raise InvalidInput(f"node {one.id!r}.parent", one.parent, "the id of an earlier node")
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
        """The mean of all scores except that of the root, which represents the problem; the root's if it is alone."""
        below = [node.score for node in self.nodes if node.parent is not None]
        return sum(below) / len(below) if below else self.root.score

    def node(self, id: str) -> Node:  # noqa: A002 - the field's name
        """Return one node.

        Raises:
            NotFound: the tree has no such node.
        """
        for node in self.nodes:
            if node.id == id:
                return node
        raise NotFound("node", id)

    def path(self, id: str) -> list[Node]:  # noqa: A002 - the field's name
        """Return the nodes from the root to this one.

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
        """Return the path from the root to a leaf with the highest mean score below the root.

        The mean is used because a sum would favour long paths. The root is excluded because it would pull short paths
        towards its own score. Among equals the shorter path wins, then the first.
        """
        nodes = {node.id: node for node in self.nodes}
        best, rank = self.root, -math.inf
        waiting = [(self.root, 0.0)]
        for node, total in waiting:  # breadth first, so that the shorter of equal paths wins
            mean = total / max(node.depth, 1)
            if not node.children and mean > rank:
                best, rank = node, mean
            waiting += [(nodes[child], total + nodes[child].score) for child in node.children]
        return self.path(best.id)

    def with_node(self, thought: Thought) -> TreeOfThought:
        """Return the tree with a thought added below its parent.

        A node with the same id and parent is replaced and keeps its children.

        Raises:
            InvalidInput: the parent does not exist, or the id is elsewhere in the tree.
        """
        return TreeOfThought.grow(
            self.problem, _with_thought(list(self.walk_thoughts()), thought), self.answer
        )

    def walk_thoughts(self) -> Iterator[Thought]:
        """Yield every node as a thought, each after its parent and children in order."""
        nodes = {node.id: node for node in self.nodes}
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield Thought(node.id, node.parent, node.thought, node.score)
            waiting += [nodes[child] for child in reversed(node.children)]


def _with_thought(thoughts: list[Thought], new: Thought) -> list[Thought]:
    places = [place for place, one in enumerate(thoughts) if (one.id, one.parent) == (new.id, new.parent)]
    for place in places:
        thoughts[place] = new
    return thoughts if places else [*thoughts, new]


def _check(nodes: tuple[Node, ...]) -> None:
    """Check that the nodes form one tree.

    If all nodes are reachable from the root and each is one deeper than its parent, there is no cycle.
    """
    by_id = {node.id: node for node in nodes}
    if len(by_id) != len(nodes):
        twice = Counter(node.id for node in nodes).most_common(1)[0][0]
        raise InvalidInput(f"node {twice!r}.id", twice, "a unique id")
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
        orphan = next(node for node in nodes if node.id not in reached)
        raise InvalidInput(
            f"node {orphan.id!r}.parent", orphan.parent, "a node that has it among its children"
        )


def _children(node: Node, by_id: dict[str, Node]) -> list[Node]:
    if len(set(node.children)) != len(node.children):
        raise InvalidInput(f"node {node.id!r}.children", node.children, "each child once")
    for child in node.children:
        if child not in by_id or by_id[child].parent != node.id:
            raise InvalidInput(f"node {node.id!r}.children", child, "ids of nodes whose parent is this node")
    return [by_id[child] for child in node.children]
