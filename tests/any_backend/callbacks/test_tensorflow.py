"""What there is on TensorFlow alone: distribution, and `tf.keras`."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from keras_sgdr import WarmRestarts
from tests.support.probe import EPOCHS, RATE, STEPS, Array, Probe, data, gradient_is_target, planned, sgdr

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    path = tmp_path_factory.mktemp("mirrored") / "applied.npz"
    subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.support.mirrored", str(path)], check=True, timeout=300)
    with np.load(path) as applied:
        assert applied["replicas"] == 2
        return dict(applied)


@pytest.mark.slow
class TestMirroredStrategy:
    def test_rates(self, mirrored: dict[str, Array]) -> None:
        np.testing.assert_array_equal(mirrored["one"], planned())

    def test_held_through_an_epoch(self, mirrored: dict[str, Array]) -> None:
        np.testing.assert_array_equal(mirrored["an epoch"], np.repeat(planned(steps=1), STEPS))

    def test_skipped_batches(self, mirrored: dict[str, Array]) -> None:
        expected = planned()
        expected[2::STEPS] = 0
        np.testing.assert_array_equal(mirrored["skipping"], expected)

    def test_each_optimizer_its_own_rate(self, mirrored: dict[str, Array]) -> None:
        expected = [planned(eta_max=peak).reshape(-1, STEPS) for peak in (0.1, 0.3)]
        np.testing.assert_array_equal(mirrored["two optimizers"].reshape(-1, 2, STEPS), np.stack(expected, axis=1))

    def test_decay_of_adamwr(self, mirrored: dict[str, Array]) -> None:
        eta = WarmRestarts(1, 2).learning_rates(EPOCHS, STEPS)
        expected = np.prod(1 - eta * 0.5 / np.sqrt(np.repeat([7, 14], [7, 14])))
        # 21 products in float32.
        np.testing.assert_allclose(mirrored["AdamWR"], expected, rtol=21 * float(np.finfo(np.float32).eps), atol=0)


def test_tf_keras() -> None:
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.Input((1,)), Probe(STEPS)])
    model.compile(tf.keras.optimizers.SGD(RATE), loss=gradient_is_target)
    model.fit(*data(), batch_size=1, epochs=1, shuffle=False, verbose=0, callbacks=[sgdr()])
    np.testing.assert_array_equal(-model.layers[0].w.numpy(), planned(1))
