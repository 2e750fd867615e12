"""Rates for groups of variables: the multiples of the schedule's rate, and updates that are made group by group."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from keras import ops

from keras_sgdr._checks import at_least, invalid, require
from keras_sgdr._model_state import method_replaced
from keras_sgdr.callbacks.step.patterns import check_pattern, require_match, with_frozen
from keras_sgdr.callbacks.step.rate_table import GroupShape, RateOfGroups
from keras_sgdr.callbacks.step.slots import Slot

__all__ = ["Multipliers", "RateGroups", "check_multipliers", "groups_of"]

# By patterns for the paths of variables, of which the first that matches counts, or a function of the variable.
Multipliers: TypeAlias = Mapping[str, float] | Callable[[Any], float]


class RateGroups:
    """The groups of one optimizer's variables.

    Args:
        optimizer: The optimizer, built.
        multiplier_of: The multiplier of each of its variables, in order.
        names: What the groups are called, each with its multiplier.

    Attributes:
        shape: The different multipliers and the group of each variable.
        names: As given.
    """

    def __init__(self, optimizer: Any, multiplier_of: Sequence[float], names: Mapping[str, float]) -> None:
        self._optimizer = optimizer
        multipliers = tuple(dict.fromkeys([1.0, *multiplier_of, *names.values()]))
        self.shape = GroupShape(multipliers, tuple(map(multipliers.index, multiplier_of)))
        self.names = names

    @contextlib.contextmanager
    def followed(self, rates: RateOfGroups) -> Iterator[None]:
        """Let the optimizer update each group at its own of the rates that it has, and not at all where that is 0."""
        optimizer = self._optimizer
        update, decay = optimizer._backend_update_step, optimizer._apply_weight_decay

        def update_by_groups(grads: Any, variables: Any, _: Any) -> None:
            # What all variables share, such as a product over the updates, is to change once in an update.
            own = (optimizer._iterations, rates.variable)
            shared = [each for each in optimizer.variables if each.shape == () and not any(each is one for one in own)]
            before: list[Any] | None = None
            for row, places in self._split(variables):
                if before is None:
                    before = [ops.copy(each) for each in shared]
                else:
                    for variable, value in zip(shared, before, strict=True):
                        variable.assign(value)
                with rates.at_row(row):
                    update([grads[i] for i in places], [variables[i] for i in places], optimizer.learning_rate)

        def decay_by_groups(variables: Any) -> None:
            if optimizer.weight_decay is None:
                return
            for row, places in self._split(variables):
                decayed = [variables[i] for i in places if optimizer._use_weight_decay(variables[i])]
                with rates.at_row(row):
                    # PyTorch takes no empty list.
                    if decayed:
                        decay(decayed)

        with (
            method_replaced(optimizer, "_backend_update_step", update_by_groups),
            method_replaced(optimizer, "_apply_weight_decay", decay_by_groups),
        ):
            yield

    def _split(self, variables: Sequence[Any]) -> Iterator[tuple[int, list[int]]]:
        """The groups that are updated, each with the places of its variables."""
        rows = [self.shape.rows[self._optimizer._get_variable_index(variable)] for variable in variables]
        for row, multiplier in enumerate(self.shape.multipliers):
            places = [i for i, each in enumerate(rows) if each == row]
            if places and multiplier:
                yield row, places


def check_multipliers(given: Any) -> None:
    """Require what `rate_multipliers` may be."""
    rule = "`rate_multipliers` must be a dictionary of patterns and multipliers, or a function of a variable."
    fix = 'Pass such as {"head": 1.0, "*": 0.1}.'
    valid = given is None or callable(given) or (isinstance(given, Mapping) and bool(given))
    require(valid, rule, "rate_multipliers", given, fix)
    if isinstance(given, Mapping):
        for pattern, multiplier in given.items():
            check_pattern("rate_multipliers", pattern)
            _check_multiplier(f"rate_multipliers[{pattern!r}]", multiplier)


def groups_of(given: Multipliers, rates: Sequence[Slot], model: Any) -> list[RateGroups]:
    """The groups of each optimizer whose rate is replaced.

    Layers of the model that are frozen have their groups as well: they may become trainable.

    Raises:
        ValueError: If an optimizer is not built, or a pattern is the first for no variable.
    """
    for slot in rates:
        if not slot.outer.built:
            raise invalid(
                "`rate_multipliers` are those of variables, which an optimizer knows once it is built.",
                f"the optimizer {slot.outer.name!r}, not built",
                "Begin the model with a `keras.Input`, or call `model.build(...)` before `fit`; in a loop of your own "
                "call `optimizer.build(model.trainable_variables)`.",
            )
    # One of several may have no variables, and is not built then.
    variables_of = [list(slot.optimizer._trainable_variables) if slot.optimizer.built else [] for slot in rates]
    every = [*with_frozen(model), *(variable for several in variables_of for variable in several)]
    variables = list({id(variable): variable for variable in every}.values())
    named = _by_patterns(given, variables) if isinstance(given, Mapping) else _by_function(given, variables)
    names = dict(named.values())
    groups = []
    for slot, several in zip(rates, variables_of, strict=True):
        of_each = [named.get(id(variable), ("", 1.0)) for variable in several]
        present = names if len(rates) == 1 else {name: names[name] for name, _ in of_each if name}
        groups.append(RateGroups(slot.optimizer, [multiplier for _, multiplier in of_each], present))
    return groups


def _by_patterns(given: Mapping[str, float], variables: Sequence[Any]) -> dict[int, tuple[str, float]]:
    """Name and multiplier of each variable's group, by the variable's identity."""
    named: dict[int, tuple[str, float]] = {}
    for pattern, multiplier in given.items():
        matched = require_match("rate_multipliers", pattern, variables)
        first = [variable for variable in matched if id(variable) not in named]
        if not first and pattern != "*":
            raise invalid(
                "The first pattern of `rate_multipliers` that matches counts.",
                f"{pattern!r}, of whose variables all are matched by patterns before it",
                "Put it before them.",
            )
        named.update({id(variable): (_name(pattern), float(multiplier)) for variable in first})
    return named


def _by_function(given: Callable[[Any], float], variables: Sequence[Any]) -> dict[int, tuple[str, float]]:
    named = {}
    for variable in variables:
        multiplier = given(variable)
        _check_multiplier(f"rate_multipliers({variable.path})", multiplier)
        named[id(variable)] = f"x{float(multiplier):g}", float(multiplier)
    return named


def _check_multiplier(name: str, value: Any) -> None:
    at_least(name, value, 0, "Pass 1 for the schedule's own rate, 0 to freeze.")


def _name(pattern: str) -> str:
    """What a group is called in the logs, in letters that trackers take."""
    return re.sub(r"[^\w.-]+", "", pattern) or "rest"
