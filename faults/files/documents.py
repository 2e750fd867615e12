"""Documents of JSON that are sealed as the package seals them, and hold something else than they should."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

from faults.files.damage import Case, content
from keras_sgdr._files import sealed

__all__ = ["broken", "edited"]

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "1e308": 1e308,
    "10**400": 10**400,
    "NaN": math.nan,
    "Infinity": math.inf,
    "a text": "x",
    "an empty text": "",
    "a lone surrogate": "\ud800",
    "a text of a megabyte": "x" * 10**6,
    "a list": [1],
    "a mapping": {"a": 1},
}


def edited(whole: dict[str, Any], paths: list[tuple[Any, ...]]) -> Iterator[Case]:
    """A document with one value changed, one missing or one more, and sealed anew: what it says may be read.

    Args:
        whole: The right content.
        paths: Keys that lead to the values that are changed.
    """
    for path in paths:
        where = ".".join(map(str, path))
        for name, value in VALUES.items():
            yield content(f"{where} is {name}", _sealed(whole, path, value), refused=False)
        yield content(f"{where} is missing", _sealed(whole, path), refused=False)
    yield content("a key more", sealed({**whole, "code": "import os"}).encode(), refused=False)
    yield content("a digest that is no text", sealed(whole).encode().replace(b'"sha256": "', b'"sha256": 1, "x": "'))
    yield content("a digest of something else", sealed(whole).encode().replace(b" 1", b" 2"))


def broken() -> Iterator[Case]:
    """What is no sealed document."""
    for name, text in {
        "deep lists": "[" * 10**5 + "]" * 10**5,
        "deep lists that do not end": "[" * 10**6,
        "deep mappings": '{"a":' * 10**5 + "1" + "}" * 10**5,
        "lists of 900 in one another": '{"sha256": "", "a": ' + "[" * 900 + "]" * 900 + "}",
        "a number of 10,000 digits": '{"format": ' + "9" * 10_000 + "}",
        "a number of 4,000 digits": '{"sha256": "", "format": ' + "9" * 4_000 + "}",
        "1e999": '{"sha256": "", "format": 1e999}',
        "two keys of one name": '{"sha256": "", "sha256": ""}',
        "a list": "[]",
        "a text": '"text"',
        "null": "null",
        "a number": "1",
        "nothing but spaces": " " * 1000,
        "a comment": "// nothing\n{}",
        "Python": "{'format': 1}",
        "a byte order mark": "\ufeff{}",
        "a million keys": "{" + ",".join(f'"{n}":0' for n in range(10**6)) + "}",
    }.items():
        yield content(f"JSON: {name}", text.encode())
    yield content("UTF-16", '{"format": 1}'.encode("utf-16"))
    yield content("no UTF-8", b'{"format": "\xff\xfe"}')


def _sealed(whole: dict[str, Any], path: tuple[Any, ...], *value: Any) -> bytes:
    """The document with a value at a place, or, without one, without that place."""
    changed = copy.deepcopy(whole)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    if value:
        inner[path[-1]] = value[0]
    else:
        del inner[path[-1]]
    return sealed(changed).encode()
