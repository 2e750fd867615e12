"""The compiled train step that holds the tables: built when they are installed, kept for the next `fit`, and counted.

It is kept on the step that Keras itself had compiled: as long as Keras holds that to be valid, and no longer, ours is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from keras_sgdr._checks import invalid
from keras_sgdr._executions import build_metrics, one_call_an_execution
from keras_sgdr._model_state import method_replaced
from keras_sgdr.callbacks.fit_context import fits_of, is_fitting
from keras_sgdr.callbacks.step.rate_table import RateTable

__all__ = ["CompiledStep", "count_batches"]

_KEPT = "_keras_sgdr_kept"


class _Kept(NamedTuple):
    tables: list[RateTable]
    step: Any


class CompiledStep:
    """A model's train step during one training, in place of its own.

    Args:
        model: The model.
        by_hand: Whether the training is no `fit`, but a loop of the user's.

    Attributes:
        is_running: Whether a step is being run.
        batches: Batches since `begin_epoch`. Where the last execution was of several, it may have found fewer.
        last: Batches of the last execution, at most.
        ran_out: Whether an execution since `begin_epoch` was left by an exception, as where it finds no more data.
    """

    def __init__(self, model: Any, *, by_hand: bool) -> None:
        self._model = model
        self._by_hand = by_hand
        if model.train_function is None:
            model.make_train_function()  # In a loop of the user's: it is compiled at the first batch only.
        self._own = model.train_function
        self._kept: _Kept | None = getattr(self._own, _KEPT, None)
        self.is_running = False
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Count from here."""
        self.batches = self.last = 0
        self.ran_out = False

    def install(
        self,
        tables: list[RateTable],
        before: Callable[[], None],
        on_other_fit: Callable[[], None],
        building: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Let the model train with the tables that its optimizers now hold.

        Args:
            tables: The tables.
            before: Called before each execution.
            on_other_fit: Called when another training begins before `restore`: one that an exception has ended, of
                which Keras tells no callback.
            building: What a step is built in.
        """
        model = self._model
        self._tables, self._before, self._building = tables, before, building
        self._make_train_function = model.make_train_function

        def make_train_function(force: bool = False) -> None:
            # `fit` calls this, without force, before it calls any callback; `train_on_batch` does at each batch.
            batch = sys._getframe(1).f_code.co_name == "train_on_batch"
            if force:
                self._build()
            elif not batch and fits_of(model) > 1:
                raise invalid(
                    "A model can be trained by one `fit` at a time where that is under `SGDR`.",
                    f"a `fit` of {model.name!r} within another",
                    "Train a copy, `keras.models.clone_model(model)`, or call `train_on_batch`.",
                )
            elif not batch or not (self._by_hand or is_fitting(model)):
                on_other_fit()
                model.make_train_function()

        model.make_train_function = make_train_function
        if self._kept is not None and list(map(id, self._kept.tables)) == list(map(id, tables)):
            self._count(self._kept.step)
        else:
            self._build()

    def _build(self) -> None:
        """Let the step be compiled anew at the next batch."""
        model = self._model
        for table in self._tables:
            table.reads.discard("step")
        step = model.train_step
        # A function of its own: JAX takes the compiled steps of equal methods, such as that of before a `compile`, for
        # one another.
        own_step = method_replaced(model, "train_step", lambda *args: step(*args))
        with own_step, one_call_an_execution(model), self._building():
            self._make_train_function(force=True)
        self._count(model.train_function)

    def _count(self, step: Any) -> None:
        """Let the model use the step, and count its batches."""
        model, before = self._model, self._before

        def counted(*args: Any) -> Any:
            before()
            if self.batches == 0 and args:
                # TensorFlow's iterators tell what the batch is that the step is about to take.
                batch = getattr(args[-1], "element_spec", None)
                if isinstance(batch, tuple) and len(batch) > 1:
                    build_metrics(model, batch[1])
            self.is_running = True
            try:
                outputs = step(*args)
            except BaseException:
                self.ran_out = True
                raise
            finally:
                self.is_running = False
            # Outside `fit` it was `train_on_batch`.
            self.last = 1 if self._by_hand else model.steps_per_execution
            self.batches += self.last
            return outputs

        self._step = step
        model.train_function = counted

    def restore(self, tables: list[RateTable]) -> None:
        """Give the model its own step back, and keep this one with its tables."""
        # None where the model was compiled anew, after `fit` was left by an exception.
        if self._model.train_function is not None:
            setattr(self._own, _KEPT, _Kept(tables, self._step))
            self._model.train_function = self._own
        del self._model.make_train_function


@contextmanager
def count_batches(scaler: Any, tables: Sequence[RateTable]) -> Iterator[None]:
    """Let a `LossScaleOptimizer` count all batches, skipped ones too, in its own iteration counter, else unused."""
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

    applying = method_replaced(scaler, "apply", counting_apply)
    with applying, method_replaced(scaler, "stateless_apply", counting_stateless_apply):
        yield
    # What it always is outside `fit`; it may have been read from a file that was saved during another one.
    counter.assign(0)
