"""Hook of the documentation site (``hooks`` in mkdocs.yml). It makes two changes to the Markdown of a page.

- A line ``<!-- reference: PACKAGE -->`` becomes the reference of all public names of the package.
- A link to a file outside ``docs/`` becomes a link to the repository, or its text if mkdocs.yml sets no ``repo_url``.
"""

from __future__ import annotations

import importlib
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = re.compile(r"^<!-- reference: (\w+) -->$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)")

log = logging.getLogger("mkdocs.hooks.docs_site")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the Markdown of a page with its references and links replaced."""
    markdown = REFERENCE.sub(lambda found: reference(found[1]), markdown)
    return replace_links(markdown, page.file.src_uri, config.repo_url)


def reference(package: str) -> str:
    """Return one mkdocstrings directive for each public name of a package."""
    module = importlib.import_module(package)
    defined_in = getattr(module, "_MODULE_OF", {})
    names = sorted((name for name in module.__all__ if not name.startswith("__")), key=str.lower)
    return "\n\n".join(
        f"::: {'.'.join(part for part in (package, defined_in.get(name), name) if part)}" for name in names
    )


def replace_links(markdown: str, page: str, repo_url: str | None) -> str:
    """Replace the links of a page that lead out of ``docs/``. A missing target is a warning, an error if strict."""

    def replace(found: re.Match[str]) -> str:
        text, link, anchor = found[1], found[2], found[3] or ""
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
        if target.startswith("docs/"):
            return found[0]
        if target.startswith("..") or not (ROOT / target).exists():
            log.warning("%s links to %s, which does not exist", page, target)
        return f"[{text}]({repo_url.rstrip('/')}/blob/main/{target}{anchor})" if repo_url else text

    return LINK.sub(replace, markdown)
