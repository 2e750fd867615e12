"""Level L4: do many seeds reach the same in Keras and in PyTorch?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity_tests.training.seeds import ALPHA, ARMS, CYCLE_ENDS, RESULT, SEEDS, conclude, olympic_mean, reached, tost


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return dict(json.loads(RESULT.read_text()))


def assert_equivalent(result: dict[str, Any]) -> None:
    equivalence = result["equivalence"]
    assert equivalence["keras"]["p"] < ALPHA
    low, high = equivalence["keras"]["interval"]
    assert -equivalence["margin"] < low <= high < equivalence["margin"]
    # The control: BatchNorm's momentum unconverted is not shown to be equivalent.
    assert equivalence["keras_control"]["p"] > ALPHA


def test_the_committed_result_says_equivalent_and_its_control_does_not(committed: dict[str, Any]) -> None:
    assert_equivalent(committed)
    assert all(committed["arms"][f"{arm}/{end}"]["n"] >= SEEDS >= 12 for arm in ARMS for end in CYCLE_ENDS)


def test_the_committed_statistics_are_those_of_the_committed_values(committed: dict[str, Any]) -> None:
    for part, statistics in conclude(committed["values"]).items():
        assert json.loads(json.dumps(statistics)) == committed[part], part


@pytest.mark.hours
def test_the_seeds_again(tmp_path: Path, inputs: str) -> None:
    values = reached(tmp_path, inputs)
    values.pop("versions")
    assert_equivalent(conclude(values))


def test_a_difference_beyond_the_margin_is_not_equivalent() -> None:
    difference = np.random.default_rng(0).normal(0, 0.1, 12)
    assert tost(difference, 0.5) < ALPHA
    assert tost(difference + 1, 0.5) > 0.99


def test_the_olympic_mean_leaves_out_the_extremes() -> None:
    assert olympic_mean(np.array([9.0, 1, 2, 3, -5])) == 2
