"""Known mistakes, made on purpose on the Keras side: each must be caught at the levels where it is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parity_tests.training.run import EPSILON

__all__ = ["CONTROLS", "NONE", "Control", "controls_of"]

Array = NDArray[Any]

_MEAN, _SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68])


def _normalised(images: Array) -> Array:
    return (images / 255 - _MEAN) / _SD


def _caffe(images: Array) -> Array:
    return images[..., ::-1] - _CAFFE_MEAN


def _unchanged(array: Array, *_: int) -> Array:
    return array


def _one_update_late(rates: Array) -> Array:
    return np.concatenate([rates[:1], rates[:-1]])


def _two_swapped(order: Array, epoch: int, batch_size: int) -> Array:
    if epoch == 0:
        order[[0, batch_size]] = order[[batch_size, 0]]
    return order


@dataclass(frozen=True)
class Control:
    """What a mistake changes; the defaults change nothing.

    Attributes:
        name: Its name in the tables, and in a `Run`.
        optimizer: Whose runs it is tried on.
        layers: Changes to the configuration of a layer, by the layer's name or that of its class.
        settings: Changes to the optimizer's arguments.
        rates: From the rates of all updates to those that are applied.
        has_cycles: Whether the schedule says where its cycles lie, by which AdamWR normalises its decay.
        pixels: From uint8 images to the network's input.
        order: From the order of an epoch's images, with the epoch and the size of a batch, to the one that is used.
    """

    name: str
    optimizer: Literal["sgd", "adamw", "adamwr"] = "sgd"
    layers: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: Callable[[Array], Array] = _unchanged
    has_cycles: bool = True
    pixels: Callable[[Array], Array] = _normalised
    order: Callable[[Array, int, int], Array] = _unchanged

    @property
    def is_compiled(self) -> bool:
        """Whether it changes the compiled step; the others reach the step as numbers."""
        return bool(self.layers or self.settings)


NONE = Control("")

CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        NONE,
        Control("same padding", layers={"conv1_pad": {"padding": 0}, "conv1": {"padding": "same"}}),
        Control("Caffe preprocessing", pixels=_caffe),
        Control("schedule off by one update", rates=_one_update_late),
        Control("BatchNorm momentum unconverted", layers={"BatchNormalization": {"momentum": 0.1}}),
        Control("two images swapped", order=_two_swapped),
        Control("AdamW epsilon unmapped", "adamw", settings={"epsilon": EPSILON["torch"]}),
        Control("AdamWR decay not normalised by the cycle", "adamwr", has_cycles=False),
    )
}


def controls_of(*optimizers: str) -> list[Control]:
    """The controls that are tried on the runs of these optimizers."""
    return [control for control in CONTROLS.values() if control is not NONE and control.optimizer in optimizers]
