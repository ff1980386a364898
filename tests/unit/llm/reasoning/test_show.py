import io

from rich.console import Console

from vectorcache_llm.reasoning import ChainOfThought, Step, Thought, TreeOfThought, as_text, rich_tree

TREE = TreeOfThought.grow(
    "make 24",
    [
        Thought("r", None, "4 6 8 2"),
        Thought("a", "r", "4 x 6", 0.9),
        Thought("a1", "a", "[red]done[/red]", 0.8),
        Thought("b", "r", "8 - 2", 0.25),
    ],
    answer="4 x 6",
)


def test_a_chain_as_text() -> None:
    chain = ChainOfThought(
        problem="17 + 4?",
        steps=(Step(number=1, thought="7 + 4 is 11", rationale="by heart", confidence=0.5),),
        answer="21",
    )
    assert as_text(chain) == "17 + 4?\n  1. 7 + 4 is 11  (0.50)\n     because by heart\nanswer: 21"


def test_a_tree_as_text_with_its_best_path() -> None:
    assert as_text(TREE).splitlines() == [
        "make 24",
        "* 4 6 8 2  [r, 0.00]",
        "├── * 4 x 6  [a, 0.90]",
        "│   └── * [red]done[/red]  [a1, 0.80]",
        "└── 8 - 2  [b, 0.25]",
        "answer: 4 x 6",
    ]


def test_a_tree_for_a_console_does_not_interpret_markup() -> None:
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(rich_tree(TREE))
    lines = [line.strip(" │├└─") for line in out.getvalue().splitlines()]
    assert lines == [
        "make 24",
        "* 4 6 8 2  [r, 0.00]",
        "* 4 x 6  [a, 0.90]",
        "* [red]done[/red]  [a1, 0.80]",
        "8 - 2  [b, 0.25]",
    ]
