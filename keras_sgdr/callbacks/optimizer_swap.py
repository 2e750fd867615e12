"""Putting tables in place of the learning rates of a model's optimizers for one `fit`, and taking them out again.

Keras has no public way back from a schedule to a float rate, and `optimizer.learning_rate = schedule` drops the
rate's variable from the optimizer's state. So the private attribute behind that property is pointed elsewhere and
back, and the variable stays where it is: files saved before, during and after `fit` have one layout.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_sgdr._checks import invalid
from keras_sgdr.callbacks.compiled_step import CompiledStep
from keras_sgdr.callbacks.fit_context import calling_list, is_fitting
from keras_sgdr.callbacks.loss_scaling import count_batches
from keras_sgdr.callbacks.rate_table import RateTable, rate_as_written

__all__ = ["OptimizerSwap", "Slot", "optimizers_of"]


@dataclass(frozen=True)
class Slot:
    """A variable of an optimizer that a table replaces: the learning rate, or the updates of the present cycle.

    Attributes:
        optimizer: The optimizer.
        number: Which one of the model's.
        name: `"learning_rate"` or, of `AdamWR`, `"cycle_updates"`.
        variable: The variable.
    """

    optimizer: Any
    number: int
    name: str
    variable: Any

    def set(self, value: Any) -> None:
        """Let the optimizer use something else in place of the variable, or the variable again."""
        setattr(self.optimizer, f"_{self.name}", value)


class OptimizerSwap:
    """The learning rates of one model's optimizers, and their replacement during `fit`.

    Making one changes nothing.

    Args:
        model: A compiled model.

    Attributes:
        rates: The learning rates that the optimizers have outside `fit`.
        slots: What is replaced, the learning rates first.

    Raises:
        ValueError: If the model is not compiled, its optimizers cannot be known yet, or one of them has no learning
            rate of its own that is a float.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        optimizers = list(enumerate(optimizers_of(model)))
        rates = [Slot(each, number, "learning_rate", each._learning_rate) for number, each in optimizers]
        cycles = [
            Slot(each, number, "cycle_updates", each._cycle_updates)
            for number, each in optimizers
            if hasattr(each, "cycle_updates")
        ]
        self.slots = rates + cycles
        self.rates = [rate_as_written(slot.variable) for slot in rates]
        self._tables: list[RateTable] = []

    def install(self, size: int, *, counts_batches: bool) -> None:
        """Replace the variables by tables of `size` values: see `RateTable`."""
        model = self._model
        counter = model.optimizer._iterations  # The outermost: one inside counts the batches that it has a part in.

        def usable(tables: Sequence[RateTable]) -> bool:
            return len(tables) == len(self.slots) and all(
                table.variable is slot.variable
                and table.counter is counter
                and table.counts_batches == counts_batches
                and table.size >= size
                for table, slot in zip(tables, self.slots, strict=True)
            )

        self._step = CompiledStep(model)
        self._tables = self._step.kept_tables(usable) or self._new_tables(counter, size, counts_batches)
        for slot, table in zip(self.slots, self._tables, strict=True):
            table.refuse = self._refuse
            slot.set(table)
        scaled = hasattr(model.optimizer, "inner_optimizer")
        self._undo_counting = count_batches(model.optimizer, self._tables) if scaled else None
        self._step.install(on_other_fit=self.remove)

    def _new_tables(self, counter: Any, size: int, counts_batches: bool) -> list[RateTable]:
        model = self._model
        strategy = getattr(model, "distribute_strategy", None)
        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            if model.built and not model.optimizer.built:
                # TensorFlow traces a step twice that creates variables.
                model.optimizer.build(model.trainable_variables)
            return [
                RateTable(slot.name, slot.variable, counter, size, counts_batches=counts_batches) for slot in self.slots
            ]

    def fill(self, values: Callable[[Slot], Any]) -> None:
        """Put values into the tables."""
        for slot, table in zip(self.slots, self._tables, strict=True):
            table.fill(values(slot))

    def place(self, position: int) -> None:
        """Let the next batch have the values at `position` of the tables."""
        moved = [table.place(position) for table in self._tables]
        # Elsewhere the compiled step reads table and position from variables; JAX has compiled them in.
        if any(moved) and keras.config.backend() == "jax":
            self._step.rebuild()

    def finish_epoch(self, end: int) -> tuple[int, list[tuple[str, float]]]:
        """After an epoch: the position reached, `end` at most; name of each optimizer, and its last batch's rate."""
        last = [table.finish_epoch(end) for table in self._tables]
        rates = zip(self.slots, last, strict=True)
        return last[0][0], [(slot.optimizer.name, rate) for slot, (_, rate) in rates if slot.name == "learning_rate"]

    def remove(self) -> None:
        """Leave the model as it was before `install`, its own compiled step included."""
        if not self._tables:
            return
        self._step.restore(self._tables)
        for slot, table in zip(self.slots, self._tables, strict=True):
            present = getattr(slot.optimizer, f"_{slot.name}")
            slot.set(slot.variable)
            if present is not table and slot.name == "learning_rate":
                # A schedule that was set after `fit` was left by an exception.
                slot.optimizer.learning_rate = present
                self._model.train_function = None
        self._tables = []
        if self._undo_counting is not None:
            self._undo_counting()

    def _refuse(self, name: str, value: float) -> None:
        """Refuse to let rate or cycle be set in `fit`; after one that was left by an exception, make way for it."""
        calling = calling_list()
        if calling is None and not is_fitting(self._model):
            self.remove()
            return
        culprit = "the training step" if calling is None else type(calling.get("callback")).__name__
        rule = f"During `fit` only `SGDR` sets the {name.replace('_', ' ')}."
        raise invalid(rule, f"{name}={value} from {culprit}", "Leave out one of the two.")


def optimizers_of(model: Any) -> list[Any]:
    """The optimizers that hold a learning rate: inside loss scaling, and each of a `MultiOptimizer`'s.

    Raises:
        ValueError: If there are none, or a rate is no float.
    """
    if getattr(model, "optimizer", None) is None:
        raise invalid(
            "`SGDR` sets the learning rate of the model's optimizer, so the model must be compiled.",
            f"model={getattr(model, 'name', model)!r} without an optimizer",
            "Call `model.compile(...)`.",
        )
    optimizers = [getattr(model.optimizer, "inner_optimizer", model.optimizer)]
    if hasattr(optimizers[0], "optimizers"):
        if not optimizers[0].built and model.built:
            # One that chooses by a function knows its optimizers only once it is built.
            model.optimizer.build(model.trainable_variables)
        optimizers = list(optimizers[0].optimizers)
    if not optimizers:
        raise invalid(
            "`SGDR` must find the optimizers that a `MultiOptimizer` chooses by a function, which it does once the "
            "model is built.",
            f"model={model.name!r}, not built",
            "Begin it with a `keras.Input`, or call `model.build(...)`.",
        )
    for optimizer in optimizers:
        rate = getattr(optimizer, "_learning_rate", None)
        if not isinstance(rate, keras.Variable):
            raise invalid(
                "`SGDR` needs an optimizer whose learning rate is a float, which it replaces during `fit`.",
                f"{type(optimizer).__name__} with learning_rate={rate!r}",
                "Compile with a float, such as `keras.optimizers.SGD(0.1)`.",
            )
    return optimizers
