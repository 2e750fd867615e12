"""What a run trains: the seed's weights and batches, the schedule's rates, and nothing of the runs before it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from keras_sgdr import Schedule, StepDecay, WarmRestarts
from keras_sgdr.data.augment import center_crop, resized_crop_flip
from keras_sgdr.study import Study
from keras_sgdr.study.spec import Spec
from keras_sgdr.study.trainer import Trainer
from tests.support.probe import Probe, gradient_is_target
from tests.support.study_nets import BATCH, EPOCHS, Array, compiled, image_study, point_study, points

SGDR_1_2, CONSTANT = WarmRestarts(1, 2, 0.1), StepDecay(0.1, gamma=1)

# On JAX every study compiles its own step, a minute for these.
pytestmark = [pytest.mark.slow] if keras.config.backend() == "jax" else []


def by_hand(study: Study, schedule: Schedule, seed: int) -> list[list[float]]:
    """The run in Keras's plainest way: batches made in NumPy, the rate set before each."""
    spec = study.spec
    model = spec.build(seed)
    ((x, y), (x_val, y_val)) = spec.data
    rates = iter(schedule.learning_rates(spec.epochs, spec.steps))
    model.compile(model.optimizer, loss=model.loss, metrics=["accuracy"], run_eagerly=True)
    rows = []
    for epoch in range(spec.epochs):
        order, draws = spec.batches(seed, epoch)
        images = ops.convert_to_numpy(resized_crop_flip(x[order], 8, ops.convert_to_tensor(draws)))
        trained = np.zeros(2)
        for begin in range(0, len(order), spec.batch_size):
            model.optimizer.learning_rate = next(rates)
            part = slice(begin, begin + spec.batch_size)
            metrics = model.train_on_batch(images[part], y[order][part])
            trained += len(order[part]) * np.array([float(value) for value in metrics])
        validated = model.test_on_batch(ops.convert_to_numpy(center_crop(x_val, 8)), y_val)
        rows.append([*trained / len(order), *validated])
    return [[float(value) for value in row] for row in rows]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two schedules and two seeds, done."""
    study = image_study(tmp_path_factory.mktemp("study"), schedules={"SGDR (1, 2)": SGDR_1_2, "constant": CONSTANT})
    study.run(progress=False)
    return study


def rows(study: Study, schedule: str, seed: int) -> pd.DataFrame:
    return study.results.query(f"schedule == {schedule!r} and seed == {seed}").reset_index(drop=True)


# There Keras's dropout draws from the process's random numbers.
@pytest.mark.skipif(keras.config.backend() == "torch", reason="Dropout has no state of its own.")
def test_a_run_is_what_keras_does_by_hand(study: Study) -> None:
    for seed in (0, 1):
        metrics = rows(study, "SGDR (1, 2)", seed)[["loss", "accuracy", "val_loss", "val_accuracy"]]
        # float32, and the crops of an epoch are computed in one go here, of a batch there.
        np.testing.assert_allclose(metrics, by_hand(study, SGDR_1_2, seed), rtol=1e-4)


def test_a_run_is_the_same_alone_as_after_others(study: Study, tmp_path: Path) -> None:
    alone = image_study(tmp_path, seeds=[1], schedules={"constant": CONSTANT})
    alone.run(progress=False)
    pd.testing.assert_frame_equal(alone.results, rows(study, "constant", 1), check_exact=True)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="Of TensorFlow, which then forgets its kernels.")
def test_no_epoch_sets_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    trainer = Trainer(image_study(tmp_path, schedules={"constant": CONSTANT}).spec)
    trainer.reset("constant", 0, None)
    seeds: list[int] = []
    monkeypatch.setattr(tf.random, "set_seed", seeds.append)
    trainer.fit(0)
    assert seeds == []
    keras.utils.set_random_seed(0)
    assert seeds == [0]


class Recorder(keras.layers.Layer):
    """Keeps the batches that it saw in training, and counts how often Python ran it for them."""

    traced = 0

    def build(self, shape: Any) -> None:
        self.seen = self.add_weight(shape=(EPOCHS * 2, BATCH, shape[-1]), trainable=False, initializer="zeros")
        # "int" as Keras counts updates: TensorFlow keeps int32 in the host's memory, which XLA cannot read on a GPU.
        self.count = self.add_weight(shape=(), trainable=False, initializer="zeros", dtype="int")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            Recorder.traced += 1
            self.seen.assign(ops.slice_update(self.seen.value, (self.count.value, 0, 0), x[None]))
            self.count.assign(self.count + 1)
        return x


class Recorded(NamedTuple):
    """What a run left in its model."""

    seed: int
    batches: Array
    kernel: Array
    traced: int


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, list[Recorded]]:
    """Runs of two seeds, under two schedules each, with rates so small that no weight moves."""
    (x, y), val = points()

    def model_fn() -> Any:
        head = keras.layers.Dense(2, name="head")
        return compiled([keras.Input((27,)), Recorder(name="recorder"), keras.layers.Dropout(0.5), head])

    spec = point_study(
        tmp_path_factory.mktemp("recorded"),
        model_fn=model_fn,
        data=((x[: 2 * BATCH], y[: 2 * BATCH]), val),
        augment=lambda batch, draws: ops.concatenate([batch, draws], axis=1),
        prepare=lambda batch: ops.pad(batch, [[0, 0], [0, 23]]),
        schedules={"steps": StepDecay(1e-30), "restarts": WarmRestarts(1, 2, 3e-30)},
    ).spec
    trainer = Trainer(spec)
    Recorder.traced = 0
    runs = []
    for seed in (0, 1):
        for name in spec.schedules:
            trainer.run(name, seed)
            model = trainer._model
            batches = ops.convert_to_numpy(model.get_layer("recorder").seen).reshape(EPOCHS, 2 * BATCH, 27)
            kernel = ops.convert_to_numpy(model.get_layer("head").kernel)
            runs.append(Recorded(seed, batches, kernel, Recorder.traced))
    return spec, runs


def test_for_a_seed_every_schedule_starts_from_the_same_weights(recorded: tuple[Spec, list[Recorded]]) -> None:
    spec, runs = recorded
    for run in runs:
        kernel = next(weights for weights in spec.initial_weights(run.seed) if weights.shape == (27, 2))
        np.testing.assert_array_equal(run.kernel, kernel)
    assert (runs[0].kernel != runs[-1].kernel).any()


def test_for_a_seed_every_schedule_sees_the_same_batches_and_draws(recorded: tuple[Spec, list[Recorded]]) -> None:
    spec, runs = recorded
    x = spec.data[0][0]
    for run in runs:
        for epoch in range(EPOCHS):
            order, draws = spec.batches(run.seed, epoch)
            assert sorted(order) == list(range(2 * BATCH))
            np.testing.assert_array_equal(run.batches[epoch], np.concatenate([x[order], draws], axis=1))
    assert (runs[0].batches != runs[-1].batches).any()
    assert (spec.batches(0, 0)[0] != spec.batches(0, 1)[0]).any()
    assert (spec.batches(0, 0)[1] != spec.batches(0, 1)[1]).all()


@pytest.mark.skipif(keras.config.backend() == "torch", reason="Keras compiles nothing there by itself.")
def test_the_model_is_traced_once(recorded: tuple[Spec, list[Recorded]]) -> None:
    _, (first, *later) = recorded
    assert first.traced > 0
    assert {run.traced for run in later} == {first.traced}


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
    spec = point_study(tmp_path, model_fn=model_fn, data=data, batch_size=1, schedules=schedules).spec
    trainer = Trainer(spec)
    for seed in (0, 1):
        for name, schedule in schedules.items():
            trainer.run(name, seed)
            expected = np.zeros(size, "float32")
            rates = np.asarray(schedule.learning_rates(EPOCHS, size)).astype("float32").reshape(EPOCHS, size)
            for epoch in range(EPOCHS):
                expected[spec.batches(seed, epoch)[0]] -= rates[epoch]
            np.testing.assert_array_equal(ops.convert_to_numpy(trainer._model.trainable_variables[0]), expected)


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(study: Study, tmp_path: Path) -> None:
    options = {"schedules": {"SGDR (1, 2)": SGDR_1_2}, "seeds": [1], "keep_outputs": True}
    whole = image_study(tmp_path / "whole", **options)
    whole.run(progress=False)
    stopped = image_study(tmp_path / "stopped", **options)
    (run,), store = stopped.store.runs, stopped.store
    for epoch in range(1, EPOCHS):
        # As in a process of its own.
        trainer = Trainer(stopped.spec)
        keep = partial(store.write_progress, run, trainer.fingerprint)
        begin = store.read_progress(run, trainer.fingerprint)
        progress = trainer.run(run.schedule, run.seed, begin, keep=keep, stop=lambda: True)
        assert progress.epochs == epoch
        assert (begin.epochs if begin else 0) == epoch - 1
        assert [path.name for path in store.folder.iterdir()] == [f"{run.file}.stopped.npz"]
    stopped.run(progress=False)
    pd.testing.assert_frame_equal(stopped.results, whole.results, check_exact=True)
    pd.testing.assert_frame_equal(stopped.ensembles, whole.ensembles, check_exact=True)
    # Keeping outputs changes nothing.
    np.testing.assert_array_equal(whole.results["loss"], rows(study, "SGDR (1, 2)", 1)["loss"])
    (last,) = whole.ensembles.query("epoch == 3").itertuples()
    assert last.last_val_loss == pytest.approx(whole.results["val_loss"].iloc[-1], rel=1e-4)
