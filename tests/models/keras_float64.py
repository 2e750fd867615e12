"""Writes what Keras computes in float64, in a process of its own: `python keras_float64.py FOLDER`.

Beside it, a control: the same network with `same` padding in the stem, as TensorFlow pads.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

keras.config.set_floatx("float64")

from keras_sgdr.models import load_state_dict, resnet, state_dict  # noqa: E402


def same_padding(layer: Any) -> Any:
    config = layer.get_config()
    if layer.name == "conv1_pad":
        config["padding"] = 0
    if layer.name == "conv1":
        config["padding"] = "same"
    return type(layer).from_config(config)


def main(folder: Path) -> None:
    reference = np.load(folder / "resnet50.npz")
    weights = {
        name.removeprefix("weights/"): reference[name] for name in reference.files if name.startswith("weights/")
    }
    images = reference["images"]
    model = resnet(50)
    assert load_state_dict(model, weights) == []
    control = keras.models.clone_model(model, clone_function=same_padding)
    load_state_dict(control, weights)
    trace = {}
    for name, network in {"": model, "control_": control}.items():
        for mode in ("eval", "train"):
            logits = network(images, training=mode == "train")
            trace[name + mode] = keras.ops.convert_to_numpy(logits)
    trace |= {f"updated/{name}": tensor for name, tensor in state_dict(model).items()}
    np.savez(folder / "keras.npz", **trace)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
