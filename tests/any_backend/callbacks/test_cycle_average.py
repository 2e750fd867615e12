"""The average of the weights at the ends of cycles: what it is, how it is judged, and where it ends."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_sgdr import CycleAverage, CycleEarlyStopping, SnapshotCheckpoint, SnapshotEnsemble
from keras_sgdr.snapshots import weights_alone
from tests.support.probe import BACKEND, Array, sgdr
from tests.support.small_model import assert_equal, small_data, small_model, train, values
from tests.support.trace import traced, weights

EPOCHS = 7  # Cycles of 1, 2 and 4 epochs.
VALIDATION = tuple(part[::-1].copy() for part in small_data(8))


class Ends(keras.callbacks.Callback):
    """The weights at the ends of epochs."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.weights: dict[int, list[Array]] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights[epoch + 1] = values(self.model.weights)


def sgd() -> Any:
    return keras.optimizers.SGD(0.02, momentum=0.5)


def normalised(optimizer: Any) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse", metrics=["mae"])
    return model


def mean(ends: list[list[Array]]) -> list[Array]:
    return [np.mean(np.array(each, "float64"), axis=0).astype(each[0].dtype) for each in zip(*ends, strict=True)]


# JAX has float64 only where a whole process asks for it.
@pytest.mark.parametrize("dtype", ["float32"] if BACKEND == "jax" else ["float32", "float64"])
def test_it_is_the_mean_of_the_snapshots(tmp_path: Path, dtype: str) -> None:
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        model, average, ends = normalised(sgd()), CycleAverage(), Ends()
        train(model, sgdr(), average, SnapshotCheckpoint(tmp_path), ends, epochs=EPOCHS)
        kept = [ends.weights[epoch] for epoch in (1, 3, 7)]
        averaged = average.weights
        assert_equal(averaged, mean(kept))
        assert_equal(values(model.weights), averaged)
        assert average.last_weights is not None
        assert_equal(average.last_weights, kept[-1])
        assert (average.n_cycles, average.is_in_model) == (3, True)
        # And of the files.
        of_files = []
        for snapshot in SnapshotEnsemble.load(tmp_path, model).members:
            loaded = keras.models.clone_model(model)
            with weights_alone(loaded):
                loaded.load_weights(tmp_path / snapshot.file)
            of_files.append(values(loaded.weights))
        assert_equal(averaged, mean(of_files))
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


def test_integers_are_those_of_the_last_end() -> None:
    model = traced(sgd(), 21)
    weights(model, sgdr(), CycleAverage(), epochs=3)
    assert int(ops.convert_to_numpy(model.layers[-1].count)) == 21


def test_ends_inside_an_epoch() -> None:
    model, average, seen = small_model(sgd()), CycleAverage(), []

    class Seen(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            seen.append(values(self.model.weights))

    # Cycles of 2 updates of the 3 in an epoch: they end after updates 2, 4 and 6.
    history = train(model, sgdr(T_0="2/3", T_mult=1), average, Seen(), epochs=2, validation_data=VALIDATION).history
    assert average.last_weights is not None
    assert_equal(average.weights, mean([seen[2], seen[4], average.last_weights]))
    assert len(history["average_val_loss"]) == 2


@pytest.mark.parametrize("first", [True, False])
def test_it_is_evaluated_and_nothing_else_changes(first: bool) -> None:
    """Beside the last weights, at cycle ends; the training is as without, wherever it is in the list."""
    average, ends, by_itself = CycleAverage(), Ends(), Ends()
    model = normalised(sgd())
    callbacks = [average, sgdr(), ends] if first else [ends, sgdr(), average]
    history = train(model, *callbacks, epochs=EPOCHS, validation_data=VALIDATION).history
    ordinary = normalised(sgd())  # Seeded now: on PyTorch dropout draws from its own random numbers.
    theirs = train(ordinary, sgdr(), by_itself, epochs=EPOCHS, validation_data=VALIDATION).history
    for epoch in range(1, EPOCHS + 1):
        assert_equal(ends.weights[epoch], by_itself.weights[epoch])
    for name in theirs:
        assert history[name] == theirs[name], name
    assert set(history) - set(theirs) == {"average_val_loss", "average_val_mae"}
    for name in ("loss", "mae"):
        expected = []
        for place in range(3):
            ordinary.set_weights(mean([by_itself.weights[epoch] for epoch in (1, 3, 7)[: place + 1]]))
            expected.append(ordinary.evaluate(*VALIDATION, verbose=0, return_dict=True)[name])
        np.testing.assert_allclose(history[f"average_val_{name}"], expected, rtol=1e-6)
    # The first cycle's average is its end.
    assert history["average_val_loss"][0] == pytest.approx(history["val_loss"][0], rel=1e-6)


def test_statistics_of_batch_normalisation_are_taken_anew() -> None:
    x = small_data()[0]
    model, average = normalised(sgd()), CycleAverage(data=x, batch_size=4)
    history = train(model, sgdr(), average, epochs=EPOCHS, validation_data=VALIDATION).history
    dense, norm = model.layers[:2]
    outputs = ops.convert_to_numpy(dense(x)).reshape(3, 4, 4)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_mean), outputs.mean(axis=(0, 1)), rtol=1e-5, atol=1e-6)
    variance = outputs.var(axis=1).mean(axis=0)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_variance), variance, rtol=1e-5)
    # It is evaluated as it ends.
    score = model.evaluate(*VALIDATION, verbose=0, return_dict=True)["loss"]
    assert history["average_val_loss"][-1] == pytest.approx(score, rel=1e-6)
    # The control: the average's own statistics are others.
    assert not np.allclose(average.weights[4], ops.convert_to_numpy(norm.moving_mean), rtol=1e-3)


class Scores(keras.callbacks.Callback):
    """Gives the logs a metric that the test says."""

    def __init__(self, **scores: list[float]) -> None:
        super().__init__()
        self.scores = scores

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs.update({name: of_epochs[epoch] for name, of_epochs in self.scores.items()})


@pytest.mark.parametrize(("last", "is_better"), [(1e9, True), (0.0, False)])
def test_put_in_where_it_is_better(last: float, is_better: bool) -> None:
    model, average = small_model(sgd()), CycleAverage("val_loss")
    ends = Ends()
    train(model, sgdr(), Scores(val_loss=[0, 0, last]), average, ends, validation_data=VALIDATION)
    assert average.is_in_model is is_better
    assert_equal(values(model.weights), average.weights if is_better else ends.weights[3])
    assert (average.last_weights is None) is not is_better


@pytest.mark.filterwarnings("ignore:Early stopping must outwait a cycle:UserWarning")
@pytest.mark.parametrize("early", ["CycleEarlyStopping", "EarlyStopping"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("best", "is_better"), [(1e8, True), (-1.0, False)])
def test_against_what_early_stopping_has_restored(early: str, first: bool, best: float, is_better: bool) -> None:
    of_epochs = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    stopping: Any = CycleEarlyStopping() if early == "CycleEarlyStopping" else of_epochs
    model, average, ends = small_model(sgd()), CycleAverage("val_loss"), Ends()
    others = [average, stopping] if first else [stopping, average]
    scores = Scores(val_loss=[best, 1e9, 1e9, 0, 0, 0, 0])
    train(model, sgdr(), scores, ends, *others, epochs=EPOCHS, validation_data=VALIDATION)
    assert max(ends.weights) == 3
    assert average.is_in_model is is_better
    assert_equal(values(model.weights), average.weights if is_better else ends.weights[1])


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("swap_on_epoch", [True, False])
def test_with_moving_averages(tmp_path: Path, first: bool, swap_on_epoch: bool) -> None:
    """What is averaged is what snapshots save and what is validated."""
    model = small_model(keras.optimizers.SGD(0.02, use_ema=True, ema_momentum=0.5))
    average, swap = CycleAverage(), keras.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch)
    others = [average, swap] if first else [swap, average]
    train(model, sgdr(), *others, SnapshotCheckpoint(tmp_path), epochs=EPOCHS, validation_data=VALIDATION)
    ensemble = SnapshotEnsemble.load(tmp_path, small_model(sgd()))
    assert_equal(average.weights, values(ensemble.average_weights().weights))
    assert_equal(values(model.weights), average.weights)


def test_a_second_training_begins_anew() -> None:
    model, average, ends = small_model(sgd()), CycleAverage(), Ends()
    train(model, sgdr(), average)
    train(model, sgdr(), average, ends)
    assert_equal(average.weights, mean([ends.weights[1], ends.weights[3]]))


def warned(training: Callable[[], Any]) -> list[str]:
    """The warnings of a training."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        training()
    return [str(each.message) for each in caught]


def test_without_validation_data() -> None:
    model, average = small_model(sgd()), CycleAverage("val_loss")
    assert re.match(
        r"`monitor` must be a metric .* Received: monitor='val_loss', which it lacks.* Pass `validation_data`",
        warned(lambda: train(model, sgdr(), average))[-1],
    )
    assert not average.is_in_model
    assert average.n_cycles == 2


def test_a_training_of_no_cycle() -> None:
    average = CycleAverage()
    messages = warned(lambda: train(small_model(sgd()), sgdr(T_0=5), average, epochs=1))
    pattern = r"A training must complete a cycle .* Received: none .* of SGDR\(T_0=5.* `T_0` is in epochs, not in steps"
    assert re.match(pattern, messages[-1])
    assert average.weights == []


def test_a_model_of_it_loads_without_the_package(tmp_path: Path) -> None:
    model, average = normalised(sgd()), CycleAverage(data=small_data()[0])
    train(model, sgdr(), average)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(values(loaded.weights), values(model.weights))
    assert "keras_sgdr" not in model.to_json()


def test_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    train(small_model(sgd()), sgdr(), CycleAverage(verbose=1))
    assert "The average of 2 cycle ends is in the model.\n" in capsys.readouterr().out
    scores, average = Scores(val_loss=[0, 0, 0]), CycleAverage("val_loss", verbose=1)
    train(small_model(sgd()), sgdr(), scores, average, validation_data=VALIDATION)
    assert "The average has val_loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"monitor": "loss"},
            r"`monitor` must be None or a metric of the.* Received: monitor='loss'\. Pass",
        ),
        ({"monitor": 3}, r"`monitor` must be None or .* Received: monitor=3\. Pass"),
        ({"monitor": "val_loss", "mode": "down"}, r"`mode` must be"),
        ({"batch_size": 0}, r"`batch_size` must be a positive integer\. Received: batch_size=0\. Pass"),
    ],
    ids=str,
)
def test_refused_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CycleAverage(**options)
    assert repr(CycleAverage("val_loss", batch_size=8)) == "CycleAverage(monitor='val_loss', batch_size=8)"
