"""What there is on JAX alone: compilations, and state that is spread over devices."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest

from tests.support.probe import BACKEND, data, fit, planned, probe, sgdr

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BACKEND != "jax", reason="Of JAX.")]


def test_compilations_of_a_resnet50() -> None:
    """Over three `fit` as many as without the callback: one."""
    import jax

    from keras_sgdr.models import resnet

    counts = []
    for callbacks in ([], [sgdr()]):
        model = resnet(50, classes=2, input_shape=(32, 32, 3))
        model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss="sparse_categorical_crossentropy")
        compiled: list[str] = []

        def count(event: str, *_: Any, compiled: list[str] = compiled, **__: Any) -> None:
            if event == "/jax/core/compile/backend_compile_duration":
                compiled.append(event)

        x, y = np.zeros((4, 32, 32, 3), "float32"), np.array([0, 1, 0, 1])
        per_fit = []
        jax.monitoring.register_event_duration_secs_listener(count)
        for _ in range(3):
            before = len(compiled)
            model.fit(x, y, batch_size=2, epochs=3, verbose=0, callbacks=callbacks)
            per_fit.append(len(compiled) - before)
        counts.append(per_fit)
    assert counts[1][1:] == counts[0][1:] == [0, 0]
    # In the first, small programs too, such as those that fill a table.
    assert counts[1][0] - counts[0][0] <= 10, counts


def distributed() -> None:
    """What the process of the test below does."""
    import jax

    assert len(jax.devices()) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    # Keras divides each batch among the devices.
    batches: Any = tuple(np.repeat(part, 4, axis=0) for part in data())
    model = probe()
    for _ in range(2):
        np.testing.assert_array_equal(fit(model, sgdr(), batches=batches, batch_size=4), planned())


def test_data_parallel() -> None:
    code = f"from {__name__} import distributed; distributed()"
    devices = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, env={**os.environ, **devices}, timeout=300, check=True)
