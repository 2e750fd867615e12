"""Any training, drawn at random: the applied rates are those that are reported, or the training has raised an error.

Each case is one `fit` or one loop of a user's own, with or without a second part that goes on where the first has
ended, in any way. The rates that were applied are read from the weights: see `tests.support.probe`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_sgdr import SGDR
from tests.support.probe import BACKEND, RATE, Applied, Array, probe
from tests.support.train_steps import EverySecond, Repeating, custom, moved

# As many as the issue of silent errors asks for, over three backends; the short form in `make test`.
MANY, FEW = 150, 12
# There the same cases each time; new ones at every other run.
IN_CI = bool(os.environ.get("CI"))


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        steps: Batches in an epoch.
        epochs: Epochs.
        initial_epoch: The first that is run.
        execution: Batches in an execution.
        kind: `"plain"`, or of the training step: see `train_steps`.
        told: Whether `SGDR` is told the updates per batch.
        data: How `fit` is given its data, or `"loop"` for a loop of a user's own.
        lacking: Batches that the data lack at the end.
        end: What ends it, and after which batch of which epoch: `"stop"`, `"raise"`, or None.
        at: Where.
        per: As of `SGDR`.
        T_0: As of `SGDR`.
        resumed: Whether another `fit` goes on from the epoch after.
    """

    steps: int
    epochs: int
    initial_epoch: int
    execution: int
    kind: str
    told: bool
    data: str
    lacking: int
    end: str | None
    at: tuple[int, int]
    per: Any
    T_0: Fraction
    resumed: bool

    @property
    def per_batch(self) -> Fraction:
        return {"plain": Fraction(1), "twice": Fraction(2), "half": Fraction(1, 2)}[self.kind]

    @property
    def overruns(self) -> bool:
        """Whether an execution takes batches beyond the end of the epoch, where the data have them."""
        return self.data in ("generator", "steps") and bool(self.steps % self.execution)


@st.composite
def cases(draw: Any) -> Case:
    epochs = draw(st.integers(1, 4))
    steps = draw(st.integers(1, 9))
    return Case(
        steps=steps,
        epochs=epochs,
        initial_epoch=draw(st.integers(0, epochs - 1)),
        execution=1 if BACKEND == "torch" else draw(st.sampled_from([1, 1, 2, 5, 9])),
        kind=draw(st.sampled_from(["plain", "plain", "twice", "half"])),
        told=draw(st.booleans()),
        data=draw(st.sampled_from(["arrays", "generator", "steps", "unknown", "loop"])),
        lacking=draw(st.sampled_from([0, 0, 0, 1, 2, 5])),
        end=draw(st.sampled_from([None, None, "stop", "raise"])),
        at=(draw(st.integers(0, 3)), draw(st.integers(0, 8))),
        per=draw(st.sampled_from(["batch", "batch", "batch", "epoch"])),
        T_0=draw(st.fractions(Fraction(1, 5), 3, max_denominator=5)),
        resumed=draw(st.booleans()),
    )


class End(keras.callbacks.Callback):
    """Ends a training after a batch of an epoch."""

    def __init__(self, how: str | None, at: tuple[int, int]) -> None:
        super().__init__()
        self.how, self.at = how, at

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.epoch == self.at[0] and batch >= self.at[1]:
            if self.how == "raise":
                raise InterruptedError
            if self.how == "stop":
                self.model.stop_training = True


def batches(case: Case, epochs: int) -> Iterator[tuple[Array, Array]]:
    for i in range(max(case.steps * epochs - case.lacking, 1)):
        yield np.full((1, 1), i % case.steps, "float32"), np.ones((1, 1), "float32")


def run(model: Any, case: Case, callbacks: list[Any], first: int) -> None:
    """Train as the case says."""
    epochs = case.epochs
    x = np.arange(case.steps, dtype="float32")[:, None]
    if case.data == "loop":
        every = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=case.steps)
        every.on_train_begin()
        model.stop_training = False
        for epoch in range(first, epochs):
            every.on_epoch_begin(epoch)
            for batch in range(case.steps - (case.lacking if epoch == epochs - 1 else 0)):
                every.on_train_batch_begin(batch)
                model.train_on_batch(x[batch : batch + 1], np.ones((1, 1)))
                every.on_train_batch_end(batch)
                if model.stop_training:
                    break
            every.on_epoch_end(epoch, {})
            if model.stop_training:
                break
        every.on_train_end()
        return
    options: dict[str, Any] = {"epochs": epochs, "initial_epoch": first, "verbose": 0, "callbacks": callbacks}
    options["shuffle"] = False if case.data == "arrays" else None
    if case.data == "arrays":
        model.fit(x, np.ones_like(x), batch_size=1, **options)
    elif case.data == "unknown":
        import tensorflow as tf

        each = tf.data.Dataset.from_tensor_slices((x, np.ones_like(x))).filter(lambda *_: True).batch(1)
        model.fit(each.take(max(case.steps - case.lacking, 1)), **options)
    elif case.data == "steps":
        # As many as there are, of a generator that could go on.
        model.fit(batches(case, epochs + 2), steps_per_epoch=case.steps, **options)
    else:
        model.fit(batches(case, epochs - first), steps_per_epoch=case.steps, **options)


def trained(model: Any, case: Case, first: int) -> tuple[SGDR, Applied, list[int], list[float], Exception | None]:
    """The callback, what was applied, the number of updates at each epoch's end, what was logged, and the error."""
    callback = SGDR(
        case.T_0,
        2,
        per=case.per,
        steps_per_epoch=case.steps if case.data == "unknown" else None,
        updates_per_batch=case.per_batch if case.told else 1,
    )
    applied, history, lengths = Applied(), keras.callbacks.History(), []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: lengths.append(len(callback.rates)))
    error = None
    try:
        run(model, case, [applied, history, callback, count, End(case.end, case.at)], first)
    except (ValueError, InterruptedError) as raised:
        error = raised
    applied.read()
    return callback, applied, lengths, history.history.get("learning_rate", []), error


def check(case: Case) -> bool:
    """Whether the training went through; what it applied is what it reports in either case."""
    kinds = {"twice": Repeating, "half": EverySecond}
    compiling: dict[str, Any] = {"steps_per_execution": case.execution}
    if case.kind == "plain":
        model = probe(steps=case.steps, **compiling)
    else:
        model = custom(kinds[case.kind], steps=case.steps, **compiling)
    first, outcomes = case.initial_epoch, []
    for _ in range(2 if case.resumed else 1):
        if first >= case.epochs:
            break
        callback, applied, lengths, logged, error = trained(model, case, first)
        outcomes.append(error)
        if error is not None and not isinstance(error, InterruptedError):
            assert str(error).count("Received: ") == 1, error
            first = max(applied.epochs, default=first - 1) + 1
            continue
        # After an epoch without data Keras on JAX puts back the weights of the epoch before.
        put_back = BACKEND == "jax" and not np.all(np.diff([0, *lengths]))
        if case.overruns:
            # A weight is moved by several batches of an epoch.
            if not put_back:
                np.testing.assert_allclose(applied.rates.sum(), callback.rates.sum(), rtol=1e-5)
            first = max(applied.epochs) + 1
            continue
        # Epoch by epoch: what each batch has moved, and what the callback says of the same updates.
        rates, told = callback.rates, case.per_batch if case.told else Fraction(1)
        ends = [0, *lengths, *([len(rates)] if len(lengths) < len(applied.epochs) else [])]
        for (epoch, weights), start, stop in zip(applied.epochs.items(), ends, ends[1:], strict=False):
            mine, row = rates[start:stop], np.zeros(case.steps, "float32")
            grid = callback.schedule.learning_rates(epoch + 1, case.steps * 2, epoch).astype("float32")
            stride = 2 / told if case.per == "batch" else 0
            np.testing.assert_array_equal(mine, [grid[int(k * stride)] for k in range(len(mine))])
            if epoch - first < len(logged) and len(mine):
                assert logged[epoch - first] == float(mine[-1])
            if case.kind == "twice":
                n = len(mine) // 2
                row[:n] = moved(np.resize(mine, 2 * case.steps), case.steps, Fraction(2))[:n]
            elif case.kind == "half":
                row[1::2][: len(mine)] = mine
            else:
                row[: len(mine)] = mine
            if len(mine) or not put_back:
                np.testing.assert_array_equal(weights, row)
        assert ends[-1] == len(rates)
        first = max(applied.epochs, default=first - 1) + 1
    # Afterwards the optimizer has its own rate again.
    if outcomes and outcomes[-1] is None:
        assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == np.float32(RATE)
    return all(error is None for error in outcomes)


def hostile(case: Case) -> None:
    with warnings.catch_warnings():
        for message in (".*mid-cycle", "Your input ran out of data"):
            warnings.filterwarnings("ignore", message, UserWarning)
        check(case)


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(cases())
@settings(max_examples=FEW, deadline=None, suppress_health_check=QUIET, derandomize=True, database=None)
def test_a_few(case: Case) -> None:
    hostile(case)


@pytest.mark.slow
@given(cases())
@settings(max_examples=MANY, deadline=None, suppress_health_check=QUIET, derandomize=IN_CI, database=None)
def test_many(case: Case) -> None:
    hostile(case)


def test_the_check_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a callback that reports the rates of one update later is found out."""
    case = Case(4, 2, 0, 1, "plain", False, "arrays", 0, None, (0, 0), "batch", Fraction(2), False)
    assert check(case)
    rates: Any = vars(SGDR)["rates"].fget
    monkeypatch.setattr(SGDR, "rates", property(lambda self: np.roll(rates(self), 1)))
    with pytest.raises(AssertionError):
        check(case)
