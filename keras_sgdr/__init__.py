"""SGDR, stochastic gradient descent with warm restarts, for Keras 3 (arXiv 1608.03983)."""

from keras_sgdr._optional import import_keras, is_command_line

if not is_command_line():
    import_keras()
    from keras_sgdr.callbacks import SGDR, CycleAverage, CycleCallback, CycleEarlyStopping, SnapshotCheckpoint
    from keras_sgdr.range_test import RangeTest, find_learning_rate
    from keras_sgdr.schedules import Cycle, Schedule, SGDRSchedule, StepDecay, WarmRestarts
    from keras_sgdr.snapshots import SnapshotEnsemble

__all__ = [
    "SGDR",
    "Cycle",
    "CycleAverage",
    "CycleCallback",
    "CycleEarlyStopping",
    "RangeTest",
    "SGDRSchedule",
    "Schedule",
    "SnapshotCheckpoint",
    "SnapshotEnsemble",
    "StepDecay",
    "WarmRestarts",
    "find_learning_rate",
]

__version__ = "0.1.0"
