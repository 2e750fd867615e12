"""What the tests of snapshots share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_sgdr.snapshots import Manifest, weights_alone
from tests.support.small_model import small_model, train, values


def loaded(manifest: Manifest, number: int) -> list[Any]:
    model = small_model(keras.optimizers.SGD(0.1))
    with weights_alone(model):
        model.load_weights(manifest.path(manifest.snapshots[number]))
    return values(model.weights)


def warned(*arguments: Any, **options: Any) -> list[str]:
    """What users were warned of while `train` ran; `pytest.warns` would let in what the configuration ignores."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=UserWarning)
        train(*arguments, **options)
    return [str(one.message) for one in caught]


def model() -> Any:
    """A `small_model` that is trained by plain SGD."""
    return small_model(keras.optimizers.SGD(0.1))


def whole_files(folder: Path) -> list[str]:
    """The files of the snapshots that are listed, each of which is whole."""
    manifest = Manifest.read(folder)
    return [manifest.path(each).name for each in manifest.snapshots]


class At(keras.callbacks.Callback):
    """Does something at a hook of one epoch."""

    def __init__(self, hook: str, epoch: int, action: Any) -> None:
        super().__init__()
        self.epoch, self.action = epoch, action
        setattr(self, hook, self.act)

    def act(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            self.action()


class Judge(keras.callbacks.Callback):
    """Says how good each epoch's end is."""

    def __init__(self, values: Sequence[float], name: str = "val_loss") -> None:
        super().__init__()
        self.values, self.name = values, name

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs[self.name] = float(self.values[epoch])
