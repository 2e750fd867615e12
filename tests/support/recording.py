"""SGD that keeps the learning rate of each update, as the step that applied it had it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["RecordingSGD"]

MOST = 512  # Updates.


class RecordingSGD(keras.optimizers.SGD):
    """SGD whose variable `applied` has the rate of update `k` at place `k`, on each device its own."""

    def build(self, variables: Any) -> None:
        if not self.built:
            self.applied = self.add_variable((MOST,), name="applied")
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        present = ops.equal(ops.arange(MOST, dtype="int32"), ops.cast(self.iterations, "int32"))
        rate = ops.cast(learning_rate, "float32")
        self.assign(self.applied, ops.where(present, rate, ops.convert_to_tensor(self.applied)))
        super().update_step(gradient, variable, learning_rate)

    @property
    def applied_by_device(self) -> list[list[float]]:
        """The rates of the updates that were made, by device."""
        value = self.applied.value
        copies = [value]
        if keras.config.backend() == "tensorflow" and hasattr(value, "values"):  # Of a strategy.
            copies = value.values
        elif keras.config.backend() == "jax":
            copies = [shard.data for shard in value.addressable_shards]
        made = int(ops.convert_to_numpy(self.iterations))
        return [np.asarray(ops.convert_to_numpy(each))[:made].tolist() for each in copies]
