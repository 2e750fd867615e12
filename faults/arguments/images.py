"""The images: loaded, drawn, cropped, and in batches."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from faults.arguments.target import FLAGS, Target, Used
from faults.arguments.training import folder
from faults.trials import Fault
from keras_sgdr.data import ants_bees, batches, center_crop, drawn_insects, random_resized_crop_flip

__all__ = ["targets"]

SEEDS = (0, 1, np.int64(2))
IMAGES = np.random.default_rng(0).integers(256, size=(5, 12, 14, 3), dtype="uint8")
LABELS = np.array([0, 1, 0, 1, 1])
# What is no batch of images.
NO_IMAGES: tuple[Any, ...] = (IMAGES[0], IMAGES[:0], IMAGES[..., 0], IMAGES[:, :0], [], None, 0)
NO_NUMBERS: tuple[Any, ...] = (IMAGES.astype("O"), IMAGES.astype("U"))  # A crop leaves these to the backend.
SIZES = (8, 12, np.int64(10))


@cache
def images_in_folders() -> Path:
    """A folder of an image of each kind."""
    root = folder()
    for index, name in enumerate(("train/ants", "train/bees", "val/ants", "val/bees")):
        (root / name).mkdir(parents=True)
        Image.fromarray(IMAGES[index]).save(root / name / "0.png")
    os.environ["ANTS_BEES_DIR"] = str(root)  # Nothing is to be downloaded.
    return root


def use_batches(used: Used) -> None:
    data = used.made
    for index in range(len(data)):
        x, y = data[index]
        if len(x) != len(y) or not np.isfinite(keras.ops.convert_to_numpy(x)).all():
            raise Fault("wrong", f"a batch of {len(x)} images and {len(y)} labels")
    data.on_epoch_end()


def use_images(used: Used) -> None:
    images = keras.ops.convert_to_numpy(used.made)
    size = int(used.given["size"])
    if images.shape[1:3] != (size, size) or images.min(initial=0) < -1e-3 or images.max(initial=0) > 255.1:
        raise Fault("wrong", f"shape {images.shape}, from {images.min(initial=0)} to {images.max(initial=0)}")


def use_drawn(used: Used) -> None:
    (x, y), (x_val, y_val) = used.made[-2:]
    if len(x) != len(y) or len(x_val) != len(y_val) or x.dtype != "uint8":
        raise Fault("wrong", f"shapes {x.shape}, {y.shape}, {x_val.shape}, {y_val.shape}")


def targets() -> list[Target]:
    """What is tried; the first call makes the files that some of them read."""
    directories = (images_in_folders(), str(images_in_folders()))
    pictures = {"size": SIZES, "images": (IMAGES, IMAGES.astype("float32") / 2, IMAGES[:1])}
    cropping = {"seed": (0, 3), "scale": ((0.08, 1.0), (1, 1)), "ratio": ((3 / 4, 4 / 3), (1, 1))}
    no_images = {"images": NO_IMAGES, "x": NO_IMAGES + NO_NUMBERS, "y": (LABELS[:2], [], None)}
    return [
        Target("ants_bees.load_data", ants_bees.load_data, {"path": directories, "image_size": SIZES}, 60, use_drawn),
        Target(
            "ants_bees.load_or_draw",
            ants_bees.load_or_draw,
            {"path": directories, "image_size": SIZES, "seed": SEEDS},
            30,
            use_drawn,
        ),
        Target("ants_bees.find", ants_bees.find, {"path": directories}, 30),
        Target(
            "drawn_insects",
            lambda n_train, n_val, image_size, seed: drawn_insects(n_train, n_val, image_size, seed),
            {"n_train": (2, 0), "n_val": (2, 1), "image_size": SIZES, "seed": SEEDS},
            80,
            use_drawn,
            of=drawn_insects,
        ),
        Target(
            "batches",
            batches,
            {
                "x": (IMAGES,),
                "y": (LABELS,),
                "batch_size": (2, 5, np.int64(4)),
                "image_size": SIZES,
                "training": (True, False),
                "seed": SEEDS,
                "one_shape": (True, False),
                "on_device": (None, False, True),
            },
            120,
            use_batches,
            {**no_images, **dict.fromkeys(("training", "one_shape", "on_device"), FLAGS)},
        ),
        Target("center_crop", center_crop, pictures, 60, use_images, no_images),
        Target(
            "random_resized_crop_flip", random_resized_crop_flip, {**pictures, **cropping}, 80, use_images, no_images
        ),
    ]
