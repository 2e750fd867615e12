from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_sgdr.models import load_state_dict, resnet, state_dict, weights
from keras_sgdr.models.pth import read_pth
from tests.support.pth_files import pickled_tensor, write_zip

State = dict[str, np.ndarray[Any, Any]]


def small_net(classes: int = 3) -> keras.Model:
    """Named as a torch module with `conv1`, `layer1.0.bn1`, `fc`."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False, name="conv1"),
            keras.layers.BatchNormalization(name="layer1_0_bn1"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, name="fc"),
        ],
        name="small",
    )


def random_state(classes: int = 3, dtype: str = "float32") -> State:
    generator = np.random.default_rng(0)
    shapes = {"conv1.weight": (4, 3, 3, 3), "fc.weight": (classes, 4), "fc.bias": (classes,)}
    shapes |= {f"layer1.0.bn1.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")}
    return {name: generator.random(shape).astype(dtype) for name, shape in shapes.items()}


def assert_unchanged(model: keras.Model, before: list[Any]) -> None:
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_state_dict_gives_back_what_was_loaded() -> None:
    model, state = small_net(), random_state()
    assert load_state_dict(model, state | {"layer1.0.bn1.num_batches_tracked": np.array(7)}) == []
    assert state_dict(model).keys() == state.keys()
    for name, tensor in state_dict(model).items():
        np.testing.assert_array_equal(tensor, state[name], strict=True)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model.get_layer("conv1").kernel)[2, 1, 0, 3],
        state["conv1.weight"][3, 0, 2, 1],
    )


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_tensors_are_cast_to_the_precision_of_the_model(dtype: str) -> None:
    model, state = small_net(), random_state(dtype=dtype)
    load_state_dict(model, state)
    for name, tensor in state_dict(model).items():
        np.testing.assert_array_equal(tensor, state[name].astype("float32"), strict=True)


def test_safetensors_file_loads(tmp_path: Path) -> None:
    model, state = small_net(), random_state(dtype="float16")
    save_file(state, tmp_path / "small.safetensors")
    load_state_dict(model, tmp_path / "small.safetensors")
    np.testing.assert_array_equal(state_dict(model)["conv1.weight"], state["conv1.weight"].astype("float32"))


def test_resnet50_of_a_file_has_its_tensors_and_a_new_head(reference: Path, pretrained_weights: Path | None) -> None:
    # The development weights where they are found; else what torchvision's initialisation gave.
    path = pretrained_weights or reference / "resnet50.pth"
    model = resnet(50, path, classes=2)
    ours = state_dict(model)
    theirs = load_file(path) if path.suffix == ".safetensors" else read_pth(path)
    backbone = [name for name in theirs if not name.startswith("fc.") and "num_batches" not in name]
    assert len(backbone) == 53 + 4 * 53
    for name in backbone:
        np.testing.assert_array_equal(ours[name], theirs[name].astype("float32"), strict=True)
    assert ours["fc.weight"].shape == (2, 2048)
    assert 0 < np.abs(ours["fc.weight"]).max() <= 2048**-0.5


def test_head_of_another_class_count_stays_as_it_is() -> None:
    model = small_net(classes=2)
    before = state_dict(model)
    assert load_state_dict(model, random_state(classes=3)) == ["fc.bias", "fc.weight"]
    np.testing.assert_array_equal(state_dict(model)["fc.weight"], before["fc.weight"])
    np.testing.assert_array_equal(state_dict(model)["conv1.weight"], random_state()["conv1.weight"])


def without(*names: str) -> State:
    return {name: tensor for name, tensor in random_state().items() if name not in names}


def test_missing_head_stays_as_it_is() -> None:
    model = small_net()
    assert load_state_dict(model, without("fc.weight", "fc.bias")) == ["fc.bias", "fc.weight"]
    assert load_state_dict(model, random_state()) == []


@pytest.mark.parametrize(
    ("state", "lines"),
    [
        (without("layer1.0.bn1.bias"), [r"missing: layer1\.0\.bn1\.bias \(4,\)"]),
        (without("fc.bias"), [r"missing: fc\.bias \(3,\)"]),
        (random_state() | {"layer2.weight": np.zeros(5)}, [r"unexpected: layer2\.weight \(5,\)"]),
        (
            random_state() | {"conv1.weight": np.zeros((4, 1, 3, 3))},
            [r"of another shape: conv1\.weight \(4, 1, 3, 3\) instead of \(4, 3, 3, 3\)"],
        ),
        (
            random_state() | {"fc.weight": np.zeros((3, 5))},
            [r"of another shape: fc\.weight \(3, 5\) instead of \(3, 4\)"],
        ),
        (
            without("conv1.weight") | {f"{letter}.weight": np.zeros(1) for letter in "abcdefghij"},
            [r"missing: conv1\.weight \(4, 3, 3, 3\)", r"unexpected: a\.weight \(1,\), .*, and 2 more"],
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(state: State, lines: list[str]) -> None:
    model = small_net()
    before = model.get_weights()
    with pytest.raises(ValueError, match="The state dict must have the tensors of small") as error:
        load_state_dict(model, state)
    for line in lines:
        assert error.match(line)
    assert error.match(r"Nothing was loaded\. Pass the weights of torchvision's network of the same depth")
    assert_unchanged(model, before)


@pytest.mark.parametrize(
    "tensor",
    [np.array(["a"] * 12).reshape(3, 4), np.full((3, 4), None), np.ones((3, 4), complex), np.ones((3, 4), "M8[s]")],
    ids=["text", "objects", "complex", "dates"],
)
def test_a_tensor_that_is_no_number_is_named_and_nothing_is_changed(tensor: Any) -> None:
    model = small_net()
    before = model.get_weights()
    # The last that is set.
    with pytest.raises(ValueError, match=r"of no numbers: fc\.weight .*\nNothing was loaded\."):
        load_state_dict(model, random_state() | {"fc.weight": tensor})
    assert_unchanged(model, before)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float8_e4m3fn"])
def test_every_type_of_number_is_taken(dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = getattr(ml_dtypes, dtype, dtype)
    model, state = small_net(), {name: np.ones_like(tensor).astype(kind) for name, tensor in random_state().items()}
    load_state_dict(model, state)
    assert all(np.all(tensor == 1) for tensor in state_dict(model).values())


def test_one_stored_number_as_a_tensor_of_any_size_does_not_fit(tmp_path: Path) -> None:
    pickled = pickled_tensor(1, 0, (10**9,), (0,))
    path = write_zip(tmp_path / "t.pth", pickled, bytes(4))
    with pytest.raises(ValueError, match=r"unexpected: weight \(1000000000,\)"):
        load_state_dict(small_net(), path)


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "F4", "UNKNOWN"])
def test_a_safetensors_file_of_another_type_is_named(tmp_path: Path, kind: str) -> None:
    header = json.dumps({"a": {"dtype": kind, "shape": [2], "data_offsets": [0, 1 if kind == "F4" else 2]}}).encode()
    path = tmp_path / "other.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(1 if kind == "F4" else 2))
    with pytest.raises(ValueError, match=r"Received: .*other\.safetensors"):
        load_state_dict(small_net(), path)


def test_a_safetensors_file_that_cannot_be_opened_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "link.safetensors").symlink_to("nothing")
    for name, kind in {"folder": IsADirectoryError, "link": FileNotFoundError, "absent": FileNotFoundError}.items():
        with pytest.raises(kind, match=rf"{name}\.safetensors") as error:
            load_state_dict(small_net(), tmp_path / f"{name}.safetensors")
        assert error.value.errno is not None


def test_a_tensor_of_more_dimensions_than_numpy_has_is_named(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1] * 1000, "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "deep.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match=r"of a type and a shape that NumPy knows\. Received: .*deep\.safetensors"):
        load_state_dict(small_net(), path)


def test_unknown_kind_of_file() -> None:
    with pytest.raises(ValueError, match=r"must be a \.safetensors, \.pth or \.pt file.* Received: a\.keras"):
        load_state_dict(small_net(), "a.keras")


def test_damaged_safetensors_file(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(ValueError, match=r"must be a whole \.safetensors file\. Received: .*cut\.safetensors"):
        load_state_dict(small_net(), tmp_path / "cut.safetensors")


def test_missing_safetensors_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "keras-sgdr\[study\]"'):
        load_state_dict(small_net(), "some.safetensors")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of torchvision's, and what is asked of Keras's downloads in its place."""
    content = b"weights"
    file = tmp_path / f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.write_bytes(content)

    def get_file(fname: str, origin: str, cache_subdir: str) -> str:
        if origin != f"https://download.pytorch.org/models/{file.name}":
            raise Exception("URL fetch failure")  # As Keras does.
        return str(tmp_path / fname)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    monkeypatch.setitem(weights.IMAGENET_FILES, 50, file.name)
    return file


def test_published_file_is_downloaded_and_verified(published: Path) -> None:
    assert weights.download_imagenet(50) == published
    published.write_bytes(b"other weights")
    digits = published.stem[-8:]
    with pytest.raises(ValueError, match=rf"SHA-256 of {published.name} must begin with {digits}\. .*Delete the file"):
        weights.download_imagenet(50)


def test_failed_download_says_what_to_do(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.IMAGENET_FILES, 50, "resnet50-other.pth")
    with pytest.raises(
        ConnectionError, match=r"Received: URL fetch failure\. Download it elsewhere, and pass the file"
    ):
        weights.download_imagenet(50)


def test_imagenet_is_the_published_file(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[resnet.__module__]
    loaded: list[Any] = []
    monkeypatch.setattr(module, "load_state_dict", lambda model, source: loaded.append(source))
    monkeypatch.setitem(module.BLOCKS, 50, (1, 1, 1, 1))
    resnet(50, "imagenet", classes=2)
    assert loaded == [published]
