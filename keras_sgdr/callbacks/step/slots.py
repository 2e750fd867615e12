"""Which variables of a model's optimizers hold the learning rate."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_sgdr._checks import invalid, require
from keras_sgdr._model_state import optimizers_held, optimizers_in
from keras_sgdr.callbacks.step.rate_table import GroupShape, RateTable

__all__ = ["Slot", "check_optimizers", "is_complete", "parts_of", "slots_of"]

# Each optimizer's last tables, for the steps that were compiled with them, those of own loops among them.
_TABLES: weakref.WeakKeyDictionary[Any, dict[str, RateTable]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Slot:
    """A variable of an optimizer that a table replaces: the learning rate, or the updates of the present cycle.

    Attributes:
        optimizer: The optimizer.
        outer: The optimizer around it that the training step applies; itself where there is none.
        number: Which one of those that are set.
        name: `"learning_rate"` or, of `AdamWR`, `"cycle_updates"`.
        variable: The variable.
    """

    optimizer: Any
    outer: Any
    number: int
    name: str
    variable: Any

    @property
    def is_rate(self) -> bool:
        """Whether it is the learning rate."""
        return self.name == "learning_rate"

    @property
    def present(self) -> Any:
        """What the optimizer uses now."""
        return getattr(self.optimizer, f"_{self.name}")

    def set(self, value: Any) -> None:
        """Let the optimizer use something else in place of the variable, or the variable again."""
        setattr(self.optimizer, f"_{self.name}", value)

    def table(self, size: int, groups: GroupShape) -> RateTable:
        """The optimizer's last table, or a new one where that does not fit."""
        tables, counter = _TABLES.setdefault(self.optimizer, {}), self.outer._iterations
        last = tables.get(self.name)
        same = last is not None and last.variable is self.variable and last.counter is counter
        if last is None or not same or last.groups != groups or last.size < size:
            last = tables[self.name] = RateTable(self.name, self.variable, counter, size, groups)
        return last


def check_optimizers(given: Any) -> None:
    """Require None, an optimizer, or a list of some."""
    several = given if isinstance(given, list | tuple) else [given]
    valid = bool(several) and all(isinstance(each, keras.optimizers.Optimizer) for each in several)
    rule = "`optimizer` must be an optimizer of Keras, or a list of them."
    require(valid or given is None, rule, "optimizer", given, "Pass the very object, such as model.d_optimizer.")


def slots_of(model: Any, given: Any = None) -> list[Slot]:
    """What is to be replaced, the learning rates first.

    Args:
        model: The model.
        given: The optimizer or the optimizers whose rate is set; None for the model's own.

    Raises:
        ValueError: If there are none, they cannot be known yet, or a rate is no float.
    """
    found = []
    for outer in _given(model, given):
        for optimizer in _inside(outer, model):
            _take_over(optimizer)
            rate = getattr(optimizer, "_learning_rate", None)
            if not isinstance(rate, keras.Variable):
                raise invalid(
                    "`SGDR` needs an optimizer whose learning rate is a float, which it replaces during `fit`.",
                    f"{type(optimizer).__name__} with learning_rate={rate!r}",
                    "Compile with a float, such as `keras.optimizers.SGD(0.1)`.",
                )
            if given is None:
                is_scaled = isinstance(outer, keras.optimizers.LossScaleOptimizer)
                _refuse_wrapper(optimizer, "model.optimizer.inner_optimizer" if is_scaled else "model.optimizer")
            found.append((outer, optimizer))
    rates = [Slot(each, outer, i, "learning_rate", each._learning_rate) for i, (outer, each) in enumerate(found)]
    cycles = [
        Slot(each, outer, i, "cycle_updates", each._cycle_updates)
        for i, (outer, each) in enumerate(found)
        if hasattr(each, "cycle_updates")
    ]
    return rates + cycles


def _given(model: Any, given: Any) -> list[Any]:
    if given is not None:
        return list(given) if isinstance(given, list | tuple) else [given]
    if getattr(model, "optimizer", None) is None:
        raise invalid(
            "`SGDR` sets the learning rate of the model's optimizer, so the model must be compiled.",
            f"model={getattr(model, 'name', model)!r} without an optimizer",
            "Call `model.compile(...)`.",
        )
    return [model.optimizer]


def _inside(outer: Any, model: Any) -> Sequence[Any]:
    """The optimizers that hold a rate: inside loss scaling, and each of a `MultiOptimizer`'s."""
    *_, inner = _unscaled(outer)
    if not isinstance(inner, keras.optimizers.MultiOptimizer):
        return [inner]
    if not inner.built and is_complete(model):
        # One that chooses by a function knows its optimizers only once it is built.
        outer.build(model.trainable_variables)
    if not inner.optimizers:
        raise invalid(
            "`SGDR` must find the optimizers that a `MultiOptimizer` chooses by a function, which it does once the "
            "model is built.",
            f"model={model.name!r}, not built",
            "Begin it with a `keras.Input`, or call `model.build(...)`.",
        )
    return list(inner.optimizers)


def _unscaled(optimizer: Any) -> Iterator[Any]:
    yield optimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        yield optimizer.inner_optimizer


def parts_of(optimizer: Any) -> list[Any]:
    """An optimizer and all that Keras's own wrappers hold."""
    parts = list(_unscaled(optimizer))
    return parts + list(getattr(parts[-1], "optimizers", []))


def is_complete(model: Any) -> bool:
    """Whether all layers of a model are built, so that it will have no other variables."""
    return bool(model.built) and all(layer.built for layer in model._flatten_layers())


def _take_over(optimizer: Any) -> None:
    """End a training of the optimizer that was left early; refuse one that goes on."""
    table = getattr(optimizer, "_learning_rate", None)
    owner = table.owner if isinstance(table, RateTable) else None
    if owner is not None:
        if owner.goes_on:
            raise invalid(
                "An optimizer can have one `SGDR` at a time.",
                f"{type(optimizer).__name__} {optimizer.name!r}, which another training uses",
                "Give each model an optimizer of its own.",
            )
        owner.remove()


def _refuse_wrapper(optimizer: Any, path: str) -> None:
    """Refuse an optimizer that may leave the updates, and with them the rate, to one that it holds."""
    for name, value in optimizers_held(optimizer).items():
        place, held = next(optimizers_in(value, name))
        raise invalid(
            "`SGDR` must know which optimizer makes the updates, where one holds another.",
            f"{type(optimizer).__name__}, whose `{place}` holds {type(held).__name__}",
            f"Pass that one: `SGDR(optimizer={path}.{place})`.",
        )
