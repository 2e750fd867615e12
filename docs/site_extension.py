"""An extension of Griffe, which reads the docstrings for the API pages: Keras's way to write examples, as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

# Lines that begin with `>>>` or `...`, and what they print, up to the next empty line.
EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class Examples(griffe.Extension):
    """Fences the examples: to Markdown `>>>` is a quotation of a quotation of a quotation."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called with each object that has been read."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", obj.docstring.value)
