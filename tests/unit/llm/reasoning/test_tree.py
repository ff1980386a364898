from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache.errors import InvalidInput, NotFound
from vectorcache_llm.reasoning import Node, Thought, TreeOfThought

THOUGHTS = [
    Thought("root", None, "make 24 out of 4 6 8 2"),
    Thought("a", "root", "4 x 6", 0.9),
    Thought("b", "root", "8 - 2", 0.6),
    Thought("b1", "b", "x 4", 0.8),
    Thought("b2", "b", "+ 6", 0.2),
]
TREE = TreeOfThought.grow("24", THOUGHTS)


@st.composite
def grown(draw: st.DrawFn) -> TreeOfThought:
    """A tree of up to 20 nodes, each below an earlier one."""
    size = draw(st.integers(1, 20))
    scores = st.floats(-1, 1)
    thoughts = [Thought("0", None, "", draw(scores))]
    for number in range(1, size):
        thoughts.append(Thought(str(number), str(draw(st.integers(0, number - 1))), "", draw(scores)))
    return TreeOfThought.grow("p", thoughts)


def changed(node: str, **fields: Any) -> tuple[Node, ...]:
    """The nodes of TREE, one of them with changed fields."""
    return tuple(msgspec.structs.replace(one, **fields) if one.id == node else one for one in TREE.nodes)


def test_children_and_depths_follow_from_parents() -> None:
    assert TREE.root.children == ("a", "b")
    assert [node.depth for node in TREE.nodes] == [0, 1, 1, 2, 2]


def test_a_single_node_and_its_path() -> None:
    assert TREE.node("b2").score == 0.2
    assert [node.id for node in TREE.path("b2")] == ["root", "b", "b2"]
    for ask in (TREE.node, TREE.path):
        with pytest.raises(NotFound, match="node 'c'"):
            ask("c")


def test_the_best_path_has_the_highest_mean_without_the_root() -> None:
    assert [node.id for node in TREE.best_path()] == ["root", "a"]
    better = TREE.with_node(Thought("a1", "a", "+ 8 - 2", 0.1))
    assert [node.id for node in better.best_path()] == ["root", "b", "b1"]


def test_the_shorter_of_equal_paths_is_best() -> None:
    tree = TreeOfThought.grow(
        "p",
        [
            Thought("r", None, ""),
            Thought("x", "r", "", 0.5),
            Thought("y", "x", "", 0.5),
            Thought("z", "r", "", 0.5),
        ],
    )
    assert [node.id for node in tree.best_path()] == ["r", "z"]


@given(grown())
def test_the_best_path_beats_every_other(tree: TreeOfThought) -> None:
    def mean(path: list[Node]) -> float:
        return sum(node.score for node in path[1:]) / max(len(path) - 1, 1)

    leaves = [node.id for node in tree.nodes if not node.children]
    best = tree.best_path()
    assert best[-1].id in leaves
    assert mean(best) == pytest.approx(max(mean(tree.path(leaf)) for leaf in leaves))


@given(grown(), st.randoms(use_true_random=False))
def test_a_tree_round_trips_in_json_with_any_order_of_nodes(tree: TreeOfThought, rng: Any) -> None:
    nodes = list(tree.nodes)
    rng.shuffle(nodes)
    shuffled = TreeOfThought(problem="p", nodes=tuple(nodes))
    again = msgspec.json.decode(msgspec.json.encode(shuffled), type=TreeOfThought)
    assert again == shuffled
    assert again.average_score == pytest.approx(tree.average_score)
    assert {one.id for one in again.walk_thoughts()} == {node.id for node in nodes}


def test_average_score_is_without_the_root() -> None:
    assert TREE.average_score == pytest.approx((0.9 + 0.6 + 0.8 + 0.2) / 4)
    assert TreeOfThought.grow("p", [Thought("r", None, "", 0.3)]).average_score == 0.3


def test_a_node_is_added_or_replaced() -> None:
    better = TREE.with_node(Thought("b", "root", "8 / 2", 0.7))
    assert (better.node("b").thought, better.node("b").children) == ("8 / 2", ("b1", "b2"))
    with pytest.raises(InvalidInput, match="parent"):
        TREE.with_node(Thought("c", "nowhere", ""))
    with pytest.raises(InvalidInput, match="a unique id"):
        TREE.with_node(Thought("b1", "a", ""))


@pytest.mark.parametrize(
    ("nodes", "field"),
    [
        ((), "nodes"),
        (changed("a", parent=None, depth=0), "nodes"),
        (changed("root", parent="a"), "nodes"),
        (changed("a", id="b"), "'b'.id"),
        (changed("a", depth=2), "'a'.depth"),
        (changed("root", depth=1), "'root'.depth"),
        (changed("root", children=("b",)), "'a'.parent"),
        (changed("root", children=("a", "a", "b")), "'root'.children"),
        (changed("root", children=("a", "b", "c")), "'root'.children"),
        (changed("a", children=("b1",)), "'a'.children"),
        (changed("b", parent="b1"), "'root'.children"),
    ],
)
def test_invalid_trees_are_rejected_with_the_node(nodes: tuple[Node, ...], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        TreeOfThought(problem="24", nodes=nodes)


def test_an_unconnected_cycle_is_rejected() -> None:
    cycle = (
        Node(id="x", thought="", parent="y", children=("y",), depth=1),
        Node(id="y", thought="", parent="x", children=("x",), depth=2),
    )
    with pytest.raises(InvalidInput, match="'x'.parent"):
        TreeOfThought(problem="24", nodes=(*TREE.nodes, *cycle))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"id": ""}, "id"),
        ({"score": float("nan")}, "score"),
        ({"score": float("inf")}, "score"),
        ({"depth": -1}, "depth"),
    ],
)
def test_invalid_fields_are_rejected(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        Node(**{"id": "a", "thought": "", **fields})


def test_a_deep_tree_does_not_recurse() -> None:
    thoughts = [Thought("0", None, "")] + [Thought(str(n), str(n - 1), "", 0.5) for n in range(1, 3000)]
    tree = TreeOfThought.grow("deep", thoughts)
    assert len(tree.best_path()) == 3000
    assert len(list(tree.walk_thoughts())) == 3000
