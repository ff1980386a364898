"""The commands of ``vectorcache llm``. Each module holds a group of them; ``vectorcache`` prints errors as one line.

``options`` holds shared options, ``session`` opens the caches for one command, ``counts`` persists metrics between
commands, and ``output`` prints results as text or JSON.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from vectorcache_llm.cli import demo, manage, reasoning, replies, transfer

app = typer.Typer(
    help="Inspect and manage the caches in front of language models: replies, reasoning, embeddings and chats.",
    epilog="Start here: vectorcache llm demo. Exit codes: 0 success, 1 not found or only partly done, 2 error.",
    no_args_is_help=True,
    add_completion=False,
)

COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "set": (replies.set_, 'set "What is the capital of France?" "Paris."'),
    "get": (replies.get, 'get "Which city is the capital of France?"'),
    "similar": (replies.similar, 'similar "capital of France" -k 3'),
    "set-reasoning": (reasoning.set_reasoning, "set-reasoning chain.json"),
    "get-reasoning": (reasoning.get_reasoning, 'get-reasoning "How many primes are below 20?" --step 2'),
    "invalidate": (manage.invalidate, "invalidate --tag billing --older-than 30d"),
    "stats": (manage.stats, "stats --json"),
    "metrics": (manage.metrics, "metrics --prometheus"),
    "config": (manage.config, "config --config caches.yaml"),
    "warm": (transfer.warm, "warm prompts.jsonl --ttl 7d"),
    "export": (transfer.export, "export caches.jsonl --tenant acme"),
    "import": (transfer.import_, "import caches.jsonl"),
    "demo": (demo.demo, "demo"),
}
"""Every command, with an example of its arguments."""

for name, (command, example) in COMMANDS.items():
    app.command(name, epilog=f"Example: vectorcache llm {example}")(command)
