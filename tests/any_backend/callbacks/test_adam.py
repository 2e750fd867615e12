"""Plain Adam and AdamW: every update is made at the promised rate, and AdamW's decay follows it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_sgdr import WarmRestarts
from tests.support.probe import BACKEND, EPOCHS, EXECUTIONS, STEPS, Array, fit, planned, probe, sgdr
from tests.support.trace import decays, traced, weights

# Without memory `m = g` and `v = g * g`, so where the gradient is 1 a weight moves by the rate, and else not at all.
FORGETFUL = {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 1e-9}


# One each way: `test_rates.py` has them all with SGD.
@pytest.mark.parametrize(
    ("kind", "steps_per_execution", "jit_compile"),
    [(keras.optimizers.Adam, 1, BACKEND == "jax"), (keras.optimizers.AdamW, EXECUTIONS[-1], False)],
)
def test_rates(kind: type, steps_per_execution: int, jit_compile: bool) -> None:
    decay = {"weight_decay": 0.0} if kind is keras.optimizers.AdamW else {}
    optimizer = kind(0.1, **FORGETFUL, **decay)
    model = probe(optimizer, steps=9, steps_per_execution=steps_per_execution, jit_compile=jit_compile)
    np.testing.assert_array_equal(fit(model, sgdr()), planned(steps=9))


def constant_gradient(kind: type, *callbacks: keras.callbacks.Callback) -> Array:
    """How far each update moves a weight whose gradient is always 1."""
    return -np.diff(weights(traced(kind(0.001), EPOCHS * STEPS), *callbacks, epochs=EPOCHS, gradient=1.0))


def test_rates_with_memory() -> None:
    """The means of equal gradients are the gradient, so after bias correction a step is the rate."""
    rates = WarmRestarts(1, 2, 0.001).learning_rates(EPOCHS, STEPS)
    # In float32 `1 - beta_2**t` is known to 5e-5 of itself at first, and a weight near 1 to 6e-8.
    np.testing.assert_allclose(constant_gradient(keras.optimizers.Adam, sgdr()), rates, rtol=5e-5, atol=2e-7)
    # The control: without the callback.
    assert np.abs(constant_gradient(keras.optimizers.Adam) - rates).max() > 9e-4


@pytest.mark.parametrize("steps_per_execution", sorted({1, EXECUTIONS[-1]}))
def test_decay_of_adamw(steps_per_execution: int) -> None:
    model = traced(keras.optimizers.AdamW(0.1, 0.5), EPOCHS * STEPS, steps_per_execution=steps_per_execution)
    found = decays(weights(model, sgdr(), epochs=EPOCHS))
    rates = WarmRestarts(1, 2, 0.1).learning_rates(EPOCHS, STEPS)
    # A weight after an update, and its quotient with the one before, each rounded to float32.
    np.testing.assert_allclose(found, 0.5 * rates, rtol=0, atol=4 * float(np.finfo(np.float32).eps))
