from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from scripts import docs_site

URL = "https://code.example/vectorcache/"


@pytest.mark.parametrize(
    ("page", "markdown", "expected"),
    [
        ("a.md", "[the README](../README.md#two-commands).", "the README."),
        ("llm/a.md", "[a](../b.md), [c](../../README.md)", "[a](../b.md), c"),
        ("a.md", "[a](b.md), [c](https://c.example), [d](#d)", "[a](b.md), [c](https://c.example), [d](#d)"),
    ],
)
def test_links_out_of_the_docs_become_text(page: str, markdown: str, expected: str) -> None:
    assert docs_site.replace_links(markdown, page, None) == expected


def test_links_out_of_the_docs_lead_to_the_repository_if_it_is_known() -> None:
    replaced = docs_site.replace_links("[a](../README.md#two-commands)", "a.md", URL)
    assert replaced == "[a](https://code.example/vectorcache/blob/main/README.md#two-commands)"


def test_a_missing_target_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mkdocs"):
        docs_site.replace_links("[a](../missing.py) [b](../../missing.py)", "a.md", URL)
    assert [record.getMessage() for record in caplog.records] == [
        "a.md links to missing.py, which does not exist",
        "a.md links to ../missing.py, which does not exist",
    ]


def test_a_reference_lists_the_public_names_where_they_are_defined() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="python-api.md"))
    config = SimpleNamespace(repo_url=None)
    text = docs_site.on_page_markdown("a\n\n<!-- reference: vectorcache -->\n\nb", page=page, config=config)
    lines = text.split("\n\n")
    assert (lines[0], lines[-1]) == ("a", "b")
    assert "::: vectorcache.index.chunk_index.ChunkIndex" in lines
    assert "__version__" not in text
    assert docs_site.reference("vectorcache_client").split("\n\n") == [
        "::: vectorcache_client.AsyncClient",
        "::: vectorcache_client.Client",
    ]
