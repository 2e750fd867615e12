"""Files of images that all contenders of an epoch read: the real ones, or drawn ones where there are none."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["image_folder"]

CLASSES = ("ants", "bees")
REAL, SIDE = 244, 400  # Of the real images: how many are for training, and a common side.


def image_folder(folder: Path, drawn: int = 0) -> tuple[Path, str]:
    """The images of `$ANTS_BEES_DIR`, or drawn ones as JPEG files.

    Args:
        folder: Where drawn ones are written.
        drawn: Number of training images to draw; 0 for the real ones, or as many drawn as there are real ones.

    Returns:
        A folder that holds `train` and `val`; a remark where they are drawn, else nothing.
    """
    given = os.environ.get("ANTS_BEES_DIR")
    if given and not drawn:
        return Path(given), ""
    from PIL import Image

    from keras_sgdr.data import drawn_insects

    n_train = drawn or REAL
    n_val = max(n_train * 153 // 244, 2)
    splits = drawn_insects(n_train, n_val, 96 if drawn else SIDE)
    for split, (images, labels) in zip(("train", "val"), splits, strict=True):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / CLASSES[label] / f"{index:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, quality=90)
    return folder, f"{n_train} drawn insects"
