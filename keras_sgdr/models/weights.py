"""Loading and saving of weights in torchvision's names and layouts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sgdr import _optional
from keras_sgdr._checks import invalid
from keras_sgdr._files import path_of, sha256
from keras_sgdr.models.pth import read_pth

__all__ = ["download_imagenet", "load_state_dict", "state_dict"]

Array = np.ndarray[Any, Any]
# By torchvision's name: the variable, and the axes that transpose torch's layout to Keras's.
Slots = dict[str, tuple[Any, tuple[int, ...]]]

# torchvision's IMAGENET1K_V1. The eight digits are the first of the file's SHA-256, which torch.hub checks as well.
IMAGENET_URL = "https://download.pytorch.org/models/"
IMAGENET_FILES = {
    50: "resnet50-0676ba61.pth",
    101: "resnet101-63fe2227.pth",
    152: "resnet152-394f9c45.pth",
}

# For each kind of layer: torch's name of a tensor, Keras's, and the axes that transpose torch's layout to Keras's.
LAYOUTS: list[tuple[Any, dict[str, tuple[str, tuple[int, ...]]]]] = [
    (keras.layers.Conv2D, {"weight": ("kernel", (2, 3, 1, 0)), "bias": ("bias", (0,))}),
    (keras.layers.Dense, {"weight": ("kernel", (1, 0)), "bias": ("bias", (0,))}),
    (
        keras.layers.BatchNormalization,
        {
            "weight": ("gamma", (0,)),
            "bias": ("beta", (0,)),
            "running_mean": ("moving_mean", (0,)),
            "running_var": ("moving_variance", (0,)),
        },
    ),
]


def load_state_dict(model: keras.Model, source: str | os.PathLike[str] | Mapping[str, Any]) -> list[str]:
    """Load a state dict in torchvision's names into a model of `resnet`.

    Every tensor must fit, or nothing is changed. The exception is for fine-tuning: a head (`fc.weight` and `fc.bias`)
    that is missing altogether, or has another number of classes, leaves the model's head as it is.
    `num_batches_tracked` has no counterpart in Keras and is ignored. Tensors of any precision are cast to that of the
    model's variables. Files are read without torch and without running code from them.

    Args:
        model: A model of `resnet`, or any whose layers are named as torchvision's modules, with `_` for `.`.
        source: Path to a `.safetensors`, `.pth` or `.pt` file, or a mapping from names to arrays.

    Returns:
        The names of the tensors that kept the model's values: none, or those of the head.

    Raises:
        ValueError: If the state dict does not fit (the message names the tensors that differ), or the file is damaged,
            of another format, or holds anything but tensors.
        ImportError: If the file needs safetensors, which is not installed.
    """
    fix = "Pass such as model.safetensors."
    tensors = (
        source
        if isinstance(source, Mapping)
        else _read(path_of("weights", source, fix, "a file, or a mapping from names to arrays"))
    )
    given = {name: np.asarray(tensor) for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    slots = _slots(model)
    kept = _kept_head(slots, given)
    slots = {name: slot for name, slot in slots.items() if name not in kept}
    given = {name: tensor for name, tensor in given.items() if name not in kept}
    _require_fit(model, "the mapping" if isinstance(source, Mapping) else str(source), slots, given)
    for name, (variable, axes) in slots.items():
        # Types that NumPy has from elsewhere, such as float8, are none to every backend.
        dtype = None if given[name].dtype.isbuiltin == 1 else np.float32
        variable.assign(np.ascontiguousarray(given[name].transpose(axes), dtype))
    return sorted(kept)


def state_dict(model: keras.Model) -> dict[str, Array]:
    """The weights of a model of `resnet` as NumPy arrays in torchvision's names and layouts.

    Args:
        model: A model of `resnet`, or any whose layers are named as torchvision's modules, with `_` for `.`.

    Returns:
        The tensors of torchvision's state dict, except `num_batches_tracked`.
    """
    return {
        name: np.ascontiguousarray(
            keras.ops.convert_to_numpy(variable).transpose([int(axis) for axis in np.argsort(axes)])
        )
        for name, (variable, axes) in _slots(model).items()
    }


def download_imagenet(depth: int) -> Path:
    """Path of torchvision's published weights: downloaded into Keras's cache unless they are there, and verified.

    Raises:
        ConnectionError: If it cannot be downloaded.
        ValueError: If the file's SHA-256 is not the published one.
    """
    name = IMAGENET_FILES[depth]
    try:
        path = Path(keras.utils.get_file(name, IMAGENET_URL + name, cache_subdir="models"))
    except Exception as error:  # Of no particular type in `get_file`.
        fix = "Download it elsewhere, and pass the file as `weights`."
        raise ConnectionError(f"{name} must be in Keras's cache or downloadable. Received: {error}. {fix}") from error
    digest, expected = sha256(path), path.stem.rpartition("-")[2]
    if not digest.startswith(expected):
        rule = f"The SHA-256 of {name} must begin with {expected}."
        raise invalid(rule, f"{digest} for {path}", "Delete the file, so that it is downloaded again.")
    return path


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix in (".pth", ".pt"):
        return read_pth(path)
    if path.suffix != ".safetensors":
        rule = "`weights` must be a .safetensors, .pth or .pt file of a state dict in torchvision's names."
        fix = "Load a .keras file with keras.saving.load_model, a .weights.h5 file with model.load_weights."
        raise invalid(rule, str(path), fix)
    safetensors = _optional.load("safetensors", "Reading a .safetensors file")
    load_file = _optional.load("safetensors.numpy", "Reading a .safetensors file").load_file
    try:
        with path.open("rb"):  # Whose errors name the file.
            return dict(load_file(path))
    except safetensors.SafetensorError as error:
        rule = "`weights` must be a whole .safetensors file."
        raise invalid(rule, f"{path}: {error}", "Download or copy the file again.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # As NumPy's part of safetensors has it.
        rule = "`weights` must hold tensors of a type and a shape that NumPy knows."
        raise invalid(rule, f"{path}: {error!r}", "Save it in float32 or float16.") from error


def _slots(model: keras.Model) -> Slots:
    slots: Slots = {}
    for layer in model.layers:
        module = layer.name.replace("_", ".")
        for kind, tensors in LAYOUTS:
            if isinstance(layer, kind):
                for tensor, (attribute, axes) in tensors.items():
                    if (variable := getattr(layer, attribute)) is not None:
                        slots[f"{module}.{tensor}"] = variable, axes
    return slots


def _kept_head(slots: Slots, given: Mapping[str, Array]) -> set[str]:
    """Names of the head's tensors, if the state dict has no head or one for another number of classes."""
    head = {"fc.weight", "fc.bias"} & slots.keys()
    if not head & given.keys():
        return head
    if not head <= given.keys():
        return set()
    # torch's first axis is the class, in both the weight and the bias.
    shapes = [(given[name].shape, _shape(*slots[name])) for name in head]
    other_classes = all(ours != theirs and ours[1:] == theirs[1:] for theirs, ours in shapes)
    return head if other_classes else set()


def _shape(variable: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    """A variable's shape in torch's layout."""
    shape = dict(zip(axes, variable.shape, strict=True))
    return tuple(shape[axis] for axis in sorted(shape))


def _require_fit(model: keras.Model, source: str, slots: Slots, given: Mapping[str, Array]) -> None:
    shapes = {name: _shape(*slot) for name, slot in slots.items()}
    differences = {
        "missing": [f"{name} {shape}" for name, shape in shapes.items() if name not in given],
        "unexpected": [f"{name} {tensor.shape}" for name, tensor in given.items() if name not in shapes],
        "of another shape": [
            f"{name} {given[name].shape} instead of {shape}"
            for name, shape in shapes.items()
            if name in given and given[name].shape != shape
        ],
        # Complex numbers are none either: a model's are real.
        "of no numbers": [
            f"{name} {tensor.dtype}"
            for name, tensor in given.items()
            if not np.can_cast(tensor.dtype, "f4", "same_kind")
        ],
    }
    if any(differences.values()):
        lists = "\n".join(f"  {kind}: {_listed(names)}" for kind, names in differences.items() if names)
        raise invalid(
            f"The state dict must have the tensors of {model.name}.",
            f"{source}, with tensors\n{lists}\nNothing was loaded",
            "Pass the weights of torchvision's network of the same depth.",
        )


def _listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more)
