"""SGDR, stochastic gradient descent with warm restarts, for Keras 3 (arXiv 1608.03983)."""

from keras_sgdr.callbacks import SGDR, CycleCallback, CycleEarlyStopping, SnapshotCheckpoint
from keras_sgdr.cycles import Cycle, Schedule, WarmRestarts
from keras_sgdr.ensembles import SnapshotEnsemble
from keras_sgdr.range_test import RangeTest, find_learning_rate
from keras_sgdr.schedules import SGDRSchedule
from keras_sgdr.step_decay import StepDecay

__all__ = [
    "SGDR",
    "Cycle",
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
