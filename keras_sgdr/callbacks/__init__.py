"""Callbacks, one a file."""

from keras_sgdr.callbacks.cycle_callback import CycleCallback, CycleEnd
from keras_sgdr.callbacks.early_stopping import CycleEarlyStopping
from keras_sgdr.callbacks.sgdr import SGDR
from keras_sgdr.callbacks.snapshots import SnapshotCheckpoint

__all__ = ["SGDR", "CycleCallback", "CycleEarlyStopping", "CycleEnd", "SnapshotCheckpoint"]
