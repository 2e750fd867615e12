"""The models' own layers equal Keras's, and are Keras's for whoever saves or loads them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_sgdr.models.batch_norm import BatchNormalization
from keras_sgdr.models.convolution import Conv2D
from keras_sgdr.snapshots.model_weights import estimate_statistics

Array = np.ndarray[Any, Any]

BACKEND = keras.config.backend()
HAS_KERNEL = BACKEND in ("tensorflow", "torch")
CHANNELS = 5

# Float32 rounds at 6e-8. Means of 360 values of order 1, of their squares and of products with a gradient, in another
# order, were at most 6e-7 apart. The control, the unbiased variance of a batch, is 1/359 apart, in a moving variance
# of momentum 0.9 a tenth of it.
FLOAT32 = 1e-5
# bfloat16 has 8 bits; outputs and gradients are rounded once or twice on either side.
HALF = 2e-2


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(1, 2, shape).astype("float32")


def pair(ours: Any = BatchNormalization, theirs: Any = layers.BatchNormalization, **options: Any) -> list[Any]:
    """Our layer and Keras's, with the same weights."""
    settings = {"momentum": 0.9, "epsilon": 1e-5, **options} if ours is BatchNormalization else options
    both = [ours(**settings), theirs(**settings)]
    for layer in both:
        layer.build((None, CHANNELS, None, CHANNELS))
        for seed, variable in enumerate(layer.weights):
            variable.assign(np.abs(random(*variable.shape, seed=seed)))
    return both


def trained(layer: Any, x: Array, training: bool | None = True) -> dict[str, Array]:
    """Output, gradients of a weighted sum of it, and moving statistics afterwards."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            inputs = tf.constant(x, layer.compute_dtype)
            tape.watch(inputs)
            y = layer(inputs, training=training)
            loss = tf.reduce_sum(tf.cast(y, "float32") * random(*y.shape, seed=9))
        gradients = tape.gradient(loss, [inputs, *(variable.value for variable in layer.trainable_variables)])
    elif BACKEND == "torch":
        inputs = ops.convert_to_tensor(x, layer.compute_dtype).requires_grad_()
        y = layer(inputs, training=training)
        (y.float() * ops.convert_to_tensor(random(*y.shape, seed=9))).sum().backward()
        gradients = [inputs.grad, *(variable.value.grad for variable in layer.trainable_variables)]
    else:
        import jax

        mode = {"training": training} if isinstance(layer, layers.BatchNormalization) else {}

        def loss(inputs: Any, weights: Any) -> Any:
            y, state = layer.stateless_call(weights, layer.non_trainable_variables, inputs, **mode)
            return (y.astype("float32") * random(*y.shape, seed=9)).sum(), (y, state)

        start = ops.convert_to_tensor(x, layer.compute_dtype), [v.value for v in layer.trainable_variables]
        (given, weights), (y, state) = jax.grad(loss, (0, 1), has_aux=True)(*start)
        gradients = [given, *weights]
        for variable, value in zip(layer.non_trainable_variables, state, strict=True):
            variable.assign(value)
    names = ["inputs", *(variable.name for variable in layer.trainable_variables)]
    results = {"outputs": y, **dict(zip(names, gradients, strict=True))}
    results |= {variable.name: variable.value for variable in layer.non_trainable_variables}
    return {name: numpy(value) for name, value in results.items()}


def numpy(tensor: Any) -> Array:
    # NumPy has no bfloat16.
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def distances(ours: dict[str, Array], theirs: dict[str, Array]) -> dict[str, float]:
    assert ours.keys() == theirs.keys()
    return {name: float(np.abs(ours[name] - value).max() / np.abs(value).max()) for name, value in theirs.items()}


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel may be called."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("The kernel was called.")

    monkeypatch.setattr(BatchNormalization, "_tensorflow", refuse)
    monkeypatch.setattr(BatchNormalization, "_torch", refuse)


@pytest.mark.parametrize("training", [True, False, None])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_outputs_gradients_and_statistics_are_those_of_keras(policy: str, training: bool | None) -> None:
    ours, theirs = (trained(layer, random(10, 6, 6, CHANNELS), training) for layer in pair(dtype=policy))
    limit = HALF if policy == "mixed_bfloat16" else FLOAT32
    assert {name: distance for name, distance in distances(ours, theirs).items() if distance > limit} == {}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_precisions_are_those_of_keras(policy: str) -> None:
    ours, theirs = (layer(random(10, 6, 6, CHANNELS), training=True) for layer in pair(dtype=policy))
    assert ours.dtype == theirs.dtype


def test_the_control_an_unbiased_variance_is_seen() -> None:
    layer, theirs = pair()
    x = random(10, 6, 6, CHANNELS)
    before = ops.convert_to_numpy(layer.moving_variance)
    biased = trained(theirs, x)["moving_variance"]
    unbiased = 0.9 * before + 0.1 * x.var((0, 1, 2), ddof=1)
    assert distances({"": unbiased}, {"": biased})[""] > 3 * FLOAT32
    assert distances({"": trained(layer, x)["moving_variance"]}, {"": biased})[""] <= FLOAT32


@pytest.mark.skipif(not HAS_KERNEL, reason="Keras's own operations are used on JAX")
def test_the_kernel_is_called(without_kernel: None) -> None:
    with pytest.raises(AssertionError, match="The kernel was called"):
        pair()[0](random(10, 6, 6, CHANNELS), training=True)


@pytest.mark.parametrize(
    "options",
    [
        # 64 bits are off on JAX.
        *([{"dtype": "float64"}] if HAS_KERNEL else []),
        {"axis": 1},
        {"scale": False},
        {"center": False},
        *([{"synchronized": True}] if BACKEND == "tensorflow" else []),
    ],
    ids=str,
)
def test_where_no_kernel_fits_keras_computes(options: dict[str, Any], without_kernel: None) -> None:
    # On the axis of 1 as well: its size is that of the last.
    x = random(10, CHANNELS, 6, CHANNELS)
    ours, theirs = (numpy(layer(x, training=True)) for layer in pair(**options))
    np.testing.assert_array_equal(ours, theirs)


def test_inputs_of_another_rank_and_masked_ones_are_left_to_keras(without_kernel: None) -> None:
    both = [kind() for kind in (BatchNormalization, layers.BatchNormalization)]
    x, mask = random(10, 6, CHANNELS), np.arange(60).reshape(10, 6) % 3 > 0
    for masks in ({}, {"mask": ops.convert_to_tensor(mask)}):
        ours, theirs = (numpy(layer(x, training=True, **masks)) for layer in both)
        np.testing.assert_array_equal(ours, theirs)
    image_mask = ops.convert_to_tensor(np.ones((10, 6, 6), bool))
    ours, theirs = (numpy(layer(random(10, 6, 6, CHANNELS), training=True, mask=image_mask)) for layer in pair())
    np.testing.assert_array_equal(ours, theirs)


def test_a_frozen_layer_is_in_inference() -> None:
    both, x = pair(), random(10, 6, 6, CHANNELS)
    for layer in both:
        layer.trainable = False
    before = [ops.convert_to_numpy(variable) for variable in both[0].weights]
    frozen, theirs = (trained(layer, x) for layer in both)
    assert max(distances(frozen, theirs).values()) <= FLOAT32
    for variable, value in zip(both[0].weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_one_value_per_channel_has_no_variance() -> None:
    ours, theirs = (trained(layer, random(1, 1, 1, CHANNELS)) for layer in pair())
    for name, value in theirs.items():
        # The gradients by the input and by gamma are 0, but for rounding.
        np.testing.assert_allclose(ours[name], value, rtol=FLOAT32, atol=1e-3 if name in ("inputs", "gamma") else 0)


def test_momenta_of_averaged_statistics() -> None:
    """0 at the first batch: the moving statistics are then those of the batch."""
    model = keras.Sequential([keras.Input((6, 6, CHANNELS)), BatchNormalization()])
    x = random(30, 6, 6, CHANNELS)
    estimate_statistics(model, np.split(x, 3))
    variances = np.mean([part.var((0, 1, 2)) for part in np.split(x, 3)], 0)
    np.testing.assert_allclose(numpy(model.layers[0].moving_mean), x.mean((0, 1, 2)), rtol=FLOAT32)
    np.testing.assert_allclose(numpy(model.layers[0].moving_variance), variances, rtol=FLOAT32)


def network(norm: Any = BatchNormalization, convolution: Any = Conv2D) -> Any:
    x = inputs = keras.Input((None, None, 3), name="images")
    x = convolution(CHANNELS, 3, padding="same", use_bias=False, name="conv")(x)
    x = norm(momentum=0.9, epsilon=1e-5, name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(1, name="dense")(x))
    for seed, variable in enumerate(model.weights):
        variable.assign(np.abs(random(*variable.shape, seed=seed)) / 10)
    return model


@pytest.mark.parametrize("jit", [False] if BACKEND == "torch" else [True, False])
def test_fit_with_batches_of_two_sizes(jit: bool) -> None:
    x, y = random(20, 8, 8, 3), random(20, 1, seed=1)
    networks = network(), network(layers.BatchNormalization, layers.Conv2D)
    before = [numpy(variable) for variable in networks[0].weights]
    for model in networks:
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse", jit_compile=jit)
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for ours, theirs, old in zip(*(model.weights for model in networks), before, strict=True):
        assert np.abs(numpy(theirs) - old).max() > 1e-3
        np.testing.assert_allclose(numpy(ours), numpy(theirs), rtol=1e-4, atol=FLOAT32, err_msg=ours.path)


def test_shapes_are_known_before_values() -> None:
    class Outer(layers.Layer):
        """Without `compute_output_shape`, so that Keras traces its call without values."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = Conv2D(CHANNELS, 3, padding="same"), BatchNormalization()

        def build(self, shape: Any) -> None:
            self.conv.build(shape)
            self.norm.build((*shape[:-1], CHANNELS))

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.norm(self.conv(x), training=training)

    assert Outer()(keras.Input((None, 7, 3)), training=True).shape == (None, None, 7, CHANNELS)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "same"},
        {"padding": "same", "strides": 2},
        {"strides": 2},
        {"padding": "same", "kernel_size": 2},
        {"padding": "same", "dilation_rate": 2},
        {"groups": 5},
        {"kernel_size": 1, "use_bias": False},
        {"kernel_size": 1, "strides": 2, "padding": "same"},
        {"kernel_size": (1, 3), "strides": 3},
        {"kernel_size": 2, "dilation_rate": 3},
        {"kernel_size": 5, "padding": "same"},
        {"activation": "relu"},
    ],
    ids=str,
)
def test_convolutions_are_those_of_keras(options: dict[str, Any], policy: str) -> None:
    options = {"filters": CHANNELS, "kernel_size": 3, "dtype": policy, **options}
    ours, theirs = (trained(layer, random(4, 8, 7, CHANNELS)) for layer in pair(Conv2D, layers.Conv2D, **options))
    limit = HALF if policy == "mixed_bfloat16" else FLOAT32
    assert {name: distance for name, distance in distances(ours, theirs).items() if distance > limit} == {}


def test_a_window_may_be_larger_than_the_image() -> None:
    options = {"filters": CHANNELS, "kernel_size": 3, "padding": "same"}
    ours, theirs = (trained(layer, random(4, 2, 1, CHANNELS)) for layer in pair(Conv2D, layers.Conv2D, **options))
    assert max(distances(ours, theirs).values()) <= FLOAT32
    with pytest.raises(ValueError, match="output"):
        Conv2D(CHANNELS, 3)(random(4, 2, 1, CHANNELS))


def test_clones_keep_the_kernels_and_files_do_not(tmp_path: Path) -> None:
    model = network()
    clone = keras.models.clone_model(model)
    assert type(clone.get_layer("norm")) is BatchNormalization
    assert type(clone.get_layer("conv")) is Conv2D
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("norm")) is layers.BatchNormalization
    assert type(loaded.get_layer("conv")) is layers.Conv2D
    x = random(2, 8, 8, 3)
    np.testing.assert_allclose(numpy(loaded(x)), numpy(model(x)), rtol=FLOAT32)
    custom = {"BatchNormalization": BatchNormalization, "Conv2D": Conv2D}
    kept = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom)
    assert type(kept.get_layer("norm")) is BatchNormalization
    assert type(kept.get_layer("conv")) is Conv2D


ELSEWHERE = """
import sys
sys.modules["keras_sgdr"] = None  # An import fails.
import keras
import numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], keras.ops.convert_to_numpy(model(np.ones((1, 8, 8, 3), "float32"))))
"""


def test_a_saved_model_loads_without_this_package(tmp_path: Path) -> None:
    model = network()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse", jit_compile=False)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"keras_sgdr" not in archive.read("config.json")
    files = [str(tmp_path / name) for name in ("model.keras", "outputs.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *files], check=True, timeout=120)
    expected = numpy(model(np.ones((1, 8, 8, 3), "float32")))
    np.testing.assert_allclose(np.load(files[1]), expected, rtol=FLOAT32)


def test_a_model_of_keras_layers_exchanges_files_with_ours(tmp_path: Path) -> None:
    model, plain = network(), network(layers.BatchNormalization, layers.Conv2D)
    assert model.to_json().replace('"registered_name": "BatchNormalization"', '"registered_name": null').replace(
        '"registered_name": "Conv2D"', '"registered_name": null'
    ) == plain.to_json().replace(plain.name, model.name)
    for variable in plain.weights:
        variable.assign(variable + 1)
    plain.save_weights(tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    for ours, theirs in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(numpy(ours), numpy(theirs))
