"""Which libraries are right at every restart, on a few cases; `python -m parity_tests.incumbents` has them all."""

from __future__ import annotations

import pytest

from parity_tests.incumbents.adapters import INCUMBENTS
from parity_tests.incumbents.comparison import Result, compare, installed, markdown
from parity_tests.rates.cases import RATE_CASES

NAMES = {"equal_1", "double_10", "triple_1", "triple_2", "half_more", "halving", "12_cycles"}


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    return {
        result.name: result for result in compare([case.shortened(20_000) for case in RATE_CASES if case.name in NAMES])
    }


def test_ours(results: dict[str, Result]) -> None:
    for name, error in (("keras_sgdr WarmRestarts", 0.0), ("keras_sgdr SGDRSchedule", 2.0**-24)):
        ours = results[name]
        assert (ours.cases, ours.cannot, ours.wrong, ours.no_number) == (len(NAMES), {}, [], 0)
        assert ours.error <= error  # Equal; rounded to float32, half a unit in the last place of at most eta_max.


def test_keras_misses_restarts(results: dict[str, Result]) -> None:
    keras = results["Keras CosineDecayRestarts"]
    assert {("double_10", 81910), ("double_10", 327670)} <= set(keras.wrong)
    # Compiled, it divides by multiplying with a rounded reciprocal: 61 / 61 is below 1.
    assert ("equal_1", 61) in keras.wrong
    assert keras.no_number > 0  # Where cycles shrink.


def test_pytorch(results: dict[str, Result]) -> None:
    assert results["PyTorch step()"].wrong == []
    assert {("triple_1", 121), ("triple_2", 242)} <= set(results["PyTorch step(epoch)"].wrong)


def test_every_library_is_listed(results: dict[str, Result]) -> None:
    table = markdown(list(results.values()))
    for incumbent in INCUMBENTS:
        assert incumbent.name in table
        assert (results[incumbent.name].versions is not None) == installed(incumbent)
        assert not installed(incumbent) or results[incumbent.name].restarts > 50
    assert "not installed" in markdown([Result("another", None)])
