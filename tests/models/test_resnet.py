from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr.models import resnet, state_dict

# Float32 rounds at 6e-8; through 53 convolutions and 53 BatchNorms the logits were at most 1.3e-6 apart.
FLOAT32 = 1e-5


@pytest.fixture(scope="module")
def normalised_resnet50(resnet50: keras.Model) -> keras.Model:
    """ResNet-50 for normalised images, as torchvision's."""
    return keras.Model(resnet50.get_layer("preprocess").output, resnet50.output)


def apart(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_logits_equal_torchvision_in_float32(normalised_resnet50: keras.Model, reference: Path) -> None:
    theirs = np.load(reference / "resnet50.npz")
    logits = keras.ops.convert_to_numpy(normalised_resnet50(theirs["images"].astype("float32")))
    assert logits.dtype == np.float32
    assert apart(logits, theirs["eval"]) < FLOAT32


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_names_and_shapes_equal_torchvision(
    reference: Path, resnet50: keras.Model, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = json.loads((reference / "shapes.json").read_text())[str(depth)]
    theirs = {name: tuple(s) for name, s in theirs.items() if not name.endswith("num_batches_tracked")}
    # Zeros are faster than random numbers.
    monkeypatch.setattr(sys.modules[resnet.__module__], "VarianceScaling", lambda *_: "zeros")
    model = resnet50 if depth == 50 else resnet(depth)
    assert {name: tensor.shape for name, tensor in state_dict(model).items()} == theirs


def test_what_is_loaded_is_not_drawn_before(new_resnet50: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def draw(self: Any, shape: Any, dtype: Any = None) -> Any:
        drawn.append(shape)
        return keras.ops.zeros(shape, dtype)

    def built(weights: Any) -> tuple[keras.Model, int]:
        drawn.clear()
        keras.utils.set_random_seed(0)
        return resnet(50, weights), len(drawn)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)
    random, of_random = built("none")
    weights = state_dict(new_resnet50)
    loaded, of_loaded = built({name: weights[name] for name in weights if not name.startswith("fc")})
    assert (of_random, of_loaded) == (53, 0)
    # The head, which the weights lack, is as it would have been, and so is what a copy of the model begins with.
    np.testing.assert_array_equal(loaded.get_layer("fc").kernel, random.get_layer("fc").kernel)
    assert [layer.get_config() for layer in loaded.layers] == [layer.get_config() for layer in random.layers]
    np.testing.assert_array_equal(state_dict(loaded)["conv1.weight"], weights["conv1.weight"])


def test_initial_weights_have_the_distributions_of_torchvision(new_resnet50: keras.Model) -> None:
    kernel = keras.ops.convert_to_numpy(new_resnet50.get_layer("layer4_0_conv2").kernel)
    # He et al. (2015) by fan-out, not truncated: a normal variable exceeds 3 SD in 0.27 % of the draws.
    sd = np.sqrt(2 / (3 * 3 * 512))
    assert kernel.std() == pytest.approx(sd, rel=5e-3)
    assert (np.abs(kernel) > 3 * sd).mean() == pytest.approx(0.0027, rel=0.05)
    for tensor in (new_resnet50.get_layer("fc").kernel, new_resnet50.get_layer("fc").bias):
        values = keras.ops.convert_to_numpy(tensor)
        bound = 2048**-0.5
        assert np.abs(values).max() <= bound
        # The largest of 200 uniform values is below 0.9 of the bound once in 10^9 runs.
        assert values.max() > 0.9 * bound
        assert values.min() < -0.9 * bound


def test_preprocess_takes_bytes(resnet50: keras.Model, normalised_resnet50: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype="uint8")
    normalised = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours, theirs = resnet50(images), normalised_resnet50(normalised.astype("float32"))
    assert apart(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)) < FLOAT32


def test_half_precision_keeps_images_and_logits_in_float32(new_resnet50: keras.Model) -> None:
    assert new_resnet50.get_layer("preprocess").compute_dtype == "float32"
    assert new_resnet50.get_layer("layer1_0_conv1").compute_dtype == "bfloat16"
    assert new_resnet50.output.dtype == "float32"


def test_saved_model_does_not_need_this_package(resnet50: keras.Model, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype="uint8")
    resnet50.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        # The modules and names of all classes, from which Keras builds the model.
        assert b"keras_sgdr" not in archive.read("config.json")
    ours, loaded = resnet50(images), keras.saving.load_model(tmp_path / "model.keras")(images)
    assert apart(keras.ops.convert_to_numpy(loaded), keras.ops.convert_to_numpy(ours)) < FLOAT32


def test_unknown_depth() -> None:
    with pytest.raises(ValueError, match=r"`depth` must be 50, 101 or 152\. Received: depth=34\. .*keras\.a"):
        resnet(34)
