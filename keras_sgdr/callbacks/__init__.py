"""Callbacks for `fit`, one class per file."""

from keras_sgdr.callbacks.cycle_average import CycleAverage
from keras_sgdr.callbacks.cycle_callback import CycleCallback, CycleEnd
from keras_sgdr.callbacks.early_stopping import CycleEarlyStopping
from keras_sgdr.callbacks.sgdr import SGDR
from keras_sgdr.callbacks.snapshot_checkpoint import SnapshotCheckpoint

__all__ = ["SGDR", "CycleAverage", "CycleCallback", "CycleEarlyStopping", "CycleEnd", "SnapshotCheckpoint"]
