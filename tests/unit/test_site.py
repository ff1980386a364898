"""The documentation site: it builds without a warning, is complete, and loads nothing from a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import vectorcache
import vectorcache_client
import vectorcache_llm

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = [pytest.mark.exhaustive, pytest.mark.xdist_group("site")]  # one worker builds the site


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", site],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """The URLs that a page loads by itself. Links that a reader may follow are not among them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            urls = (
                value for name, value in attributes if name in ("src", "srcset", "data", "poster") and value
            )
            self.urls.extend(urls)
            self.urls.extend(value for name, value in attributes if (tag, name) == ("link", "href") and value)


def test_each_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    documents = {path.with_name("index") if path.name == "README" else path for path in documents}
    pages = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert documents == pages - {Path("404")}
    assert {"tutorial", "python-api", "http-api", "glossary", "limits"} <= {page.name for page in pages}


def test_each_public_name_is_in_the_python_reference(site: Path) -> None:
    page = (site / "python-api.html").read_text()
    headings = set(re.findall(r'<h3 id="([\w.]+)"', page))
    for package in (vectorcache, vectorcache_client, vectorcache_llm):
        for name in package.__all__:
            assert name.startswith("__") or any(
                heading.startswith(f"{package.__name__}.") and heading.endswith(f".{name}")
                for heading in headings
            ), f"{package.__name__}.{name}"


def test_no_page_loads_a_script_a_style_or_a_font_from_a_network(site: Path) -> None:
    loaded = {url for page in site.rglob("*.html") for url in Loaded(page.read_text()).urls}
    assert any(url.endswith(".js") for url in loaded)
    assert any(url.endswith(".css") for url in loaded)
    assert not [url for url in loaded if re.match(r"(https?:)?//", url)]
    for style in site.rglob("*.css"):
        assert not re.search(r"""(@import|url\()\s*["']?(https?:)?//""", style.read_text()), style.name


def test_no_link_leaves_the_site_by_a_path(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target in re.findall(r'<a [^>]*href="(\.[^"#?]*)', page.read_text()):
            assert (page.parent / target).resolve().is_relative_to(site.resolve()), f"{page.name}: {target}"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("[a](missing.md)", "missing.md"),
        ("[a](#missing)", "missing"),
        ("[a](../missing.md)", "missing.md, which does not exist"),
        (None, 'not included in the "nav"'),
    ],
    ids=["link", "anchor", "link out of the docs", "page without navigation"],
)
def test_a_mistake_fails_the_build(page: str | None, expected: str, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(f"# Title\n\n{page or ''}\n")
    if page is None:
        (docs / "forgotten.md").write_text("# Title\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT}/mkdocs.yml\nsite_dir: {tmp_path}/site\nhooks: [{ROOT}/scripts/docs_site.py]\n"
        f"docs_dir: {docs}\nnav: [index.md]\nplugins: []\n"
    )
    done = build(config, tmp_path / "site")
    assert done.returncode == 1, done.stderr
    assert expected in done.stderr
