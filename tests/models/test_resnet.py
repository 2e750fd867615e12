from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr.models import resnet, state_dict

# Float64 rounds at 1e-16; through 53 convolutions and 53 BatchNorms the frameworks were 3e-15 (evaluation)
# and 2e-13 (training) apart. The control, a stem padded by one pixel otherwise, was 0.08 and 0.7 apart.
FLOAT64 = 1e-10
VISIBLE = 1e-3
# Float32 rounds at 6e-8: a billion times as coarse, so 1e-5 is as strict as 1e-14. Measured: 1.3e-6 at most.
FLOAT32 = 1e-5


@pytest.fixture(scope="module")
def traces(reference: Path) -> tuple[Any, Any]:
    """What torchvision computed and what Keras did, both in float64."""
    script = Path(__file__).with_name("keras_float64.py")
    # On JAX and PyTorch, Keras's BatchNormalization computes in float32 even then.
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, script, reference], check=True, env=environment)
    return np.load(reference / "resnet50.npz"), np.load(reference / "keras.npz")


@pytest.fixture(scope="module")
def model(reference: Path) -> keras.Model:
    """ResNet-50 with torchvision's weights, in float32, on this process's backend."""
    arrays = np.load(reference / "resnet50.npz")
    names = [name for name in arrays.files if name.startswith("weights/")]
    return resnet(50, {name.removeprefix("weights/"): arrays[name] for name in names})


def apart(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_logits_equal_torchvision_in_float64(traces: tuple[Any, Any], mode: str) -> None:
    theirs, ours = traces
    assert ours[mode].dtype == np.float64
    assert apart(ours[mode], theirs[mode]) < FLOAT64


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_control_same_padding_is_told_from_torchvision(traces: tuple[Any, Any], mode: str) -> None:
    theirs, ours = traces
    assert apart(ours[f"control_{mode}"], theirs[mode]) > VISIBLE


def test_logits_equal_torchvision_in_float32(model: keras.Model, reference: Path) -> None:
    theirs = np.load(reference / "resnet50.npz")
    logits = keras.ops.convert_to_numpy(model(theirs["images"].astype("float32")))
    assert logits.dtype == np.float32
    assert apart(logits, theirs["eval"]) < FLOAT32


def test_moving_statistics_equal_torchvision_after_an_update(traces: tuple[Any, Any]) -> None:
    theirs, ours = traces
    means = [name for name in ours.files if name.endswith("running_mean")]
    assert len(means) == 53
    for name in means:
        assert apart(ours[name], theirs[name]) < FLOAT64, name
    # Keras's variance is of the batch (n), torch's of the population (n - 1): n = 4 images of 32 x 32.
    before = theirs["weights/bn1.running_var"]
    unbiased = (theirs["updated/bn1.running_var"] - 0.9 * before) * (1 - 1 / (4 * 32 * 32))
    assert apart(ours["updated/bn1.running_var"], 0.9 * before + unbiased) < FLOAT64


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_names_and_shapes_equal_torchvision(reference: Path, depth: int) -> None:
    theirs = json.loads((reference / "shapes.json").read_text())[str(depth)]
    theirs = {name: tuple(s) for name, s in theirs.items() if not name.endswith("num_batches_tracked")}
    assert {name: tensor.shape for name, tensor in state_dict(resnet(depth)).items()} == theirs


def test_initial_weights_have_the_distributions_of_torchvision() -> None:
    model = resnet(50, classes=200)
    kernel = keras.ops.convert_to_numpy(model.get_layer("layer4_0_conv2").kernel)
    # He et al. (2015) by fan-out, not truncated: a normal variable exceeds 3 SD in 0.27 % of the draws.
    sd = np.sqrt(2 / (3 * 3 * 512))
    assert kernel.std() == pytest.approx(sd, rel=5e-3)
    assert (np.abs(kernel) > 3 * sd).mean() == pytest.approx(0.0027, rel=0.05)
    for tensor in (model.get_layer("fc").kernel, model.get_layer("fc").bias):
        values = keras.ops.convert_to_numpy(tensor)
        bound = 2048**-0.5
        assert np.abs(values).max() <= bound
        # The largest of 200 uniform values is below 0.9 of the bound once in 10^9 runs.
        assert values.max() > 0.9 * bound
        assert values.min() < -0.9 * bound


def test_preprocess_takes_bytes(model: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype="uint8")
    with_bytes = resnet(50, state_dict(model), preprocess=True)
    normalised = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours, theirs = with_bytes(images), model(normalised.astype("float32"))
    ours, theirs = keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
    assert apart(ours, theirs) < FLOAT32


def test_half_precision_keeps_images_and_logits_in_float32() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = resnet(50, classes=2, preprocess=True)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("preprocess").compute_dtype == "float32"
    assert model.get_layer("layer1_0_conv1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_saved_model_loads_without_this_package(model: keras.Model, tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    script = """
import sys
sys.modules["keras_sgdr"] = None  # An import of it fails.
import keras, numpy
model = keras.saving.load_model("model.keras")
numpy.save("logits.npy", keras.ops.convert_to_numpy(model(numpy.load("images.npy"))))
"""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment)
    ours = keras.ops.convert_to_numpy(model(images))
    assert apart(np.load(tmp_path / "logits.npy"), ours) < FLOAT32


def test_unknown_depth() -> None:
    with pytest.raises(ValueError, match=r"`depth` must be 50, 101 or 152\. Received: depth=34\. .*keras\.a"):
        resnet(34)
