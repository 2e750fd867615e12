"""Counting batches under loss scaling, which skips updates whose gradients overflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras_sgdr.callbacks.rate_table import RateTable

__all__ = ["count_batches"]


def count_batches(scaler: Any, tables: Sequence[RateTable]) -> Callable[[], None]:
    """Let a `LossScaleOptimizer` count all batches, skipped ones too, in its own iteration counter, else unused.

    Returns:
        What undoes it.
    """
    counter = scaler._iterations
    apply, stateless_apply = scaler.apply, scaler.stateless_apply

    def counting_apply(grads: Any, trainable_variables: Any = None) -> None:
        apply(grads, trainable_variables)
        counter.assign_add(1)

    def counting_stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        place = next(i for i, variable in enumerate(scaler.variables) if variable is counter)
        count = optimizer_variables[place]
        for table in tables:
            # The inner optimizer's state holds no counter of batches, so the value itself is handed on.
            table.count = count
        try:
            trainable_variables, optimizer_variables = stateless_apply(optimizer_variables, grads, trainable_variables)
        finally:
            for table in tables:
                table.count = None
        optimizer_variables = list(optimizer_variables)
        optimizer_variables[place] = count + 1
        return trainable_variables, optimizer_variables

    def undo() -> None:
        del scaler.apply, scaler.stateless_apply
        # What it always is outside `fit`; it may have been read from a file that was saved during another one.
        counter.assign(0)

    scaler.apply, scaler.stateless_apply = counting_apply, counting_stateless_apply
    return undo
