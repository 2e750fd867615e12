"""Rates for groups of layers, as PyTorch has them: by parameter groups."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from torch_reference._checks import not_negative, require, written

__all__ = ["rate_groups"]


def rate_groups(model: nn.Module, rate_multipliers: Mapping[str, float]) -> list[dict[str, Any]]:
    """The parameters of a model in groups, for an optimizer whose rate is set by one of `schedulers`.

    The schedulers set a group's rate to the schedule's times its `"rate_multiplier"`; 0 leaves its parameters as they
    are. What matters is the optimizer's own `lr`: give the groups none.

    Args:
        model: The model; those of its parameters that require no gradient are in the groups too, as they may later.
        rate_multipliers: By patterns, of which the first that matches counts. The name of a parameter is PyTorch's,
            `layer4.0.conv1.weight`: its parts are divided by `.`, and the words of a part by `_`. A pattern that is a
            whole part, or several, is these alone: `"layer4"`, `"layer4.0"`. Any other names the parts that begin with
            its words. `*` stands for anything, `?` for one letter, `[ab]` for one of two. What no pattern matches has
            the schedule's rate.

    Returns:
        A group for each pattern, in order, and one for the rest where there is a rest.

    Raises:
        ValueError: If a pattern is none, a multiplier is negative or not finite, or a pattern is the first for no
            parameter; but for `"*"`, which may be left with none.
    """
    rule, fix = "`rate_multipliers` must be a dictionary.", 'Pass such as {"fc": 1.0, "*": 0.1}.'
    require(isinstance(rate_multipliers, Mapping) and bool(rate_multipliers), rule, written(rate_multipliers), fix)
    left = dict(model.named_parameters())
    groups = []
    for pattern, multiplier in rate_multipliers.items():
        rule, fix = "A pattern must be a string that is not empty.", 'Pass such as "layer4", or "*" for all.'
        require(isinstance(pattern, str) and bool(pattern), rule, written(pattern), fix)
        not_negative(f"rate_multipliers[{pattern!r}]", multiplier, "Pass 1 for the schedule's own rate, 0 to freeze.")
        names = [name for name, _ in model.named_parameters()]
        # The names that it is a whole part of, else those with parts that begin with it.
        matched = [name for name in names if _names(pattern, name, ".")] or [
            name for name in names if _names(pattern, name, "._")
        ]
        first = [left.pop(name) for name in matched if name in left]
        rule, fix = "Each pattern must be the first that matches some parameter.", f"The names are such as {names[-1]}."
        require(bool(first) or pattern == "*", rule, f"{pattern!r}, which is not", fix)
        if first:
            groups.append({"params": first, "rate_multiplier": float(multiplier)})
    if left:
        groups.append({"params": list(left.values()), "rate_multiplier": 1.0})
    return groups


def _names(pattern: str, name: str, ends: str) -> bool:
    """Whether a pattern is a piece of a name that begins a part and stops before one of `ends`, or with the name."""
    starts = [0, *(place + 1 for place, letter in enumerate(name) if letter == ".")]
    stops = [*(place for place, letter in enumerate(name) if letter in ends), len(name)]
    pieces = [name[start:stop] for start in starts for stop in stops if start < stop]
    return pattern in pieces if ends == "." else any(fnmatchcase(piece, pattern) for piece in pieces)
