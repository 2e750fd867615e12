"""Logits of ResNet-50 in float64, and of a control whose stem has `same` padding, as TensorFlow pads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from numpy.typing import NDArray

from keras_sgdr.models import load_state_dict, resnet, state_dict

Array = NDArray[Any]


def float64_logits(weights: Mapping[str, Array], images: Array) -> dict[str, Array]:
    """By `eval`, `train`, `control_eval` and `control_train` the logits; by `updated/` the state after `train`."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        model = resnet(50)
        assert load_state_dict(model, weights) == []
        control = keras.models.clone_model(model, clone_function=_same_padding)
        load_state_dict(control, weights)
        results = {
            prefix + mode: keras.ops.convert_to_numpy(network(images, training=mode == "train"))
            for prefix, network in {"": model, "control_": control}.items()
            for mode in ("eval", "train")
        }
        return results | {f"updated/{name}": tensor for name, tensor in state_dict(model).items()}
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def _same_padding(layer: Any) -> Any:
    config = layer.get_config()
    if layer.name == "conv1_pad":
        config["padding"] = 0
    if layer.name == "conv1":
        config["padding"] = "same"
    return type(layer).from_config(config)
