"""The images and the weights of ResNet-50, read once for both frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sgdr.data import ants_bees, drawn_insects
from parity_tests.processes import Arrays
from parity_tests.training.batches import SOURCE_SIZE

__all__ = ["arrays"]


def arrays(config: dict[str, str | None]) -> Arrays:
    """uint8 images and labels of both splits, and weights in float32, in torchvision's names, but for the last layer's.

    Args:
        config: "images", the folder of ants and bees, or None for drawn ones; "weights", a .safetensors or .pth file,
            or None for random ones.
    """
    images, size = config["images"], SOURCE_SIZE
    train, val = drawn_insects(image_size=size) if images is None else ants_bees.load_data(images, image_size=size)
    state = _state_dict(config["weights"])
    needed = {name: t for name, t in state.items() if not name.startswith("fc.") and not name.endswith("tracked")}
    return {
        "train_images": train[0],
        "train_labels": train[1],
        "val_images": val[0],
        "val_labels": val[1],
        **{f"weights/{name}": np.asarray(tensor, "float32") for name, tensor in needed.items()},
    }


def _state_dict(file: str | None) -> dict[str, Any]:
    if file is not None and file.endswith(".safetensors"):
        from safetensors.numpy import load_file

        return dict(load_file(file))
    import torch

    from torch_reference.models import resnet

    torch.manual_seed(0)
    return dict(resnet(50, file or "none", classes=2).state_dict())
