"""Decodes the images once for both frameworks, or draws some: `python -m parity_tests.images OUT.npz [FOLDER]`."""

from __future__ import annotations

import sys

import numpy as np

from keras_sgdr.data import ants_bees, drawn_insects
from parity_tests.batches import SOURCE_SIZE


def main(out: str, folder: str | None = None) -> None:
    train, val = (
        drawn_insects(image_size=SOURCE_SIZE) if folder is None else ants_bees.load_data(folder, image_size=SOURCE_SIZE)
    )
    np.savez(out, train_images=train[0], train_labels=train[1], val_images=val[0], val_labels=val[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
