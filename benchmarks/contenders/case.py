"""What all contenders of an epoch are told, and the end of a turn as a callback."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.turns import Turns

__all__ = ["Case", "contend", "turn_callback"]


@dataclass(frozen=True)
class Case:
    """What is trained, the same for all contenders.

    Attributes:
        images: Folder that holds `train` and `val`.
        size: Side of the images, in pixels.
        batch: Images in a batch.
        epochs: Epochs, more than there are turns.
        weights: Weights in torchvision's names; empty for random ones.
        output: Folder to write into.
        jit: Whether the plain Keras pipeline leaves `jit_compile` as it is.
    """

    images: str
    size: int
    batch: int
    epochs: int
    weights: str
    output: str
    jit: bool = True

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def contend(train: Callable[[Case, Turns], object]) -> None:
    """Run a contender on the case of the command line. One that lacks a package withdraws, and says which."""
    turns = Turns()
    try:
        train(Case(**json.loads(sys.argv[1])), turns)
    except ModuleNotFoundError as error:
        turns.withdraw(f"needs {error.name}, which is not installed")


def turn_callback(turns: Turns) -> Any:
    """A callback whose turns are epochs, with all that `fit` does between them."""
    import keras

    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: turns.end())
