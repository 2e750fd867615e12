"""Patterns that name layers by the paths of their variables."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Any

from keras_sgdr._checks import invalid, require

__all__ = ["check_pattern", "require_match", "with_frozen"]


def check_pattern(name: str, pattern: Any) -> None:
    """Require a pattern."""
    rule = f"`{name}` must name layers by strings that are not empty."
    fix = 'Pass the beginning of a layer\'s name, such as "conv5", or "*" for all.'
    require(isinstance(pattern, str) and bool(pattern), rule, "a layer", pattern, fix)


def require_match(name: str, pattern: str, variables: Iterable[Any]) -> list[Any]:
    """The variables of the layers that a pattern names.

    A variable's path is that of Keras, `conv5_block1_1_conv/kernel`: its parts are divided by `/`, and the words of a
    part by `_`. A pattern that is a whole part, such as `"conv5_block1_1_conv"`, names that layer alone. Any other
    names the parts that begin with its words: `"conv5"` is all of `conv5_block1_1_conv`; `"conv"` is not, nor is
    `"block1"`. `*` stands for anything, `?` for one letter, `[ab]` for one of two.

    Raises:
        ValueError: If there are none.
    """
    variables = list(variables)
    # What `translate` gives matches to the end only.
    body = re.sub(r"\\[Zz]$", "", fnmatch.translate(pattern))
    for begin, end in ((rf"(?:^|.*/){re.escape(pattern)}", "(?:/.*)?"), (rf"(?:^|.*/){body}", "(?:[/_].*)?")):
        matched = [variable for variable in variables if re.fullmatch(begin + end, variable.path)]
        if matched:
            return matched
    layers = list(dict.fromkeys(variable.path.rpartition("/")[0] for variable in variables))
    raise invalid(
        f"Each pattern of `{name}` must match a variable.",
        f"{pattern!r}, which matches none",
        f"The variables are those of {_some(layers)}.",
    )


def with_frozen(model: Any) -> list[Any]:
    """The variables of a model that can be trained, those of layers that are frozen among them."""
    return [variable for layer in model._flatten_layers() for variable in layer._trainable_variables]


def _some(names: list[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} others" if len(names) > most else shown or "no layer"
