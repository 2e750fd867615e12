"""The callback as a config, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, Cycle, Schedule, StepDecay, WarmRestarts
from tests.support.probe import fit, probe


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"T_0": 0.5, "T_mult": 1.5, "eta_max": 0.3, "eta_min": 0.1, "verbose": 1, "per": "epoch"},
        {"T_0": "1/3", "eta_max": [0.3, 0.2], "cycle_limit": 3, "end": "inclusive", "steps_per_epoch": 5, "warmup": 1},
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


@pytest.mark.parametrize(
    "options",
    [
        {"T_0": 1, "T_mult": 2, "eta_min": 0.01},
        {"eta_max": 0.3, "cycle_limit": 2},
        {"T_mult": 1, "warmup": 1, "end": "inclusive"},
    ],
    ids=str,
)
def test_sgdr_is_sgdr_with_a_schedule_of_the_same_arguments(options: dict[str, Any]) -> None:
    ours, theirs = (fit(probe(), callback) for callback in (SGDR(**options), SGDR(schedule=WarmRestarts(**options))))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("cycle_limit", "T_mult", "first"), [(None, 2, 1), (2, 1, 3.5), (1, 2, 7)])
def test_without_T_0_the_cycles_fill_the_epochs(cycle_limit: int | None, T_mult: int, first: float) -> None:
    callback = SGDR(T_mult=T_mult, cycle_limit=cycle_limit)
    fit(probe(), callback, epochs=7)
    assert [row["complete"] for row in callback.cycles] == [True] * (cycle_limit or 3)
    assert (callback.cycles[0]["length"], callback.cycles[-1]["last_epoch"]) == (first, 6)


def test_all_options_are_in_it() -> None:
    assert set(SGDR().get_config()) | {"schedule", "optimizer"} == set(SGDR.__init__.__annotations__) - {"return"}


class Wrong(Schedule):
    """A schedule of a user's own whose rates are all the same."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, t: Any) -> Any:
        return np.full(np.shape(t), self.rate)

    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        return iter(())


@pytest.mark.parametrize("rate", [np.nan, np.inf, -0.1])
def test_rates_that_cannot_be_applied_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"A schedule must return finite rates, 0 or more\. Received: schedule="):
        fit(probe(), SGDR(schedule=Wrong(rate)))


def test_the_schedule_before_and_after_a_fit() -> None:
    callback = SGDR(cycle_limit=2)
    assert callback.schedule == WarmRestarts(cycle_limit=2)
    fit(probe(), callback)
    assert callback.schedule == WarmRestarts(1, 2, 0.1, cycle_limit=2)


def test_an_array_of_rates_beside_a_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="takes the place of the values of the cycles, such as eta_max"):
        SGDR(eta_max=np.array([0.1, 0.2]), schedule=StepDecay(0.1))  # type: ignore[arg-type]
