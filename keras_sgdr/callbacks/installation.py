"""Putting a `FitRate` into a model's optimizers for the length of one `fit`, and taking it out whatever happens.

Keras has no public way back from a schedule to a float rate, and `optimizer.learning_rate = schedule` drops the
rate's variable from the optimizer's state. So the private attribute behind that property is pointed elsewhere and
back, and the variable stays where it is: files saved before, during and after `fit` have one layout.

On TensorFlow the step that was compiled with the tables is kept for the next `fit`, on Keras's own compiled step: as
long as Keras holds that to be valid, and no longer, ours is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras

from keras_sgdr.arguments import FloatArray
from keras_sgdr.callbacks.surroundings import calling_list, is_fitting
from keras_sgdr.schedules import FitRate, own_rate

__all__ = ["Installation"]

_KEPT = "_keras_sgdr_kept"


class _Kept(NamedTuple):
    """A compiled step and the tables in it."""

    rates: list[FitRate]
    cycles: list[FitRate | None]
    step: Any

    def fits(self, outermost: Any, optimizers: Sequence[Any], size: int, counts_batches: bool) -> bool:
        """Whether these optimizers' step would be compiled to the same, but for a shorter table."""
        return len(self.rates) == len(optimizers) and all(
            rate.own is optimizer._learning_rate
            and rate.counter is outermost._iterations
            and rate.counts_batches == counts_batches
            and rate.size >= size
            for rate, optimizer in zip(self.rates, optimizers, strict=True)
        )


class Installation:
    """The learning rates of one model's optimizers, and their replacement during `fit`.

    Making one changes nothing.

    Args:
        model: A compiled model.

    Attributes:
        own_rates: The optimizers' own learning rates.
        follow_cycles: Whether each optimizer is also to know the updates of the present cycle, as `AdamWR` is.

    Raises:
        ValueError: If the model is not compiled, its optimizers cannot be known yet, or one of them has no learning
            rate of its own that is a float.
    """

    def __init__(self, model: Any) -> None:
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                "`SGDR` sets the learning rate of the model's optimizer, so the model must be compiled. "
                f"Received: model={getattr(model, 'name', model)!r} without an optimizer. Call `model.compile(...)`."
            )
        self._model = model
        self._optimizers = list(_optimizers_of(model))
        if not self._optimizers:
            raise ValueError(
                "`SGDR` must find the optimizers that a `MultiOptimizer` chooses by a function, which it does once the "
                f"model is built. Received: model={model.name!r}, not built. Begin it with a `keras.Input`, or call "
                "`model.build(...)`."
            )
        for optimizer in self._optimizers:
            rate = getattr(optimizer, "_learning_rate", None)
            if not isinstance(rate, keras.Variable):
                raise ValueError(
                    "`SGDR` needs an optimizer whose learning rate is a float, which it replaces during `fit`. "
                    f"Received: {type(optimizer).__name__} with learning_rate={rate!r}. Compile with a float, such as "
                    "`keras.optimizers.SGD(0.1)`."
                )
        self.own_rates = [own_rate(optimizer._learning_rate) for optimizer in self._optimizers]
        self.follow_cycles = [hasattr(optimizer, "cycle_updates") for optimizer in self._optimizers]
        self._rates: list[FitRate] = []
        self._cycles: list[FitRate | None] = []

    def install(self, size: int, *, counts_batches: bool) -> None:
        """Replace the learning rates by tables of `size` rates (see `FitRate`), and the updates of the cycle so too."""
        # JAX compiles the tables in, so nothing can be kept; and while an old step lives, it takes a new one for it.
        self._own_step = self._model.train_function if keras.config.backend() == "tensorflow" else None
        kept: _Kept | None = getattr(self._own_step, _KEPT, None)
        if kept is not None and kept.fits(self._model.optimizer, self._optimizers, size, counts_batches):
            self._rates, self._cycles = kept.rates, kept.cycles
        else:
            kept = None
            self._make_tables(size, counts_batches)
        for table in self._tables:
            table.refuse = self._refuse
        for optimizer, rate, cycle in zip(self._optimizers, self._rates, self._cycles, strict=True):
            optimizer._learning_rate = rate
            if cycle is not None:
                optimizer._cycle_updates = cycle
        scaler = self._model.optimizer if hasattr(self._model.optimizer, "inner_optimizer") else None
        self._undo_counting = count_batches(scaler, self._tables) if scaler is not None else None
        self._make_train_function = self._model.make_train_function
        self._model.make_train_function = self._on_make_train_function
        if kept is None:
            self._rebuild()
        else:
            self._model.train_function = kept.step

    def _make_tables(self, size: int, counts_batches: bool) -> None:
        outermost = self._model.optimizer  # It counts the batches that one inside has no part in.
        strategy = getattr(self._model, "distribute_strategy", None)

        def table(name: str, own: Any) -> FitRate:
            return FitRate(name, own, outermost._iterations, size, counts_batches=counts_batches)

        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            if self._model.built and not outermost.built:
                # TensorFlow traces a step twice that creates variables.
                outermost.build(self._model.trainable_variables)
            self._rates = [table("learning_rate", optimizer._learning_rate) for optimizer in self._optimizers]
            self._cycles = [
                table("cycle_updates", optimizer._cycle_updates) if follows else None
                for optimizer, follows in zip(self._optimizers, self.follow_cycles, strict=True)
            ]

    @property
    def _tables(self) -> list[FitRate]:
        return [*self._rates, *(cycle for cycle in self._cycles if cycle is not None)]

    def fill(self, tables: Sequence[FloatArray], batches_of_cycles: Sequence[FloatArray | None]) -> None:
        """Put rates into the tables, one an optimizer, and the batches of each one's cycle for those that follow."""
        for rate, table in zip(self._rates, tables, strict=True):
            rate.fill(table)
        for optimizer, cycle, batches in zip(self._optimizers, self._cycles, batches_of_cycles, strict=True):
            if cycle is not None and batches is not None:
                cycle.fill(batches / (optimizer.gradient_accumulation_steps or 1))

    def place(self, position: int) -> None:
        """Let the next batch have the rates at `position` of the tables."""
        moved = [table.place(position) for table in self._tables]
        # Elsewhere the compiled step reads table and position from variables; JAX has compiled them in.
        if any(moved) and keras.config.backend() == "jax":
            self._rebuild()

    def rest(self, end: int) -> tuple[int, list[tuple[str, float]]]:
        """After an epoch: the position reached, `end` at most; name of each optimizer, and its last batch's rate."""
        rests = [table.rest(end) for table in self._tables][: len(self._rates)]
        names = [optimizer.name for optimizer in self._optimizers]
        return rests[0][0], [(name, last) for name, (_, last) in zip(names, rests, strict=True)]

    def remove(self) -> None:
        """Leave the model as it was before `install`, its own compiled step included."""
        if not self._rates:
            return
        # None where the model was compiled anew, after `fit` was left by an exception.
        if self._model.train_function is not None:
            if self._own_step is not None:
                setattr(self._own_step, _KEPT, _Kept(self._rates, self._cycles, self._model.train_function))
            self._model.train_function = self._own_step
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            present, optimizer._learning_rate = optimizer._learning_rate, rate.own
            if present is not rate:
                # A schedule that was set after `fit` was left by an exception.
                optimizer.learning_rate = present
                self._model.train_function = None
        for optimizer, cycle in zip(self._optimizers, self._cycles, strict=True):
            if cycle is not None:
                optimizer._cycle_updates = cycle.own
        self._rates, self._cycles = [], []
        if self._undo_counting is not None:
            self._undo_counting()
        del self._model.make_train_function

    def _rebuild(self) -> None:
        self._make_train_function(force=True)

    def _on_make_train_function(self, force: bool = False) -> None:
        # `fit` makes the train function, without force, before it calls any callback. So this is another training, and
        # the one before was left by an exception, which Keras tells no callback of.
        if not force:
            self.remove()
            self._model.make_train_function()
        else:
            self._rebuild()

    def _refuse(self, name: str, value: float) -> None:
        """Refuse to let rate or cycle be set in `fit`; after one that was left by an exception, make way for it."""
        calling = calling_list()
        if calling is None and not is_fitting(self._model):
            self.remove()
            return
        culprit = "the training step" if calling is None else type(calling.get("callback")).__name__
        raise ValueError(
            f"During `fit` only `SGDR` sets the {name.replace('_', ' ')}. Received: {name}={value} from {culprit}. "
            "Leave out one of the two."
        )


def _optimizers_of(model: Any) -> Iterator[Any]:
    """The optimizers that hold a learning rate: inside loss scaling, and each of a `MultiOptimizer`'s."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not hasattr(optimizer, "optimizers"):
        yield optimizer
        return
    if not optimizer.built and model.built:
        # One that chooses by a function knows its optimizers only once it is built.
        model.optimizer.build(model.trainable_variables)
    yield from optimizer.optimizers


def count_batches(scaler: Any, tables: Sequence[FitRate]) -> Callable[[], None]:
    """Let a `LossScaleOptimizer` count batches, those whose step it skips too, in its own idle iteration counter.

    Returns what undoes it.
    """
    counter = scaler._iterations
    apply, stateless_apply = scaler.apply, scaler.stateless_apply

    def counting_apply(grads: Any, trainable_variables: Any = None) -> None:
        apply(grads, trainable_variables)
        counter.assign_add(1)

    def counting_stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        place = next(i for i, variable in enumerate(scaler.variables) if variable is counter)
        count = optimizer_variables[place]
        for table in tables:
            # The inner optimizer's state holds no counter of batches, so the value itself is handed on.
            table.count = count
        try:
            trainable_variables, optimizer_variables = stateless_apply(optimizer_variables, grads, trainable_variables)
        finally:
            for table in tables:
                table.count = None
        optimizer_variables = list(optimizer_variables)
        optimizer_variables[place] = count + 1
        return trainable_variables, optimizer_variables

    def undo() -> None:
        del scaler.apply, scaler.stateless_apply
        # Idle again, at what it always is; it may have been read from a file that was saved during another `fit`.
        counter.assign(0)

    scaler.apply, scaler.stateless_apply = counting_apply, counting_stateless_apply
    return undo
