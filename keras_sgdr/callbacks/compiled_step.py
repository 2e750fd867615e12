"""The compiled train step that holds the tables: built when they are installed, and kept for the next `fit`.

On TensorFlow it is kept on the step that Keras itself had compiled: as long as Keras holds that to be valid, and no
longer, ours is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_sgdr.callbacks.rate_table import RateTable

__all__ = ["CompiledStep"]

_KEPT = "_keras_sgdr_kept"


class _Kept(NamedTuple):
    tables: list[RateTable]
    step: Any


class CompiledStep:
    """A model's train step during one `fit`, in place of its own.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        # JAX compiles the tables in, so nothing can be kept; and while an old step lives, it takes a new one for it.
        self._own = model.train_function if keras.config.backend() == "tensorflow" else None
        self._kept: _Kept | None = getattr(self._own, _KEPT, None)

    def kept_tables(self, usable: Callable[[Sequence[RateTable]], bool]) -> list[RateTable] | None:
        """The tables of a step that was kept, if there is one and they can be used again."""
        if self._kept is not None and not usable(self._kept.tables):
            self._kept = None
        return None if self._kept is None else self._kept.tables

    def install(self, on_other_fit: Callable[[], None]) -> None:
        """Let the model train with the tables that its optimizers now hold.

        Args:
            on_other_fit: Called when another training begins before `restore`: one that an exception has ended, of
                which Keras tells no callback.
        """
        self._make_train_function = self._model.make_train_function

        def make_train_function(force: bool = False) -> None:
            # `fit` calls this, without force, before it calls any callback.
            if force:
                self.rebuild()
            else:
                on_other_fit()
                self._model.make_train_function()

        self._model.make_train_function = make_train_function
        if self._kept is None:
            self.rebuild()
        else:
            self._model.train_function = self._kept.step

    def rebuild(self) -> None:
        """Let the step be compiled anew at the next batch."""
        self._make_train_function(force=True)

    def restore(self, tables: list[RateTable]) -> None:
        """Give the model its own step back, and keep this one with its tables."""
        # None where the model was compiled anew, after `fit` was left by an exception.
        if self._model.train_function is not None:
            if self._own is not None:
                setattr(self._own, _KEPT, _Kept(tables, self._model.train_function))
            self._model.train_function = self._own
        del self._model.make_train_function
