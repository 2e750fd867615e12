"""Where a callback stands: the other callbacks of its `fit`, and whether a `fit` is under way.

Keras hands a callback no list of its companions, so both are read from the calling frames.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras

__all__ = ["calling_list", "companions", "is_fitting", "refuse_companions"]


def companions(callback: Any) -> list[Any]:
    """The other callbacks of the `fit` that is calling, none outside one."""
    calling = calling_list()
    return [other for other in (calling["self"].callbacks if calling is not None else []) if other is not callback]


def refuse_companions(callback: Any) -> None:
    """Refuse other callbacks that set the learning rate.

    Raises:
        ValueError: Naming them.
    """
    setting = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau, type(callback))
    names = [type(other).__name__ for other in companions(callback) if isinstance(other, setting)]
    if names:
        raise ValueError(
            f"Only one callback may set the learning rate. Received: `{type(callback).__name__}` "
            f"and {', '.join(names)}. Leave out one of them."
        )


def calling_list() -> dict[str, Any] | None:
    """The variables of the `CallbackList` that is calling: Keras hands a callback no list of its companions."""
    for frame in _callers():
        if isinstance(frame.f_locals.get("self"), keras.callbacks.CallbackList):
            return frame.f_locals
    return None


def is_fitting(model: Any) -> bool:
    return any(frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model for frame in _callers())


def _callers() -> Iterator[Any]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
