"""What a study trains, and the table it makes of it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from keras_sgdr import Schedule, StepDecay, WarmRestarts
from keras_sgdr.data.augment import center_crop, resized_crop_flip
from keras_sgdr.study import Study, compared_schedules, tuning_schedules
from keras_sgdr.study.worker import trainer_of
from tests.callbacks.probe import Probe, gradient_is_target
from tests.study.nets import (
    BATCH,
    EPOCHS,
    STEPS,
    Array,
    compiled,
    image_model,
    image_study,
    point_model,
    point_study,
    points,
)

SGDR_1_2 = WarmRestarts(1, 2, 0.1)


def table(study: Study) -> pd.DataFrame:
    study.run(progress=False)
    return study.results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Of the default schedules and two seeds."""
    return table(image_study(tmp_path_factory.mktemp("study")))


def test_the_table_has_a_row_a_schedule_seed_and_epoch(results: pd.DataFrame) -> None:
    assert list(results) == [
        "schedule", "seed", "epoch", "rate", "loss", "accuracy", "val_loss", "val_accuracy", "cycle", "cycle_end"
    ]  # fmt: skip
    schedules = compared_schedules(0.1, EPOCHS)
    rows = [(name, seed, epoch) for name in schedules for seed in (0, 1) for epoch in range(1, EPOCHS + 1)]
    assert list(results[["schedule", "seed", "epoch"]].itertuples(index=False, name=None)) == rows
    for name, schedule in schedules.items():
        found = results[(results["schedule"] == name) & (results["seed"] == 0)]["rate"]
        np.testing.assert_array_equal(found, schedule.learning_rates(EPOCHS, STEPS)[STEPS - 1 :: STEPS])
    assert np.isfinite(results.drop(columns="schedule").to_numpy(dtype=float)).all()


def test_the_table_says_which_cycle_an_epoch_is_of_and_whether_it_ends(tmp_path: Path) -> None:
    schedules = {"SGDR (1, 2)": SGDR_1_2, "half": WarmRestarts(0.5, 1, 0.1), "constant": StepDecay(0.1, gamma=1)}
    found = table(point_study(tmp_path, schedules=schedules, seeds=1))
    assert found["cycle"].tolist() == [0, 1, 1, 1, 3, 5, 0, 0, 0]
    assert found["cycle_end"].tolist() == [True, False, True, True, True, True, False, False, False]


def by_hand(study: Study, schedule: Any, seed: int) -> list[list[float]]:
    """The run in Keras's plainest way: batches made in NumPy, the rate set before each."""
    model = study.build(seed)
    ((x, y), (x_val, y_val)) = study.data
    rates = iter(schedule.learning_rates(study.epochs, study.steps))
    model.compile(model.optimizer, loss=model.loss, metrics=["accuracy"], jit_compile=False)
    rows = []
    for epoch in range(study.epochs):
        order, draws = study.batches(seed, epoch)
        images = ops.convert_to_numpy(resized_crop_flip(x[order], 8, ops.convert_to_tensor(draws)))
        trained = np.zeros(2)
        for begin in range(0, len(order), study.batch_size):
            model.optimizer.learning_rate = next(rates)
            part = slice(begin, begin + study.batch_size)
            metrics = model.train_on_batch(images[part], y[order][part])
            trained += len(order[part]) * np.array([float(value) for value in metrics])
        rows.append(
            [*trained / len(order), *model.evaluate(ops.convert_to_numpy(center_crop(x_val, 8)), y_val, verbose=0)]
        )
    return [[float(value) for value in row] for row in rows]


def test_a_run_is_what_keras_does_by_hand(tmp_path: Path) -> None:
    # Without dropout, whose numbers on PyTorch are the process's own.
    study = image_study(tmp_path, model_fn=partial(image_model, dropout=0.0), schedules={"SGDR (1, 2)": SGDR_1_2})
    results = table(study)
    for seed in (0, 1):
        rows = results.loc[results["seed"] == seed, ["loss", "accuracy", "val_loss", "val_accuracy"]]
        # float32, and the crops of an epoch are computed in one go here, of a batch there.
        np.testing.assert_allclose(rows, by_hand(study, SGDR_1_2, seed), rtol=1e-4)


def test_a_run_is_the_same_alone_as_after_others(results: pd.DataFrame, tmp_path: Path) -> None:
    alone = table(image_study(tmp_path, seeds=[1], schedules={"constant": compared_schedules(0.1, EPOCHS)["constant"]}))
    rows = results[(results["schedule"] == "constant") & (results["seed"] == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, alone, check_exact=True)


class Recorder(keras.layers.Layer):
    """Keeps the batches that it saw in training."""

    def build(self, shape: Any) -> None:
        self.seen = self.add_weight(shape=(EPOCHS * 2, BATCH, shape[-1]), trainable=False, initializer="zeros")
        self.count = self.add_weight(shape=(), trainable=False, initializer="zeros", dtype="int32")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.seen.assign(ops.slice_update(self.seen.value, (self.count.value, 0, 0), x[None]))
            self.count.assign(self.count + 1)
        return x


def test_for_a_seed_every_schedule_starts_from_the_same_weights_and_sees_the_same(tmp_path: Path) -> None:
    def model_fn() -> Any:
        return compiled([keras.Input((27,)), Recorder(name="recorder"), keras.layers.Dense(2, name="head")])

    (x, y), val = points()
    x, y = x[: 2 * BATCH], y[: 2 * BATCH]
    options: dict[str, Any] = {
        "augment": lambda batch, draws: ops.concatenate([batch, draws], axis=1),
        "prepare": lambda batch: ops.pad(batch, [[0, 0], [0, 23]]),
        # Rates so small that no weight moves.
        "schedules": {"one": StepDecay(1e-30), "other": WarmRestarts(1, 2, 3e-30)},
    }
    study = point_study(tmp_path, model_fn=model_fn, data=((x, y), val), **options)
    seen: dict[int, list[Array]] = {0: [], 1: []}
    for seed in (0, 1):
        for schedule in study.schedules.values():
            trainer = trainer_of(study)
            trainer.run(schedule, seed)
            recorder = trainer._model.layers[-1].get_layer("recorder")
            seen[seed].append(ops.convert_to_numpy(recorder.seen).reshape(EPOCHS, 2 * BATCH, 27))
            head = trainer._model.layers[-1].get_layer("head")
            kernel = next(one for one in study.initial_weights(seed) if one.shape == (27, 2))
            np.testing.assert_array_equal(ops.convert_to_numpy(head.kernel), kernel)
        for epoch in range(EPOCHS):
            order, draws = study.batches(seed, epoch)
            assert sorted(order) == list(range(2 * BATCH))
            for batches in seen[seed]:
                np.testing.assert_array_equal(batches[epoch], np.concatenate([x[order], draws], axis=1))
    assert (seen[0][0] != seen[1][0]).any()
    assert (study.batches(0, 0)[0] != study.batches(0, 1)[0]).any()
    assert (study.batches(0, 0)[1] != study.batches(0, 1)[1]).all()


def test_every_update_of_every_run_has_its_own_rate(tmp_path: Path) -> None:
    """Weight `i` of the probe is moved by sample `i` alone, whenever it comes, by exactly the rate."""
    size = 7

    def model_fn() -> Any:
        model = keras.Sequential([keras.Input((1,)), Probe(size)])
        model.compile(keras.optimizers.SGD(), loss=gradient_is_target, jit_compile=False)
        return model

    x = np.arange(size, dtype="float32")[:, None]
    data = (x, np.ones_like(x)), (x, np.ones_like(x))
    schedules: dict[str, Schedule] = {
        "restarts in an epoch": WarmRestarts(0.4, 1.5, 0.1),
        "decay": StepDecay(0.3, step_size=1, gamma=0.5),
    }
    study = point_study(tmp_path, model_fn=model_fn, data=data, batch_size=1, schedules=schedules)
    trainer = trainer_of(study)
    for seed in (0, 1):
        for schedule in schedules.values():
            trainer.run(schedule, seed)
            expected = np.zeros(size, "float32")
            rates = np.asarray(schedule.learning_rates(EPOCHS, size)).astype("float32").reshape(EPOCHS, size)
            for epoch in range(EPOCHS):
                expected[study.batches(seed, epoch)[0]] -= rates[epoch]
            np.testing.assert_array_equal(ops.convert_to_numpy(trainer._model.trainable_variables[0]), expected)


class Traced(keras.layers.Layer):
    """Counts how often Python runs it in training."""

    times = 0

    def call(self, x: Any, training: bool = False) -> Any:
        Traced.times += bool(training)
        return x


@pytest.mark.skipif(keras.config.backend() == "torch", reason="Keras compiles nothing there by itself.")
def test_the_model_is_traced_once(tmp_path: Path) -> None:
    def model_fn() -> Any:
        return compiled([keras.Input((4,)), Traced(), keras.layers.Dropout(0.5), keras.layers.Dense(2)])

    study = point_study(tmp_path, model_fn=model_fn, schedules={"step": StepDecay(0.1)}, seeds=1)
    Traced.times = 0
    study.run(progress=False)
    once = Traced.times
    assert once > 0
    study.schedules = compared_schedules(0.1, EPOCHS)
    study.seeds = [0, 1, 2]
    study.run(progress=False)
    assert len(study.results) == 3 * 4 * EPOCHS
    assert Traced.times == once


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_what_is_done_is_not_repeated_and_seeds_and_schedules_can_be_added(tmp_path: Path) -> None:
    table(point_study(tmp_path, seeds=1, schedules={"constant": StepDecay(0.1, gamma=1)}))
    before = files(tmp_path)
    (tmp_path / ".unfinished-1-constant.json").write_text('{"half')
    schedules = {"constant": StepDecay(0.1, gamma=1), "SGDR (1, 2)": SGDR_1_2}
    found = table(point_study(tmp_path, seeds=2, schedules=schedules))
    after = files(tmp_path)
    assert len(after) == 4
    assert before.items() <= after.items()
    fresh = table(point_study(tmp_path / "fresh", seeds=2, schedules=schedules))
    pd.testing.assert_frame_equal(found, fresh, check_exact=True)
    only = point_study(tmp_path, seeds=[1], schedules={"SGDR (1, 2)": SGDR_1_2}).results
    assert only[["schedule", "seed"]].drop_duplicates().to_numpy().tolist() == [["SGDR (1, 2)", 1]]


def other_points() -> Any:
    (x, y), val = points()
    return (x + 1, y), val


def wider_model() -> Any:
    return compiled([keras.Input((4,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2)])


def adam_model() -> Any:
    model = point_model()
    model.compile(keras.optimizers.Adam(), loss=model.loss, jit_compile=model.jit_compile)
    return model


def halved(model: Any, seed: int) -> None:
    for weight in model.weights:
        weight.assign(weight / 2)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"epochs": EPOCHS + 1}, "epochs=3, and a study with epochs=4"),
        ({"batch_size": 5}, "batch_size=4, and a study with batch_size=5"),
        ({"data": other_points()}, "data="),
        ({"schedules": {"constant": StepDecay(0.2, gamma=1)}}, "constant="),
        ({"frozen": True}, "frozen=False, and a study with frozen=True"),
        ({"model_fn": wider_model}, "a model with the digest"),
        ({"model_fn": wider_model, "seeds": 2}, "a model with the digest"),
        ({"model_fn": adam_model}, "a model with the digest"),
        ({"initialize": halved}, "a model with the digest"),
    ],
    ids=["epochs", "batch", "data", "schedule", "frozen", "model", "model, runs left", "optimizer", "initialize"],
)
def test_the_folder_of_another_study_is_refused(other: dict[str, Any], said: str, done: Path, tmp_path: Path) -> None:
    before = files(done)
    study = point_study(done, **{"seeds": 1, "schedules": {"constant": StepDecay(0.1, gamma=1)}, **other})
    with pytest.raises(ValueError, match=r"A folder holds the runs of one study, .* Pass another `folder`") as raised:
        study.run(progress=False)
    assert said in str(raised.value)
    assert files(done) == before


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that is complete."""
    folder = tmp_path_factory.mktemp("done")
    table(point_study(folder, seeds=1, schedules={"constant": StepDecay(0.1, gamma=1)}))
    return folder


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"Each file of a study's folder must be a run .* Remove it, or pass another"):
        point_study(tmp_path).run(progress=False)


# `pytest.warns` gives back what it did not expect, without the module by which the suite's own exemption knows it.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn.t accept a copy keyword:DeprecationWarning")
def test_a_run_that_raises_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    study = point_study(tmp_path, seeds=3, schedules={"constant": StepDecay(0.1, gamma=1)})
    intact: Callable[[int, int], Any] = study.batches

    def broken(seed: int, epoch: int) -> Any:
        if (seed, epoch) == (1, 2):  # In the midst of a run.
            raise OSError("no more batches")
        return intact(seed, epoch)

    study.batches = broken  # type: ignore[method-assign]
    with pytest.warns(RuntimeWarning, match="1 of 3 runs failed: see `study.failures`"):
        study.run(progress=False)
    failures = study.failures
    assert failures[["schedule", "seed"]].to_numpy().tolist() == [["constant", 1]]
    assert "no more batches" in failures["traceback"][0]
    assert study.results["seed"].unique().tolist() == [0, 2]
    study.batches = intact  # type: ignore[method-assign,assignment]
    found = table(study)
    assert study.failures.empty
    fresh = table(point_study(tmp_path / "fresh", seeds=3, schedules=study.schedules))
    pd.testing.assert_frame_equal(found, fresh, check_exact=True)


def test_a_run_that_diverges_is_no_failure_and_its_rows_hold_nan(tmp_path: Path) -> None:
    def model_fn() -> Any:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(), loss="mse", jit_compile=False)
        return model

    study = point_study(tmp_path, model_fn=model_fn, seeds=1, schedules={"too high": StepDecay(1e20, gamma=1)})
    found = table(study)
    assert np.isnan(found["val_loss"]).all()
    assert study.failures.empty


def test_the_summary_and_the_figures_are_of_the_table(tmp_path: Path) -> None:
    study = point_study(tmp_path / "runs", seeds=2, schedules={"constant": StepDecay(0.1), "SGDR (1, 2)": SGDR_1_2})
    study.run(progress=True)
    assert "SGDR (1, 2)" in str(study.summary())
    drawn = study.figures(tmp_path / "figures")
    assert drawn
    assert all(path.stat().st_size > 0 for path in drawn)


def test_the_default_schedules() -> None:
    assert list(compared_schedules(0.1, 100)) == ["step decay (60, 0.1)", "SGDR (10, 2)", "one cosine", "constant"]
    assert next(iter(compared_schedules(0.1, 30))) == "step decay (18, 0.1)"
    assert [one.cycle_ends(30) for one in compared_schedules(0.1, 30).values()] == [[], [10, 30], [30], []]
    for schedule in compared_schedules(0.1, 30).values():
        assert schedule(0.0) == 0.1
    assert compared_schedules(0.1, 9, T_0=3, T_mult=2)["SGDR (3, 2)"].cycle_ends(9) == [3, 9]
    tuned = tuning_schedules(0.1)
    assert list(tuned) == ["SGDR (1, 2)", "SGDR (10, 2)", "SGDR (50, 1)", "SGDR (100, 1)", "SGDR (200, 1)"]
    assert tuned["SGDR (1, 2)"].cycle_ends(31) == [1, 3, 7, 15, 31]


def unbuilt_model() -> Any:
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", loss="mse")
    return model


def scaled_model() -> Any:
    model = point_model()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), loss=model.loss)
    return model


@pytest.mark.parametrize(
    ("model_fn", "rule"),
    [
        (unbuilt_model, r"`model_fn` must return a model that is built and compiled. Received: .* Begin it with a"),
        (lambda: "model", r"`model_fn` must return a model that is built and compiled. Received: 'model'"),
        (scaled_model, r"learning rate of one plain optimizer, .* Received: LossScaleOptimizer. Compile with one"),
    ],
)
def test_the_model_must_be_one_that_a_study_can_train(model_fn: Any, rule: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rule):
        point_study(tmp_path, model_fn=model_fn).run(progress=False)


def test_weights_must_be_a_function_of_the_seed(tmp_path: Path) -> None:
    unseeded = np.random.default_rng(0)

    def initialize(model: Any, seed: int) -> None:
        model.weights[0].assign(unseeded.normal(size=model.weights[0].shape))

    with pytest.raises(
        ValueError, match=r"must make the same weights whenever .* with seed 0. Take all random numbers"
    ):
        point_study(tmp_path, initialize=initialize).run(progress=False)


def test_who_else_draws_random_numbers_meanwhile_changes_no_weights(tmp_path: Path) -> None:
    calls: list[int] = []

    def disturbed() -> Any:
        calls.append(len(calls))
        if len(calls) == 1:
            random.random()  # As another thread might.
        return point_model()

    for one, other in zip(
        point_study(tmp_path, model_fn=disturbed).initial_weights(3),
        point_study(tmp_path).initial_weights(3),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert len(calls) == 3


def test_crops_need_a_fixed_side(tmp_path: Path) -> None:
    def model_fn() -> Any:
        return compiled([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])

    with pytest.raises(ValueError, match=r"so it must be square and fixed. .* Build it with a size, or pass `augment`"):
        image_study(tmp_path, model_fn=model_fn).run(progress=False)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"epochs": 0}, r"`epochs` must be a positive integer. Received: epochs=0."),
        ({"batch_size": 1.5}, r"`batch_size` must be a positive integer. Received: batch_size=1.5."),
        ({"seeds": 0}, r"`seeds` must be a positive integer, or a list of different seeds, .* Received: seeds=0."),
        ({"seeds": [1, 1]}, r"`seeds` must be .* Received: seeds=\[1, 1\]. Pass seeds=20"),
        ({"schedules": {}}, r"`schedules` must be a dict of schedules by name, at least one. Received: schedules={}."),
        ({"schedules": {"a": 0.1}}, r"`schedules` must be a dict of schedules by name"),
        ({"data": points()[0]}, r"`data` must be `\(x, y\), \(x_val, y_val\)`: arrays, .* Received: shapes of data="),
        (
            {"data": ((np.zeros((3, 2)), np.zeros(2)), points()[1])},
            r"with a label for each sample, .*=\[\(\(3, 2\), \(2,\)\)",
        ),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], rule: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rule):
        point_study(tmp_path, **options)


def test_jobs_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`jobs` must be a positive integer. Received: jobs=0. Pass how many"):
        point_study(tmp_path).run(jobs=0)


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'A study needs pandas: pip install "keras-sgdr\[study\]"'):
        _ = point_study(tmp_path).results
