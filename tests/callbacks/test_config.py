"""The callback as a config, and back."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, StepDecay
from tests.callbacks.probe import EPOCHS, STEPS


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"T_0": 0.5, "T_mult": 1.5, "eta_max": 0.3, "eta_min": 0.1, "verbose": 1, "per": "epoch"},
        {"T_0": "1/3", "eta_max": [0.3, 0.2], "cycles": 3, "end": "inclusive", "steps_per_epoch": 5, "warmup": 1},
        {"eta_max_decay": 0.5, "eta_min_decay": 0.1},
        {"schedule": StepDecay(0.2, step_size=3)},
    ],
    ids=str,
)
def test_round_trip(options: dict[str, Any]) -> None:
    callback = SGDR(**options)
    serialized = keras.saving.serialize_keras_object(callback)
    again = keras.saving.deserialize_keras_object(serialized)
    assert isinstance(again, SGDR)
    assert again.get_config() == callback.get_config()
    assert (again.per, again.verbose, again.steps_per_epoch) == (
        callback.per,
        callback.verbose,
        callback.steps_per_epoch,
    )
    ours, theirs = (one.schedule_for(0.5).learning_rates(EPOCHS, STEPS) for one in (callback, again))
    np.testing.assert_array_equal(ours, theirs)


def test_all_options_are_in_it() -> None:
    assert set(SGDR().get_config()) | {"schedule"} == set(SGDR.__init__.__annotations__) - {"return"}
