"""Copies of callbacks, which tuners make for each trial and scikit-learn for each fold."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_sgdr import SGDR, CycleEarlyStopping, SnapshotCheckpoint
from tests.support.probe import Raise, fit, planned, probe
from tests.support.snapshots import whole_files

COPIES = [copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))]


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
def test_a_copy_trains_by_itself(copied: Callable[[Any], Any], tmp_path: Path) -> None:
    sgdr = SGDR(1, 2)
    callbacks = [sgdr, SnapshotCheckpoint(tmp_path, sgdr), CycleEarlyStopping("loss", patience=9, sgdr=sgdr)]
    fresh = copied(callbacks)
    np.testing.assert_array_equal(fit(probe(), *fresh), planned())
    assert len(whole_files(tmp_path)) == 2
    assert sgdr.rates.size == 0
    again = copied(fresh)
    np.testing.assert_array_equal(again[0].rates, planned())
    np.testing.assert_array_equal(fit(probe(), again[0]), planned())
    with pytest.raises(ValueError, match=r"Each trial of a search and each fold of a cross-validation needs a folder"):
        fit(probe(), *again)


def test_what_a_fit_under_sgdr_has_left_by_an_exception_is_copied_once_that_is_ended() -> None:
    sgdr = SGDR(1, 2)
    with pytest.raises(KeyboardInterrupt):
        fit(probe(), sgdr, Raise("on_epoch_end"))
    with pytest.raises(
        TypeError, match=r"cannot be copied. Received: a copy in .* call `on_train_end\(\)` of the `SGDR`"
    ):
        copy.deepcopy(sgdr)
    sgdr.on_train_end()
    np.testing.assert_array_equal(fit(probe(), copy.deepcopy(sgdr)), planned())
