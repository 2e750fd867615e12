"""L4: over many seeds Keras reaches what PyTorch reaches at the end of a cycle. The committed result, and it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity_tests.seeds import ALPHA, MARGIN, RESULT, SEEDS, conclude, reached, tost


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """The committed result."""
    found: dict[str, Any] = json.loads(RESULT.read_text())
    return found


def assert_equivalent(conclusion: dict[str, Any]) -> None:
    assert min(arm["n"] for arm in conclusion["arms"].values()) >= 12
    assert conclusion["equivalence"]["keras"]["p"] < ALPHA
    # The control's difference is not inside of the margin, on the same seeds and the same test.
    assert conclusion["equivalence"]["keras_control"]["p"] >= ALPHA


def test_committed_result(result: dict[str, Any]) -> None:
    assert_equivalent(result)


def test_conclusion_follows_from_the_values(result: dict[str, Any]) -> None:
    assert result["equivalence"]["margin_in_sd"] == MARGIN
    assert len(result["values"]["keras/second/loss"]) == SEEDS
    for name, part in conclude(result["values"]).items():
        # Another version of SciPy may round otherwise.
        assert flat(result[name]) == pytest.approx(flat(part), rel=1e-6, abs=1e-12)


def flat(tree: Any, path: str = "") -> dict[str, float]:
    if isinstance(tree, dict):
        return {k: v for name, part in tree.items() for k, v in flat(part, f"{path}/{name}").items()}
    if isinstance(tree, list):
        return flat(dict(enumerate(tree)), path)
    return {path: float(tree)}


@pytest.mark.parametrize(("shift", "equivalent"), [(0.0, True), (2.0, False), (-2.0, False)])
def test_tost(shift: float, equivalent: bool) -> None:
    # 12 differences of mean 0 and SD 1, moved by a part of the margin.
    values = np.random.default_rng(0).normal(size=12)
    values = (values - values.mean()) / values.std(ddof=1)
    assert (tost(values + shift * MARGIN, MARGIN) < ALPHA) == equivalent


@pytest.mark.slow
def test_anew(folder: Path, inputs: dict[str, Any]) -> None:
    values = reached(folder, inputs)
    values.pop("versions")
    assert_equivalent(conclude(values))
