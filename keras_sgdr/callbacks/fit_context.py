"""What a callback cannot be told: the other callbacks of its `fit`, and whether a `fit` is under way.

Keras hands a callback no list of the others, so both are read from the calling frames.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from keras_sgdr._checks import invalid

__all__ = ["calling_list", "is_fitting", "other_callbacks", "refuse_other_rate_setters"]


def other_callbacks(callback: Any) -> list[Any]:
    """The other callbacks of the `fit` that is calling, none outside one."""
    calling = calling_list()
    return [other for other in (calling["self"].callbacks if calling is not None else []) if other is not callback]


def refuse_other_rate_setters(callback: Any) -> None:
    """Refuse other callbacks that set the learning rate.

    Raises:
        ValueError: Naming them.
    """
    setters = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau, type(callback))
    names = [type(other).__name__ for other in other_callbacks(callback) if isinstance(other, setters)]
    if names:
        received = f"`{type(callback).__name__}` and {', '.join(names)}"
        raise invalid("Only one callback may set the learning rate.", received, "Leave out one of them.")


def calling_list() -> dict[str, Any] | None:
    """The local variables of the `CallbackList` that is calling, None outside one."""
    for frame in _calling_frames():
        if isinstance(frame.f_locals.get("self"), keras.callbacks.CallbackList):
            return frame.f_locals
    return None


def is_fitting(model: Any) -> bool:
    """Whether this was called from `fit` of the model."""
    return any(frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model for frame in _calling_frames())


def _calling_frames() -> Iterator[Any]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
