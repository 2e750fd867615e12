"""Unfreezing: layers that become trainable at a restart, amid one `fit` (gradual unfreezing, arXiv 1801.06146)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras

from keras_sgdr._checks import integer, invalid, require
from keras_sgdr._model_state import value_of
from keras_sgdr.callbacks.step.patterns import check_pattern, require_match, with_frozen
from keras_sgdr.callbacks.step.slots import parts_of
from keras_sgdr.schedules import Schedule

__all__ = ["Unfreeze", "Unfreezing", "check_unfreeze"]

# Patterns for the layers that become trainable, by the number of the restart.
Unfreeze: TypeAlias = Mapping[int, str | Sequence[str]]


def check_unfreeze(given: Any) -> None:
    """Require what `unfreeze` may be."""
    rule = "`unfreeze` must be a dictionary of restarts and the layers that become trainable there."
    fix = 'Pass such as {1: "conv5", 2: "*"}.'
    require(given is None or (isinstance(given, Mapping) and bool(given)), rule, "unfreeze", given, fix)
    for restart, named in (given or {}).items():
        integer("unfreeze", restart, "Pass 1 for the first restart; what is to be trained before, make trainable.")
        require(isinstance(named, str | list | tuple) and bool(named), rule, "unfreeze", given, fix)
        for pattern in _several(named):
            check_pattern("unfreeze", pattern)


class Unfreezing:
    """The unfreezing of one training. Making one changes nothing.

    Args:
        given: The patterns by the number of the restart.
        model: The model.
        optimizer: What `SGDR` was given as such.
        schedule: Of the training.

    Raises:
        ValueError: If a restart is inside an epoch, or none of the schedule's, a pattern matches nothing, or the
            training has several optimizers.
    """

    def __init__(self, given: Unfreeze, model: Any, optimizer: Any, schedule: Schedule) -> None:
        self._model = model
        held = parts_of(model.optimizer) if optimizer is None else []
        if optimizer is not None or any(isinstance(each, keras.optimizers.MultiOptimizer) for each in held):
            raise invalid(
                "`unfreeze` lets the optimizer of `compile` take up more variables, so it must be one.",
                "a MultiOptimizer" if optimizer is None else "SGDR(optimizer=...)",
                "Compile with one optimizer; for rates of their own pass `rate_multipliers`.",
            )
        for named in given.values():
            for pattern in _several(named):
                require_match("unfreeze", pattern, with_frozen(model))
        self._due: list[tuple[int, list[str]]] = []
        begins = {}
        for cycle in schedule.cycles():
            if cycle.index > max(given):
                break
            begins[cycle.index] = cycle.start
        for restart, named in sorted(given.items()):
            rule, fix = "`unfreeze` names restarts of the schedule.", f"Its last is {max(begins, default=0)}."
            require(restart in begins, rule, "unfreeze", given, fix)
            rule, fix = "Layers become trainable at a restart that begins an epoch.", "Choose cycles of whole epochs."
            require(begins[restart].denominator == 1, rule, f"begin of restart {restart}", float(begins[restart]), fix)
            self._due.append((int(begins[restart]), _several(named)))

    def due(self, epoch: int) -> list[str]:
        """The patterns of the restarts up to the begin of an epoch, once."""
        due = [pattern for begin, patterns in self._due if begin <= epoch for pattern in patterns]
        self._due = [(begin, patterns) for begin, patterns in self._due if begin > epoch]
        return due

    def unfreeze(self, patterns: Sequence[str]) -> None:
        """Let layers be trainable, and the optimizer take up their variables. The step is to be compiled anew.

        What the optimizer knows of the variables that it had, such as their momenta, stays.
        """
        model = self._model
        matched = {id(each) for pattern in patterns for each in require_match("unfreeze", pattern, with_frozen(model))}
        layers = model._flatten_layers()
        wanted = {
            id(layer): layer.trainable
            or any(id(each) in matched for part in layer._flatten_layers() for each in part._trainable_variables)
            for layer in layers
        }
        # From the outside in: a layer hands what it is set to on to those inside it.
        for layer in layers:
            if layer.trainable != wanted[id(layer)]:
                layer.trainable = wanted[id(layer)]
        for optimizer in reversed(parts_of(model.optimizer)):
            if optimizer.built:
                _extend(optimizer, model.trainable_variables)
        if hasattr(model, "_record_training_state_sharding_spec"):
            model._record_training_state_sharding_spec()  # On JAX, where `fit` takes note of it when it begins.
        model.train_function = None


def _several(named: str | Sequence[str]) -> list[str]:
    return [named] if isinstance(named, str) else list(named)


def _extend(optimizer: Any, variables: list[Any]) -> None:
    """Build an optimizer again, for more variables, with what it held of those that it had."""
    places = {id(variable): place for place, variable in enumerate(optimizer._trainable_variables)}
    lists, singles = _lists(optimizer, len(places)), _singles(optimizer)
    for held in lists.values():
        for value in held:
            if value is not None:
                optimizer._untrack_variable(value)
    optimizer.built = False
    optimizer._trainable_variables_indices = {}
    optimizer.build(variables)
    for name, held in _lists(optimizer, len(variables)).items():
        for variable, value in zip(variables, held, strict=True):
            if value is None:
                continue
            if id(variable) in places:
                value.assign(value_of(lists[name][places[id(variable)]]))
            elif name == "_model_variables_moving_average":
                value.assign(value_of(variable))  # It has not changed until now.
    for name, value in _singles(optimizer).items():
        if singles[name] is not value:
            value.assign(value_of(singles[name]))
            optimizer._untrack_variable(singles[name])


def _lists(optimizer: Any, length: int) -> dict[str, list[Any]]:
    """What an optimizer holds for each of its variables, such as momenta, by attribute."""
    return {
        name: list(value)
        for name, value in vars(optimizer).items()
        if isinstance(value, list) and len(value) == length and name not in ("_variables", "_trainable_variables")
        if any(isinstance(each, keras.Variable) for each in value)
    }


def _singles(optimizer: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(optimizer).items() if isinstance(value, keras.Variable)}
