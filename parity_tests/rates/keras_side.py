"""Keras's rates and optimizer paths, on the backend of the process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_sgdr import SGDR, SGDRSchedule, WarmRestarts
from keras_sgdr.optimizers import AdamWR, PyTorchSGD
from parity_tests.processes import Arrays
from parity_tests.rates.cases import BEYOND_INTEGERS, FIT_CASES, RATE_CASES
from parity_tests.rates.optimizers import ADAMWR_CASES, CASES, CYCLE_UPDATES, RATES, START, gradient
from tests.support.probe import Applied, data, probe

__all__ = ["arrays", "vectorised"]

Array = NDArray[Any]


def arrays(config: None) -> Arrays:
    """The rate of every update of a case, and the weights before the first update of a path and after each.

    "array/CASE" is `WarmRestarts.learning_rates` in float64, computed on TensorFlow alone, since NumPy does it all;
    "schedule/CASE" a compiled `SGDRSchedule`, and "fit/CASE" what the `SGDR` callback let `fit` apply, in float32.
    "pytorch/CASE", "keras/CASE" and "adamwr/CASE" are the paths of `PyTorchSGD`, of Keras's SGD and of our AdamWR.
    """
    del config
    cases = RATE_CASES + BEYOND_INTEGERS
    updates = [np.arange(case.updates) for case in cases]
    schedules = [
        SGDRSchedule(eta_max=case.eta_max, steps_per_epoch=case.steps_per_epoch, **case.settings) for case in cases
    ]
    rates = vectorised(schedules, updates)
    results = {f"schedule/{case.name}": array for case, array in zip(cases, rates, strict=True)}
    if keras.config.backend() == "tensorflow":
        for case in cases:
            restarts = WarmRestarts(eta_max=case.eta_max, **case.settings)
            results[f"array/{case.name}"] = restarts.learning_rates(case.epochs, case.steps_per_epoch)
    results |= applied_by_fit()
    # Only now: users' rates are computed without.
    if keras.config.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    forms: dict[str, Any] = {"pytorch": PyTorchSGD, "keras": keras.optimizers.SGD}
    results |= {f"{form}/{case}": path(forms[form], CASES[case]) for form in forms for case in CASES}
    return results | {f"adamwr/{case}": path(AdamWR, settings) for case, settings in ADAMWR_CASES.items()}


def applied_by_fit() -> Arrays:
    """The rates of `FIT_CASES`: of one model, the longest case first, so that TensorFlow keeps its compiled step."""
    model = probe(steps=max(case.steps_per_epoch for case in FIT_CASES))
    rates = {}
    for case in sorted(FIT_CASES, key=lambda case: case.updates, reverse=True):
        model.optimizer.learning_rate = case.eta_max
        applied = Applied()
        x, y = data(case.steps_per_epoch)
        callbacks = [SGDR(**case.settings), applied]
        model.fit(x, y, batch_size=1, epochs=case.epochs, shuffle=False, verbose=0, callbacks=callbacks)
        weights = list(applied.epochs.values())
        rates[f"fit/{case.name}"] = np.concatenate([epoch[: case.steps_per_epoch] for epoch in weights])
    return rates


def vectorised(schedules: Sequence[Any], updates: Sequence[Array]) -> list[Array]:
    """Each of some Keras schedules at all of its updates in one call, compiled where the backend compiles."""
    match keras.config.backend():
        case "tensorflow":
            import tensorflow as tf

            def compiled(schedule: Any) -> Any:
                return tf.function(lambda k: tf.vectorized_map(schedule, k, fallback_to_while_loop=False))

            rates = [compiled(schedule)(tf.constant(k)) for schedule, k in zip(schedules, updates, strict=True)]
        case "jax":
            import jax

            # One program, which takes half the time to compile of one for each.
            compute = jax.jit(lambda updates: [jax.vmap(s)(k) for s, k in zip(schedules, updates, strict=True)])
            rates = compute(list(updates))
        case _:
            import torch

            rates = [torch.vmap(s)(torch.from_numpy(k)) for s, k in zip(schedules, updates, strict=True)]
    return [np.asarray(array) for array in rates]


def path(optimizer_class: Any, settings: dict[str, Any]) -> Array:
    """The weights, shape (updates + 1, 2, 3)."""
    variable = keras.Variable(START, dtype="float64")
    optimizer = optimizer_class(RATES[0], **settings)
    weights = [START]
    for rate, updates in zip(RATES, CYCLE_UPDATES, strict=True):
        optimizer.learning_rate = rate
        if hasattr(optimizer, "cycle_updates"):
            optimizer.cycle_updates = updates
        optimizer.apply([keras.ops.convert_to_tensor(gradient(weights[-1]), "float64")], [variable])
        weights.append(np.array(keras.ops.convert_to_numpy(variable)))
    return np.stack(weights)
