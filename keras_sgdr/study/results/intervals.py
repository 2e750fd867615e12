"""Intervals and tests of the mean of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sgdr._optional import load
from keras_sgdr.schedules.exact import FloatArray

__all__ = ["CONFIDENCE", "COVERAGE", "corrected", "holm", "mean_and_sd", "tested", "two_one_sided_tests"]

CONFIDENCE = 0.95
# Of the bootstrap.
RESAMPLES, SEED = 9999, 0
# Per cent of the samples of so many independent normal values whose 95 % interval holds the mean; of ten, 90.
COVERAGE = {2: 51, 3: 72, 4: 80, 5: 84, 6: 86, 7: 87, 8: 88, 9: 89}


def tested(values: FloatArray) -> dict[str, float]:
    """The mean of paired differences, with its intervals and p."""
    (mean, sd), (low, high), (t_low, t_high, p) = mean_and_sd(values), _bootstrap(values), _t(values)
    intervals = {"low": low, "high": high, "t_low": t_low, "t_high": t_high}
    return {"n": len(values), "mean": mean, "sd": sd, **intervals, "p": p}


def corrected(rows: dict[Any, dict[str, float]]) -> dict[Any, dict[str, float]]:
    """The rows with `p_holm`."""
    p_values = holm([row["p"] for row in rows.values()])
    return {key: {**row, "p_holm": p} for (key, row), p in zip(rows.items(), p_values, strict=True)}


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that the chance of a single wrong rejection stays (Holm 1979).

    Args:
        p_values: Of all tests; NaN for one that could not be made, which does not count.

    Returns:
        In the same order, at most 1.
    """
    order = [index for index in np.argsort(p_values).tolist() if not math.isnan(p_values[index])]
    corrected, highest = [math.nan] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def mean_and_sd(values: FloatArray) -> tuple[float, float]:
    mean = float(values.mean()) if len(values) else math.nan
    return mean, float(values.std(ddof=1)) if len(values) > 1 else math.nan


def two_one_sided_tests(values: FloatArray, margin: float) -> tuple[float, float, float]:
    """Ends of the 90 % t interval of the mean, and the larger p of the tests against either end of the margin."""
    if len(values) < 2:
        return (math.nan,) * 3
    if np.ptp(values) == 0:  # As two schedules are until the first update that they do differently.
        return float(values[0]), float(values[0]), float(abs(values[0]) >= margin)
    test = load("scipy.stats", "A study").ttest_1samp
    interval = test(values, 0).confidence_interval(2 * CONFIDENCE - 1)
    p = max(test(values, -margin, alternative="greater").pvalue, test(values, margin, alternative="less").pvalue)
    return float(interval.low), float(interval.high), float(p)


def _bootstrap(values: FloatArray) -> tuple[float, float]:
    if len(values) < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:  # Every sample of equal values has the same mean.
        return float(values[0]), float(values[0])
    options = {"confidence_level": CONFIDENCE, "n_resamples": RESAMPLES, "method": "BCa", "rng": SEED}
    interval = load("scipy.stats", "A study").bootstrap((values,), np.mean, **options).confidence_interval
    return float(interval.low), float(interval.high)


def _t(values: FloatArray) -> tuple[float, float, float]:
    """Ends of the 95 % t interval of the mean, and p of the two-sided test that it is 0."""
    if len(values) < 2:
        return (math.nan,) * 3
    if np.ptp(values) == 0:  # See `two_one_sided_tests`.
        return float(values[0]), float(values[0]), float(values[0] == 0)
    test = load("scipy.stats", "A study").ttest_1samp(values, 0)
    interval = test.confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high), float(test.pvalue)
