"""Statistics of tables whose answers are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats

from keras_sgdr.study.results import statistics
from keras_sgdr.study.results.intervals import COVERAGE, holm
from keras_sgdr.study.results.report import summarize
from tests.support.synthetic_table import SCHEDULES, plausible, table

NAN, INF = math.nan, math.inf

# Two seeds of each; "cycles" ends a cycle after epochs 2 and 4, the table after epoch 5.
SMALL = {
    "baseline": [[5.0, 4.0, 3.0, 2.0, 1.0], [7.0, 6.0, 3.0, 4.0, 5.0]],
    "cycles": [[5.0, 3.0, 4.0, 1.5, 2.0], [7.0, 3.0, 6.0, 1.5, 2.0]],
}
ENDS = {"cycles": [2, 4]}


def row(found: DataFrame, *key: Any) -> dict[str, float]:
    values: dict[str, float] = found.loc[key if len(key) > 1 else key[0]].to_dict()
    return values


def test_mean_and_sd_are_of_the_seeds_at_each_epoch() -> None:
    found = statistics.spread(table(SMALL, ENDS))
    assert list(found.index) == [(name, epoch) for name in SMALL for epoch in range(1, 6)]
    # SD of two values: their distance over the root of 2.
    assert row(found, "baseline", 1) == {"n": 2, "not_finite": 0, "mean": 6.0, "sd": pytest.approx(math.sqrt(2))}
    assert row(found, "cycles", 5) == {"n": 2, "not_finite": 0, "mean": 2.0, "sd": 0.0}


def test_other_metrics_are_other_columns() -> None:
    found = statistics.spread(table({"one": [[0.25]]}, {}), "val_accuracy")
    assert found.loc[("one", 1), "mean"] == 0.75


def test_values_that_are_not_finite_are_counted_and_enter_no_mean() -> None:
    found = statistics.spread(table({"one": [[1.0, 1.0], [3.0, NAN], [5.0, INF], [5.0, NAN]]}, {}))
    assert row(found, "one", 1) == {"n": 4, "not_finite": 0, "mean": 3.5, "sd": pytest.approx(math.sqrt(11 / 3))}
    first, *others = row(found, "one", 2).values()
    assert (first, *others[:2]) == (1, 3, 1.0)
    assert math.isnan(others[2])


def test_schedules_are_compared_where_any_ends_a_cycle_and_at_the_end() -> None:
    assert statistics.compared_epochs(table(SMALL, ENDS)) == [2, 4, 5]
    assert statistics.compared_epochs(table(SMALL, {})) == [5]


def test_differences_are_paired_by_seed() -> None:
    found = statistics.differences(table(SMALL, ENDS))
    assert list(found.index) == [("cycles", 2), ("cycles", 4), ("cycles", 5)]
    # Differences by seed: -1 and -3; -0.5 and -2.5; 1 and -3.
    assert found["mean"].tolist() == [-2.0, -1.5, -1.0]
    assert found["sd"].tolist() == pytest.approx([math.sqrt(2), math.sqrt(2), math.sqrt(8)])
    assert found[["n", "missing"]].values.tolist() == [[2, 0]] * 3


def test_differences_to_another_baseline_have_the_other_sign() -> None:
    there, back = (statistics.differences(table(SMALL, ENDS), name) for name in SMALL)
    assert (back["mean"].to_numpy() == -there["mean"].to_numpy()).all()
    assert set(back.index.get_level_values("schedule")) == {"baseline"}


def test_intervals_are_those_of_scipy_and_always_the_same() -> None:
    random = np.random.default_rng(0)
    base, other = random.normal(0, 1, (2, 20))
    results = table({"baseline": [[value] for value in base], "other": [[value] for value in other]}, {})
    found = row(statistics.differences(results), "other", 1)
    expected = stats.bootstrap((other - base,), np.mean, method="BCa", rng=0).confidence_interval
    assert (found["low"], found["high"]) == (expected.low, expected.high)
    assert found["low"] < found["mean"] < found["high"]
    student = stats.ttest_rel(other, base)
    expected = student.confidence_interval()
    assert (found["t_low"], found["t_high"], found["p"]) == pytest.approx((expected.low, expected.high, student.pvalue))
    # The pairs matter and not the order of the seeds' rows.
    shuffled = results.sample(frac=1, random_state=0)
    again = row(statistics.differences(shuffled, "baseline"), "other", 1)
    assert again["mean"] == pytest.approx(found["mean"], rel=1e-12)


def test_interval_holds_the_mean_as_often_as_the_notes_say() -> None:
    random = np.random.default_rng(0)
    for n, per_cent in COVERAGE.items():
        samples = random.normal(0, 1, (1000, n))
        found = stats.bootstrap((samples,), np.mean, axis=1, n_resamples=999, batch=100, rng=0).confidence_interval
        held = np.mean((found.low <= 0) & (found.high >= 0))
        # Three binomial standard errors of 1000 samples are at most 0.05; `per_cent` is rounded.
        assert held == pytest.approx(per_cent / 100, abs=0.05)


def test_equal_runs_differ_by_exactly_nothing() -> None:
    found = statistics.differences(table({"baseline": [[1.0], [2.0]], "same": [[1.0], [2.0]]}, {}))
    expected = {"n": 2, "missing": 0, "mean": 0.0, "sd": 0.0, "low": 0.0, "high": 0.0, "t_low": 0.0, "t_high": 0.0}
    assert row(found, "same", 1) == expected | {"p": 1.0, "p_holm": 1.0}


def test_pairs_without_two_finite_values_are_counted() -> None:
    results = table({"baseline": [[1.0], [NAN], [1.0], [1.0]], "other": [[2.0], [2.0], [INF], [4.0]]}, {})
    found = row(statistics.differences(results), "other", 1)
    assert (found["n"], found["missing"], found["mean"]) == (2, 2, 2.0)
    failed = results[(results["schedule"] == "baseline") | (results["seed"] == 0)]
    found = row(statistics.differences(failed), "other", 1)
    assert (found["n"], found["missing"], found["mean"]) == (1, 3, 1.0)
    assert math.isnan(found["sd"])
    assert math.isnan(found["low"])


def test_epochs_to_a_target_count_the_runs_that_never_reach_it() -> None:
    results = table({"one": [[3.0, 2.0, 1.0], [2.0, 3.0, 3.0], [3.0, 3.0, NAN]], "never": [[3.0, 3.0, 3.0]] * 3}, {})
    found = statistics.epochs_to(results, 2.0)
    # Reached after 2 epochs, after 1, and never.
    assert found[["n", "reached", "median"]].values.tolist() == [[3, 2, 2.0], [3, 0, INF]]
    assert found["low"].isna().all()
    # An accuracy is reached from below: 1 - 2.
    assert statistics.epochs_to(results, -1.0, "val_accuracy").equals(found)


def test_interval_of_a_median_is_that_of_order_statistics() -> None:
    # Of 20 runs, the sixth and the fifteenth: the binomial probability of less than 6 of 20 is 0.021.
    runs = [[*[1.0] * epoch, 0.0, *[1.0] * (19 - epoch)] for epoch in range(20)]
    found = row(statistics.epochs_to(table({"one": runs}, {}), 0.5), "one")
    assert (found["low"], found["median"], found["high"]) == (6.0, 11.0, 15.0)
    assert stats.binom.cdf(5, 20, 0.5) < 0.025 < stats.binom.cdf(6, 20, 0.5)


def test_best_epochs_are_of_each_run_and_of_the_mean() -> None:
    found = statistics.best(table({"one": [[3.0, 1.0, 2.0, NAN], [4.0, 4.0, 2.5, NAN], [NAN] * 4]}, {}))
    # Best after 2 and 3 epochs, at 1 and 2.5; means 3.5, 2.5, 2.25.
    expected = {"n": 2, "epoch": 2.5, "epoch_sd": math.sqrt(0.5), "value": 1.75, "value_sd": math.sqrt(1.125)}
    assert row(found, "one") == pytest.approx(expected | {"mean_epoch": 3, "mean_value": 2.25})
    rising = statistics.best(table(SMALL, ENDS), "val_accuracy")
    assert row(rising, "cycles") == pytest.approx(
        {"n": 2, "epoch": 4, "epoch_sd": 0, "value": -0.5, "value_sd": 0, "mean_epoch": 4, "mean_value": -0.5}
    )


def test_runs_without_any_finite_value_have_no_best() -> None:
    found = row(statistics.best(table({"one": [[NAN, NAN]]}, {})), "one")
    assert found.pop("n") == 0
    assert all(map(math.isnan, found.values()))


def test_best_so_far_never_rises_and_survives_divergence() -> None:
    results = table({"one": [[3.0, 1.0, 2.0], [5.0, NAN, INF], [NAN, 4.0, 3.0]]}, {})
    found = statistics.best_so_far(results)
    expected = [[3.0, 1.0, 1.0], [5.0, 5.0, 5.0], [NAN, 4.0, 3.0]]
    np.testing.assert_array_equal(found["val_loss"].to_numpy().reshape(3, 3), expected)
    rising = statistics.best_so_far(results, "val_accuracy")
    np.testing.assert_array_equal(rising["val_accuracy"].to_numpy().reshape(3, 3), 1 - np.array(expected))
    assert results["val_loss"].isna().sum() == 2  # The table itself is left as it was.


def test_equivalence_is_shown_exactly_where_the_interval_lies_within_the_margin() -> None:
    random = np.random.default_rng(1)
    base = random.normal(0, 1, 12)
    results = table(
        {
            "baseline": [[value] for value in base],
            "near": [[value] for value in base + random.normal(0.02, 0.05, 12)],
            "far": [[value] for value in base + random.normal(0.1, 0.05, 12)],
            "same": [[value] for value in base],
        },
        {},
    )
    found = statistics.equivalence(results, margin=0.1)
    within = (found["low"] > -0.1) & (found["high"] < 0.1)
    assert within.tolist() == (found["p"] < 0.05).tolist() == [True, False, True]
    near = row(found, "near", 1)
    paired = results[results["schedule"] == "near"]["val_loss"].to_numpy() - base
    expected = stats.ttest_1samp(paired, 0).confidence_interval(0.9)
    assert (near["low"], near["high"]) == pytest.approx((expected.low, expected.high))
    assert row(found, "same", 1) == {"n": 12, "missing": 0, "mean": 0, "low": 0, "high": 0, "p": 0}


@pytest.mark.parametrize("margin", [0, -1.0, NAN, True])
def test_margin_must_be_positive(margin: float) -> None:
    with pytest.raises(ValueError, match=r"`margin` must be a finite positive number\. Received: margin=.*Pass the"):
        statistics.equivalence(table(SMALL, ENDS), margin)


def test_unknown_baseline_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"baseline='steps'\. Pass one of: baseline; cycles\."):
        summarize(table(SMALL, ENDS), "steps")


def test_empty_table_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"The table must have a run\. .*look at its failures"):
        summarize(table(SMALL, ENDS).iloc[:0])


def test_one_schedule_has_nothing_to_differ_from() -> None:
    one = table({"baseline": SMALL["baseline"]}, {})
    with pytest.raises(ValueError, match=r"a schedule beside the baseline\. Received: schedules=\['baseline'\]"):
        statistics.differences(one)
    assert len(summarize(one, margin=1).tables) == 2


def test_p_values_are_corrected_for_their_number() -> None:
    # By hand: the least of four times 4, the next at least as much and times 3, and so on; NaN is no test.
    assert holm([0.01, 0.04, NAN, 0.03, 0.005]) == pytest.approx([0.03, 0.06, NAN, 0.06, 0.02], nan_ok=True)
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    found = statistics.differences(plausible(SCHEDULES, 100, 5))
    assert found["p_holm"].tolist() == pytest.approx(holm(found["p"].tolist()))
    assert (found["p_holm"] >= found["p"]).all()


def test_holm_rejects_no_true_hypothesis_in_95_of_100_cases() -> None:
    random = np.random.default_rng(0)
    p_values = stats.ttest_1samp(random.normal(0, 1, (1000, 6, 5)), 0, axis=2).pvalue
    wrong = np.mean([min(holm(row.tolist())) < 0.05 for row in p_values])
    uncorrected = np.mean(p_values.min(axis=1) < 0.05)
    # Of 1000 cases three binomial standard errors are 0.02.
    assert wrong == pytest.approx(0.05, abs=0.02)
    assert uncorrected > 0.2


def test_differences_where_a_schedule_ends_a_cycle_itself() -> None:
    found = statistics.differences(plausible(SCHEDULES, 100, 3), own_ends=True)
    assert list(found.index) == [
        *(("SGDR (10, 2)", epoch) for epoch in (10, 30, 70, 100)),
        ("one cosine", 100),
        ("constant", 100),
    ]


def test_gains_of_ensembles_are_paired_with_their_last_members() -> None:
    columns = ["schedule", "seed", "epoch", "members", "val_loss", "last_val_loss"]
    rows = [("SGDR", seed, epoch, epoch, 1.0 - 0.1 * seed, 1.5 + epoch) for seed in (0, 1) for epoch in (1, 2)]
    found = statistics.ensemble_gains(DataFrame(rows, columns=columns))
    assert list(found.index) == [("SGDR", 2)]
    gain = row(found, "SGDR", 2)
    assert (gain["members"], gain["n"], gain["last"]) == (2, 2, 3.5)
    assert (gain["value"], gain["mean"]) == pytest.approx((0.95, -2.55))


def test_summary_states_every_number_with_its_interval_and_n() -> None:
    results = plausible(SCHEDULES, 100, 20)
    summary = summarize(results, target=0.25, margin=0.05)
    found = row(statistics.differences(results, own_ends=True), "SGDR (10, 2)", 30)
    t, bootstrap = (f"[{found[f'{kind}low']:+.4f}, {found[f'{kind}high']:+.4f}]" for kind in ("t_", ""))
    compared = summary.tables[2]
    assert compared.title == "val_loss: difference to step decay (60, 0.1)"
    by_key = {row[:2]: row[2:] for row in compared.rows}
    assert list(by_key) == [
        *(("SGDR (10, 2)", epoch) for epoch in ("10", "30", "70", "100, in mid-cycle")),
        ("one cosine", "100"),
        ("constant", "100"),
    ]
    assert by_key["SGDR (10, 2)", "30"][:4] == ("20", f"{found['mean']:+.4f}", t, bootstrap)
    for shown in (str(summary), summary.markdown(), summary.html()):
        assert t in shown
        assert summary.headline in " ".join(shown.split())
        assert "20 seeds. Differences are paired by seed" in shown
        assert "too narrow" not in shown
    assert "Epochs to a val_loss of 0.25" in str(summary)
    assert "TOST with a margin of 0.05" in str(summary)


def test_the_headline_is_the_first_schedule_at_its_last_end_of_a_cycle_and_at_the_end() -> None:
    losses = {
        "steps": [[2.0, 1.0, 2.0], [2.5, 1.5, 1.0], [2.2, 1.1, 1.5]],
        "cycles": [[2.0, 0.8, 1.0], [2.5, 1.2, 2.0], [2.2, 0.9, 1.5]],
    }
    found = statistics.differences(table(losses, {"cycles": [2]}), own_ends=True)
    places = 3
    (low, high), (low_3, high_3) = (
        [f"{row(found, 'cycles', epoch)[name]:+.{places}f}" for name in ("t_low", "t_high")] for epoch in (2, 3)
    )
    assert summarize(table(losses, {"cycles": [2]})).headline == (
        "After 3 epochs, steps has the lowest mean validation loss (1.500); the 95 % t interval of the difference to "
        "steps excludes 0 for none. cycles against steps, 3 paired seeds: its validation loss is after 2 epochs lower "
        f"(-0.233, 95 % t interval {low} to {high}); after 3 epochs, in mid-cycle, not told apart "
        f"(+0.000, 95 % t interval {low_3} to {high_3})."
    )
    assert summarize(table({"steps": losses["steps"]}, {})).headline == ""


def test_summary_says_what_is_missing() -> None:
    losses = {"baseline": [[2.0, 1.0], [2.5, 1.5], [2.2, 1.1]], "other": [[2.0, NAN], [2.0, 1.2], [2.0, 1.3]]}
    results = table(losses, {"other": [1]})
    summary = summarize(results[(results["schedule"] != "other") | (results["seed"] != 2)])
    assert [row[:3] for row in summary.tables[2].rows] == [("other", "1", "2"), ("other", "2, in mid-cycle", "1")]
    notes = "\n".join(summary.notes)
    assert "A bootstrap of 3 values is too narrow: of normal ones, its 95 % interval holds the mean in 72 %" in notes
    assert "other: 1 of 3 seeds have no run, and no pair." in notes
    assert "other: 1 of 2 runs have values that are not finite." in notes


def test_one_seed_claims_nothing() -> None:
    summary = summarize(plausible(SCHEDULES, 30, 1), margin=0.1)
    assert summary.notes[0] == "One seed: there is no SD and no interval, and nothing is claimed."
    text = str(summary)
    assert "±" not in text.partition("\n")[2]
    assert "[" not in text
    assert "yes" not in text
