"""Writes what torchvision reads, in a process of its own: `python torchvision_pixels.py IMAGES FILE`."""

from __future__ import annotations

import sys

import numpy as np
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Resize

STEP = 20


def main(images: str, file: str) -> None:
    data = ImageFolder(images, Compose([Resize(96), CenterCrop(96)]))
    chosen = [data[index] for index in range(0, len(data), STEP)]
    np.savez(
        file,
        classes=np.array(data.classes),
        count=np.array(len(data)),
        images=np.stack([np.asarray(image) for image, _ in chosen]),
        labels=np.array([label for _, label in chosen]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
