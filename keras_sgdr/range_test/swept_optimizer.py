"""Copies in place of a model's optimizers for a while: one at rates that are set, the others as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_sgdr._checks import invalid
from keras_sgdr._model_state import optimizers_held, optimizers_in, value_of, variables_restored
from keras_sgdr.callbacks.step.groups import Multipliers, RateGroups, groups_of
from keras_sgdr.callbacks.step.rate_table import RateOfGroups
from keras_sgdr.callbacks.step.slots import Slot, is_complete
from keras_sgdr.range_test.copies import Copies, within
from keras_sgdr.schedules.exact import FloatArray, check_precision

__all__ = ["SweptOptimizer", "optimizers_replaced"]


class SweptOptimizer:
    """The copy of an optimizer whose learning rate is swept, and of those that it holds and delegates to.

    Which of them makes the updates, and at whose rate, only a wrapper itself knows. So all are set, and all must keep
    what they are set to.

    Args:
        copy: The copy.
        others: The copies of the model's other optimizers, by where the model holds them.
    """

    def __init__(self, copy: Any, others: dict[str, Any]) -> None:
        self._optimizers = [*within(copy), copy]  # From the innermost on.
        self._others = others
        self._counts = {id(each): _count(each) for each in (*self._optimizers, *others.values())}

    def set(self, rate: float) -> None:
        """Let the next update be made at a rate."""
        for optimizer in self._optimizers:
            # A property may only read the rate of the one inside; a schedule is refused below.
            with contextlib.suppress(AttributeError, TypeError):
                optimizer.learning_rate = rate
        self.check_rate(rate)

    def check_rate(self, rate: float) -> None:
        """Raise a `ValueError` unless an optimizer reads the rate that was set."""
        for optimizer in self._optimizers:
            if not hasattr(optimizer, "learning_rate"):
                continue  # A `MultiOptimizer`, and loss scaling around one.
            applied = keras.ops.convert_to_numpy(optimizer.learning_rate)
            rule = "An optimizer must keep the learning rate that `find_learning_rate` sets for an update."
            received = f"{type(optimizer).__name__} with learning_rate={applied}, set to {rate}"
            if applied != np.asarray(rate, applied.dtype):
                fix = "Let its `learning_rate` be that of the optimizer inside, and the training step set none."
                raise invalid(rule, received, fix)

    def check_updates(self, batches: int) -> None:
        """Raise a `ValueError` if the optimizer has made no update."""
        if any(map(self._has_moved, self._optimizers)):
            return
        optimizer = self._optimizers[-1]
        active = [f"optimizer={place}" for place, other in self._others.items() if self._has_moved(other)]
        raise invalid(
            "`find_learning_rate` must sweep the rate of an optimizer that trains the model.",
            f"{type(optimizer).__name__} {optimizer.name!r}, which made no update in {batches} batches",
            f"Pass {' or '.join(active) or '`optimizer`, one that the training step uses'}.",
        )

    def _has_moved(self, optimizer: Any) -> bool:
        return _count(optimizer) != self._counts[id(optimizer)]


class _GroupRates(RateOfGroups):
    """In place of the learning rate of a copy: for each group of its variables what is set, times its multiplier."""

    def __init__(self, optimizer: Any, groups: RateGroups) -> None:
        super().__init__(optimizer._learning_rate, groups.shape)
        # One of the optimizer's: JAX compiles the values of all others into the step.
        shape = (len(groups.shape.multipliers),)
        self._rates = optimizer.add_variable(shape, dtype=self.variable.dtype, name="rates")

    def __call__(self) -> Any:
        return keras.ops.convert_to_tensor(self._rates)[self._row]

    def assign(self, rate: float) -> None:
        """Called by `optimizer.learning_rate = rate`."""
        self._rates.assign(self.multiples(np.asarray(rate)))


@contextlib.contextmanager
def optimizers_replaced(
    model: Any, optimizer: Any, rates: FloatArray, multipliers: Multipliers | None
) -> Iterator[SweptOptimizer]:
    """Let the model train with copies of its optimizers, then put back its own, and all variables.

    Args:
        model: A built model.
        optimizer: Which of its optimizers is to be swept; None for `model.optimizer`.
        rates: Of the sweep.
        multipliers: Of the rates of groups of variables.

    Raises:
        ValueError: If the model is not compiled, does not hold the optimizer, or one cannot be copied or has no such
            rates or groups.
    """
    if optimizer is None and getattr(model, "optimizer", None) is None:
        raise invalid(
            "`find_learning_rate` trains the model, so it must be compiled.",
            f"model={getattr(model, 'name', model)!r} without an optimizer",
            "Call `model.compile(...)`.",
        )
    # An `SGDR` that an exception in `fit` has left in the model leaves it here: see `callbacks/step/optimizer_swap.py`.
    model.make_train_function()
    swept = model.optimizer if optimizer is None else optimizer
    attributes = [(owner, name, value) for owner in _models(model) for name, value in optimizers_held(owner).items()]
    originals = {
        place: each
        for owner, name, value in attributes
        for place, each in optimizers_in(value, f"{'model' if owner is model else owner.name}.{name}")
    }
    if not any(each is swept for original in originals.values() for each in (original, *within(original))):
        raise invalid(
            "`optimizer` must be one that the model holds: its own, or in an attribute.",
            f"{type(swept).__name__}, with a model that holds {', '.join(originals) or 'none'}",
            "Pass the very object, such as optimizer=model.generator_optimizer.",
        )
    copies = Copies()
    strategy = getattr(model, "distribute_strategy", None)
    with contextlib.ExitStack() as stack:
        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            copy = copies.of(swept, float(rates[0]))  # First: what it holds is swept too.
            for each in originals.values():
                copies.of(each)
            copies.take_states(model)
            if swept is getattr(model, "optimizer", None) and not copy.built and is_complete(model):
                copy.build(model.trainable_variables)
            _set_up(copy, model, rates, multipliers, stack)
        others = {place: copies.of(each) for place, each in originals.items() if each is not swept}
        # The originals' variables too: after a moving average has been put into the weights they share arrays on JAX,
        # which the compiled step frees.
        variables = [variable for original, _ in copies.pairs.values() for variable in original.variables]
        stack.enter_context(variables_restored(model, *model.metrics_variables, *variables))
        try:
            for owner, name, value in attributes:
                vars(owner)[name] = copies.put_into(value)
            model.train_function = None
            yield SweptOptimizer(copy, others)
        finally:
            for owner, name, value in attributes:
                vars(owner)[name] = value
            model.train_function = None
            model.reset_metrics()  # Those too that training has created.


def _set_up(
    copy: Any, model: Any, rates: FloatArray, multipliers: Multipliers | None, stack: contextlib.ExitStack
) -> None:
    """Require that the rates can be set, and let groups of variables have theirs."""
    optimizers = [*within(copy), copy]
    if not any(hasattr(each, "learning_rate") for each in optimizers):
        raise invalid(
            "`find_learning_rate` must find the optimizers that a `MultiOptimizer` chooses by a function, which it "
            "does once it is built.",
            f"{copy.name!r}, not built",
            "Begin the model with a `keras.Input`, or call the optimizer's `build(...)`.",
        )
    slots = [
        Slot(each, copy, number, "learning_rate", each._learning_rate)
        for number, each in enumerate(optimizers)
        if isinstance(each._learning_rate, keras.Variable)
    ]
    groups = [None] * len(slots) if multipliers is None else groups_of(multipliers, slots, model)
    for slot, of_slot in zip(slots, groups, strict=True):
        for multiplier in of_slot.shape.multipliers if of_slot else (1.0,):
            check_precision(multiplier * rates, keras.backend.standardize_dtype(slot.variable.dtype))
        if of_slot:
            group_rates = _GroupRates(slot.optimizer, of_slot)
            slot.set(group_rates)
            stack.enter_context(of_slot.followed(group_rates))


def _count(optimizer: Any) -> int:
    """Its calls, updates or batches of an accumulation, whatever it says of its `iterations`."""
    return int(value_of(optimizer._iterations))


def _models(model: Any) -> Iterator[Any]:
    """The model and all models within it."""
    yield model
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, keras.Model):
            yield from _models(layer)
