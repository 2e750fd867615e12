"""Putting tables in place of the learning rates of a model's optimizers for one `fit`, and taking them out again.

Keras has no public way back from a schedule to a float rate, and `optimizer.learning_rate = schedule` drops the
rate's variable from the optimizer's state. So the private attribute behind that property is pointed elsewhere and
back, and the variable stays where it is: files saved before, during and after `fit` have one layout.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import invalid
from keras_sgdr._model_state import method_replaced
from keras_sgdr.callbacks.fit_context import calling_list, is_fitting
from keras_sgdr.callbacks.step.compiled_step import CompiledStep, count_batches
from keras_sgdr.callbacks.step.groups import Multipliers, RateGroups, groups_of
from keras_sgdr.callbacks.step.rate_table import ONE_GROUP, RateTable, rate_as_written
from keras_sgdr.callbacks.step.slots import Slot, is_complete, parts_of

__all__ = ["OptimizerSwap"]


class OptimizerSwap:
    """The learning rates of one model's optimizers, and their replacement during training.

    Making one changes nothing.

    Args:
        model: The model.
        slots: What is replaced, the learning rates first: see `slots_of`.
        on_remove: Called before it is removed.
        multipliers: Of the rates of groups of variables, where they have their own.

    Attributes:
        rates: The learning rates that the optimizers have outside `fit`.
        tables: What the slots hold, once installed.
        groups: Of the variables of each optimizer, once installed; none where all have one rate.
        step: The model's train step, once installed; None where the model is not compiled.
        by_hand: Whether the training is no `fit`, but a loop of the user's.
    """

    def __init__(
        self, model: Any, slots: list[Slot], on_remove: Callable[[], None], multipliers: Multipliers | None = None
    ) -> None:
        self._model = model
        self._on_remove = on_remove
        self._multipliers = multipliers
        self.slots = slots
        self.rates = [rate_as_written(slot.variable) for slot in slots if slot.is_rate]
        self.tables: list[RateTable] = []
        self.groups: list[RateGroups] = []
        self.step: CompiledStep | None = None
        self.by_hand = not is_fitting(model)
        self._undo = contextlib.ExitStack()
        self._places: list[tuple[dict[str, Any], str, RateTable]] = []
        self._unread: list[tuple[Slot, RateTable, int]] = []
        self._own_values: list[float] | None = None
        self._is_state = False
        self._thread = threading.get_ident()

    def install(self, size: int) -> None:
        """Replace the variables by tables of `size` entries at least: see `RateTable`.

        Raises:
            ValueError: If an optimizer's rate is not its own.
        """
        model = self._model
        strategy = getattr(model, "distribute_strategy", None)
        outer = list({id(slot.outer): slot.outer for slot in self.slots}.values())
        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            if outer == [getattr(model, "optimizer", None)] and not outer[0].built and is_complete(model):
                # TensorFlow traces a step twice that creates variables.
                outer[0].build(model.trainable_variables)
            if self._multipliers is not None:
                self.groups = groups_of(self._multipliers, [slot for slot in self.slots if slot.is_rate], model)
            self.tables = [
                slot.table(size, self.groups[slot.number].shape if self.groups and slot.is_rate else ONE_GROUP)
                for slot in self.slots
            ]
        # Looked at before each batch.
        self._places = [(vars(slot.optimizer), f"_{slot.name}", table) for slot, table in self._pairs()]
        for slot, table in self._pairs():
            table.owner = self
            slot.set(table)
            if slot.is_rate:
                plain = functools.partial(_plain_config, slot)
                self._undo.enter_context(method_replaced(slot.optimizer, "get_config", plain))
        self._read_back()
        if keras.config.backend() == "jax":
            self._keep_out_of_files([part for each in outer for part in parts_of(each)])
        for groups, table in zip(self.groups, self.tables, strict=False):  # The rates are the first of the tables.
            self._undo.enter_context(groups.followed(table))
        for each in outer:
            if isinstance(each, keras.optimizers.LossScaleOptimizer):
                self._undo.enter_context(count_batches(each, self.tables))
        if getattr(model, "compiled", False):
            self.step = CompiledStep(model, by_hand=self.by_hand)
            self.step.install(self.tables, self.check, self.remove, lambda: self._with_state(True))

    def _pairs(self) -> Iterable[tuple[Slot, RateTable]]:
        return zip(self.slots, self.tables, strict=True)

    @property
    def is_in_step(self) -> bool:
        """Whether the model's train step is being run."""
        return self.step is not None and self.step.is_running

    @property
    def is_over(self) -> bool:
        """Whether it is of a `fit` that was left by an exception, as far as this can be told from within."""
        return not self.by_hand and threading.get_ident() == self._thread and not is_fitting(self._model)

    @property
    def goes_on(self) -> bool:
        """Whether it is of a `fit` that is being run."""
        return bool(self.tables) and not self.by_hand and not self.is_over

    def _read_back(self) -> None:
        """Check that each optimizer's rate is what its table holds."""
        for slot, table in self._pairs():
            for probed in (0.12345, 67.89) if slot.is_rate else ():
                table.show(probed)
                rate = ops.convert_to_numpy(slot.optimizer.learning_rate)
                if rate != np.asarray(probed, rate.dtype):
                    self.remove()
                    raise invalid(
                        "`SGDR` sets the learning rate of the optimizer that makes the updates, as it is.",
                        f"{type(slot.optimizer).__name__}, which takes its rate from elsewhere or changes it",
                        "Pass the optimizer that it leaves the updates to: `SGDR(optimizer=...)`.",
                    )
            table.show(rate_as_written(slot.variable))  # Until the first epoch.

    def _make_state(self, wanted: bool) -> None:
        """On JAX, whether the compiled step is handed the tables, as state: other values are compiled into it."""
        if keras.config.backend() == "jax" and wanted != self._is_state:
            self._is_state = wanted
            for slot, table in self._pairs():
                others = [each for each in slot.optimizer._variables if each is not table.ring]
                slot.optimizer._variables[:] = [*others, table.ring] if wanted else others

    @contextlib.contextmanager
    def _with_state(self, wanted: bool) -> Iterator[None]:
        before = self._is_state
        self._make_state(wanted)
        try:
            yield
        finally:
            self._make_state(before)

    def _keep_out_of_files(self, optimizers: list[Any]) -> None:
        def without_tables(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            with self._with_state(False):
                return method(*args, **kwargs)

        saving = [(each, name) for each in optimizers for name in ("save_own_variables", "load_own_variables")]
        saving += [(self._model, name) for name in ("get_state_tree", "set_state_tree") if hasattr(self._model, name)]
        for each, name in saving:
            hiding = functools.partial(without_tables, getattr(each, name))
            self._undo.enter_context(method_replaced(each, name, hiding))

    def check(self) -> None:
        """Check that nothing else has taken a table's place.

        Raises:
            ValueError: Naming what has.
        """
        for attributes, name, table in self._places:
            if attributes[name] is not table:
                raise _set_by("another callback", table.name, attributes[name])

    def check_own_values(self) -> None:
        """Check that nothing has set the variables that the tables replace, since this was called first.

        Raises:
            ValueError: Naming the value.
        """
        values = [rate_as_written(slot.variable) for slot in self.slots]
        if self._own_values is None:
            self._own_values = values
        for slot, value, before in zip(self.slots, values, self._own_values, strict=True):
            if value != before:
                raise _set_by("another callback", slot.name, value)

    def fill(self, values: Callable[[Slot], Any]) -> None:
        """Put values into the tables."""
        for slot, table in self._pairs():
            table.fill(values(slot))

    def begin_epoch(self, position: int) -> None:
        """Let the next update have the entries at `position`."""
        self._make_state(True)
        for table in self.tables:
            table.place(position)
        self._unread = [
            (slot, table, _made(slot))
            for slot, table in self._pairs()
            if slot.is_rate and ("loop" if self.by_hand else "step") not in table.reads
        ]
        if self.step is not None:
            self.step.begin_epoch()

    def updates(self) -> list[int]:
        """Updates that were counted in the epoch, by table."""
        if hasattr(self._model, "jax_state_sync"):
            self._model.jax_state_sync()  # Between two batches the variables have no values.
        counts: dict[int, int] = {}
        for table in self.tables:
            if id(table.counter) not in counts:
                counts[id(table.counter)] = table.updates()
        return [counts[id(table.counter)] for table in self.tables]

    def end_epoch(self, position: int) -> None:
        """Let the optimizers show the entries at `position` until the next epoch."""
        self._make_state(False)
        for table in self.tables:
            table.hold(position)

    def check_reading(self) -> None:
        """Check that each optimizer that has made updates in the epoch has read its rate.

        Raises:
            ValueError: Naming one that has not.
        """
        reader = "step" if self.step is not None and self.step.batches else "loop"
        for slot, table, before in self._unread:
            if reader not in table.reads and (updates := _made(slot) - before):
                raise invalid(
                    "The training step must read the learning rate that `SGDR` sets.",
                    f"{updates} updates of the optimizer {slot.optimizer.name!r} without it",
                    "Compile a step of your own after `on_train_begin`. Where the optimizer leaves the updates to "
                    "another, pass that one: `SGDR(optimizer=...)`.",
                )

    def remove(self) -> None:
        """Leave the model as it was before `install`, its own compiled step included."""
        if not self.tables:
            return
        self._on_remove()
        if self.step is not None:
            self.step.restore(self.tables)
            self.step = None
        self._make_state(False)
        self._undo.close()
        for slot, table in self._pairs():
            present = slot.present
            slot.set(slot.variable)
            table.detach()
            if present is not table and slot.is_rate:
                # A schedule that was set after `fit` was left by an exception.
                slot.optimizer.learning_rate = present
                self._model.train_function = None
        self.tables, self._places, self._unread = [], [], []

    def refuse(self, name: str, value: Any) -> None:
        """Refuse to let rate or cycle be set in `fit`; after one that was left by an exception, make way for it."""
        calling = calling_list()
        if calling is None and self.is_over:
            self.remove()
            return
        if self.by_hand or threading.get_ident() != self._thread:
            raise invalid(
                "Until `on_train_end()` only `SGDR` sets the learning rate.",
                f"{name}={value} from outside",
                "Call it first, or leave out one of the two.",
            )
        culprit = "the training step" if calling is None else type(calling.get("callback")).__name__
        raise _set_by(culprit, name, value)


def _set_by(culprit: str, name: str, value: Any) -> ValueError:
    rule = f"During `fit` only `SGDR` sets the {name.replace('_', ' ')}."
    return invalid(rule, f"{name}={value} from {culprit}", "Leave out one of the two.")


def _made(slot: Slot) -> int:
    """Updates that an optimizer has made, without those that loss scaling has skipped or that it accumulates for."""
    return int(ops.convert_to_numpy(slot.optimizer._iterations)) // (slot.optimizer.gradient_accumulation_steps or 1)


def _plain_config(slot: Slot) -> dict[str, Any]:
    """The optimizer's configuration, which has its own rate, as outside `fit`."""
    present = slot.present
    slot.set(slot.variable)
    try:
        return dict(type(slot.optimizer).get_config(slot.optimizer))
    finally:
        slot.set(present)
