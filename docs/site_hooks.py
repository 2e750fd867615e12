"""Hooks of MkDocs: pages of the site that lie beside docs/, and links that hold in the checkout and on the site.

The README's links are absolute, so that they hold on an index page. Here they are made relative again, so that the
strict build follows them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

CHECKOUT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/keras-sgdr/keras-sgdr/blob/main/"
PICTURES = "https://raw.githubusercontent.com/keras-sgdr/keras-sgdr/main/"
PAGES = {
    "index.md": "README.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
BESIDE = {source: page for page, source in PAGES.items()}


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that lie beside docs/."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(CHECKOUT / source).read_text()))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Links of a page, as the site has them."""
    up = "../" * page.file.src_uri.count("/")
    for picture in (PICTURES, REPOSITORY):
        # Of the repository's own pages; a link to source code stays as it is.
        markdown = re.sub(rf"\]\({re.escape(picture)}docs/", f"]({up}", markdown)
    for source, target in BESIDE.items():
        markdown = markdown.replace(f"]({REPOSITORY}{source})", f"]({up}{target})")
        markdown = markdown.replace(f"](../{source})", f"]({target})")
    if page.file.src_uri in PAGES:
        markdown = markdown.replace("](docs/", "](")
    return markdown
