"""The table of a study: a row a schedule, seed and epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr.callbacks.position import cycles_of
from keras_sgdr.cycles import Schedule
from keras_sgdr.study.packages import load
from keras_sgdr.study.records import Record

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["table_of"]

_KINDS = {
    "schedule": "str",
    "seed": "int64",
    "epoch": "int64",
    "rate": "float64",
    "loss": "float64",
    "accuracy": "float64",
    "val_loss": "float64",
    "val_accuracy": "float64",
    "cycle": "int64",
    "cycle_end": "bool",
}


def table_of(records: Iterable[Record], schedules: Mapping[str, Schedule], epochs: int, steps: int) -> DataFrame:
    """The rows of these runs, in the order of the schedules, then of seed and epoch; see `Study.results`.

    Args:
        records: Runs that are done; those of other schedules are left out.
        schedules: By name.
        epochs: Of a run.
        steps: Updates in an epoch.
    """
    pandas = load("pandas")
    positions = {name: _positions(schedule, epochs, steps) for name, schedule in schedules.items()}
    order = list(schedules)
    chosen = sorted(
        (one for one in records if one.schedule in positions), key=lambda one: (order.index(one.schedule), one.seed)
    )
    columns: dict[str, list[Any]] = {name: [] for name in _KINDS}
    for record in chosen:
        values: dict[str, Iterable[Any]] = {
            "schedule": [record.schedule] * epochs,
            "seed": [record.seed] * epochs,
            "epoch": range(1, epochs + 1),
            **positions[record.schedule],
            **record.metrics,
        }
        for name, column in columns.items():
            column.extend(values[name])
    return pandas.DataFrame(columns).astype(_KINDS)


def _positions(schedule: Schedule, epochs: int, steps: int) -> dict[str, list[Any]]:
    """Rate and cycle of each epoch's last update, and whether a cycle ends with it."""
    ends = schedule.cycle_ends(epochs)
    return {
        "rate": list(np.asarray(schedule.learning_rates(epochs, steps))[steps - 1 :: steps]),
        "cycle": [[cycle.index for cycle, _ in cycles_of(schedule, epoch, steps)][-1] for epoch in range(epochs)],
        "cycle_end": [epoch in ends for epoch in range(1, epochs + 1)],
    }
