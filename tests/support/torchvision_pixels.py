"""Writes every 20th image as torchvision reads it: `python torchvision_pixels.py IMAGES FILE`."""

from __future__ import annotations

import sys

import numpy as np

STEP = 20


def main(images: str, file: str) -> None:
    # Here, so that a process with TensorFlow in it can import this file.
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, Resize

    data = ImageFolder(images, Compose([Resize(96), CenterCrop(96)]))
    samples = [data[index] for index in range(0, len(data), STEP)]
    np.savez(
        file,
        classes=np.array(data.classes),
        count=np.array(len(data)),
        images=np.stack([np.asarray(image) for image, _ in samples]),
        labels=np.array([label for _, label in samples]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
