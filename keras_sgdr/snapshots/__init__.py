"""Snapshots of the weights at the ends of cycles, and ensembles of them."""

from keras_sgdr.snapshots.ensemble import SnapshotEnsemble
from keras_sgdr.snapshots.manifest import (
    FILES,
    MANIFEST,
    SUFFIX,
    Manifest,
    Snapshot,
    SnapshotError,
)
from keras_sgdr.snapshots.model_weights import architecture, weights_alone
from keras_sgdr.snapshots.processes import Processes, processes_of
from keras_sgdr.snapshots.scores import Mode, Report, Scores, higher_is_better, scores

__all__ = [
    "FILES",
    "MANIFEST",
    "SUFFIX",
    "Manifest",
    "Mode",
    "Processes",
    "Report",
    "Scores",
    "Snapshot",
    "SnapshotEnsemble",
    "SnapshotError",
    "architecture",
    "higher_is_better",
    "processes_of",
    "scores",
    "weights_alone",
]
