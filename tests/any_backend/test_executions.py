"""Executions of several batches as one call on JAX: the same training as batch by batch, in fewer calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import _executions
from keras_sgdr.callbacks.step import compiled_step
from tests.support.probe import BACKEND, fit, planned, probe, sgdr

pytestmark = pytest.mark.skipif(BACKEND != "jax", reason="Of JAX.")


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Lets the tests' processor scan, as an accelerator does; collects the batches of each scan that is run."""
    import jax

    lengths: list[int] = []
    scan = jax.lax.scan

    def counted(step: Any, state: Any, batches: Any, *args: Any, **kwargs: Any) -> Any:
        length = len(jax.tree.leaves(batches)[0])
        jax.debug.callback(lambda: lengths.append(length))
        return scan(step, state, batches, *args, **kwargs)

    monkeypatch.setattr(jax.lax, "scan", counted)

    def on_accelerator(model: Any) -> Any:
        return nullcontext() if model.steps_per_execution == 1 else _executions.scanning(model)

    monkeypatch.setattr(compiled_step, "one_call_an_execution", on_accelerator)
    yield lengths
    jax.effects_barrier()


@pytest.mark.parametrize(
    ("steps_per_execution", "expected"), [(9, [9]), (3, [3, 3, 3]), (4, [4, 4]), (20, [])], ids=str
)
def test_rates_and_calls(scans: list[int], steps_per_execution: int, expected: list[int]) -> None:
    """What an epoch leaves over is run batch by batch."""
    import jax

    model = probe(steps=9, steps_per_execution=steps_per_execution)
    np.testing.assert_array_equal(fit(model, sgdr()), planned(steps=9))
    jax.effects_barrier()
    assert scans == 3 * expected


def trained(steps_per_execution: int) -> tuple[list[Any], Any]:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 5)).astype("float32"), random.integers(0, 3, 30)
    history = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[sgdr()])
    return model.get_weights(), history.history


def test_the_same_training(scans: list[int]) -> None:
    """Weights, dropout and metrics; the last of the eight batches is smaller."""
    import jax

    (weights, history), (weights_of_scans, history_of_scans) = trained(1), trained(4)
    jax.effects_barrier()
    assert scans == [4, 4, 4]
    for one, other in zip(weights, weights_of_scans, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    for name, values in history.items():
        np.testing.assert_allclose(history_of_scans[name], values, rtol=1e-5)


def test_large_batches_are_not_gathered(scans: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    monkeypatch.setattr(_executions, "MOST_BYTES", 1)
    model = probe(steps=9, steps_per_execution=9)
    np.testing.assert_array_equal(fit(model, sgdr()), planned(steps=9))
    jax.effects_barrier()
    assert scans == []


def test_a_processor_goes_batch_by_batch() -> None:
    """XLA's loops are slow there."""
    model = probe(steps_per_execution=7)
    with _executions.one_call_an_execution(model):
        assert "_make_function" not in vars(model)
    with _executions.scanning(model):
        assert "_make_function" in vars(model)
