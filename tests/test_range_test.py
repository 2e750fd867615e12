"""The learning rate range test: the right rates, sound suggestions, and no trace in the model."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras
import numpy as np
import pytest
from keras import ops

from keras_sgdr import RangeTest, SGDRSchedule, find_learning_rate
from keras_sgdr.optimizers import AdamWR
from tests.callbacks.probe import (
    BACKEND,
    RATE,
    Array,
    Probe,
    assert_equal,
    data,
    gradient_is_target,
    probe,
    sgdr,
    train,
    values,
)

UPDATES = 20
FEW: dict[str, Any] = {"updates": UPDATES, "batch_size": 8}
FLOAT32 = 1e-6  # Relative: a few roundings to float32, of half a unit in the last place (6e-8) each.


def samples(count: int = 24) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    x = random.normal(size=(count, 3)).astype("float32")
    return x, np.sin(x @ np.ones((3, 1), "float32"))


def network(optimizer: Any = None, *, built: bool = True, seed: int | None = 7, **compiling: Any) -> Any:
    """A model with all kinds of state: weights, BatchNorm statistics, the seed of dropout, metrics."""
    model = keras.Sequential(
        [
            *([keras.Input((3,))] if built else []),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9) if optimizer is None else optimizer
    model.compile(optimizer, loss="mse", metrics=["mae"], **compiling)
    return model


def state(model: Any) -> list[Array]:
    """Every variable's value; metrics last, which come into being in the first training."""
    return values([*model.variables, *model.optimizer.variables, *model.metrics_variables])


def fit(model: Any) -> Any:
    # Not shuffled: for metrics that are not built Keras draws one order more.
    return model.fit(*samples(), batch_size=8, epochs=2, shuffle=False, verbose=0).history


# The sweep


def test_each_batch_is_trained_at_its_rate_and_its_own_loss_kept() -> None:
    # Weight i is moved by batch i alone, by exactly the rate; asked again, in batch UPDATES + i, it is the loss.
    model = probe(steps=UPDATES)
    batches = list(zip(*(part[:, None] for part in data(UPDATES)), strict=True))
    found = find_learning_rate(model, batches, eta_min=1e-3, eta_max=0.5, **{**FEW, "updates": 40})
    rates = np.geomspace(1e-3, 0.5, 40)
    np.testing.assert_array_equal(found.rates, rates[: len(found.rates)])
    expected = np.concatenate([np.zeros(UPDATES), -rates[:UPDATES]])
    np.testing.assert_allclose(found.losses, expected[: len(found.losses)], rtol=FLOAT32)
    assert found.stopped == "end"


def losses_of(curve: Callable[[Array], Array], **options: Any) -> RangeTest:
    """The test of a model whose loss over the rate is `curve`, whatever is trained."""
    options = {"eta_min": 1e-5, "eta_max": 10.0, "updates": 100, **options}
    losses = curve(np.geomspace(options["eta_min"], options["eta_max"], options["updates"]))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    # Of a weight of 0 without gradient.
    model.compile(keras.optimizers.SGD(), loss=lambda y, prediction: y + 0 * prediction)
    return find_learning_rate(model, [(np.ones((1, 1)), np.full((1, 1), loss)) for loss in losses], **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_a_straight_line_is_smoothed_onto_itself(smoothing: float) -> None:
    found = losses_of(lambda rate: 5 - np.log(rate), smoothing=smoothing)
    np.testing.assert_allclose(found.smoothed_losses, 5 - np.log(found.smoothed_rates), rtol=FLOAT32)
    lag = np.log(found.rates[-1] / found.smoothed_rates[-1]) / np.log(found.rates[1] / found.rates[0])
    assert lag == pytest.approx(smoothing / (1 - smoothing), abs=0.01)  # 0.9**100 of 9 updates are missing.


def test_suggestions_of_a_known_curve() -> None:
    # Falls between 1e-3 and 1e-1, steepest at 1e-2; rises from 0.3 on.
    def curve(rate: Array) -> Array:
        return 2 - np.tanh(2 * np.log10(rate / 1e-2)) + np.maximum(rate - 0.3, 0) ** 2

    found = losses_of(curve)
    assert found.stopped == "diverged"
    assert found.suggested is not None
    assert found.suggested_tenth is not None
    # The exponential mean over 10 updates spans 0.6 of a decade.
    assert found.suggested == pytest.approx(1e-2, rel=0.4)
    assert 0.1 < 10 * found.suggested_tenth < 0.4
    # Noise of a tenth of the fall moves neither by more than the width of the fall.
    noise = np.random.default_rng(0).normal(scale=0.2, size=100)
    noisy = losses_of(lambda rate: curve(rate) + noise)
    assert noisy.suggested is not None
    assert noisy.suggested_tenth is not None
    assert 3e-3 < noisy.suggested < 3e-2
    assert 0.05 < 10 * noisy.suggested_tenth < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_suggests_nothing(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=100)
    found = losses_of(lambda rate: 10 + noise)
    assert (found.suggested, found.suggested_tenth, found.stopped) == (None, None, "end")
    assert "The loss did not fall: nothing to suggest." in str(found)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    found = losses_of(lambda rate: 1 + rate)
    assert (found.suggested, found.stopped) == (None, "diverged")
    assert found.losses[-1] > 2
    assert len(found.losses) < 100


def test_quadratic_valley_is_not_left_and_the_suggestions_are_stable() -> None:
    """On a quadratic of curvature 4 gradient descent diverges above a rate of 2 / 4."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(), loss=lambda y, prediction: 2 * ops.square(prediction))
    found = find_learning_rate(model, [(np.ones((1, 1)), np.zeros((1, 1)))], eta_min=1e-4)
    assert found.suggested is not None
    assert found.suggested_tenth is not None
    assert found.suggested < 0.5
    assert found.suggested_tenth < 0.5
    assert found.stopped in ("diverged", "not finite")


def test_stops_at_the_first_loss_that_is_not_finite() -> None:
    found = losses_of(lambda rate: np.where(rate < 1e-2, 1 - np.log10(rate), np.nan))
    assert found.stopped == "not finite"
    assert found.rates[-1] < 1e-2
    assert np.all(np.isfinite(found.losses))
    with pytest.raises(ValueError, match=r"The first loss must be finite\. Received: loss=nan\. Look at the data"):
        losses_of(lambda rate: rate * np.nan)


def test_summary() -> None:
    found = losses_of(lambda rate: 5 - np.log10(rate))
    assert str(found).splitlines() == [
        "Learning rate range test: 100 updates, from 1e-05 to 10, where the sweep ended.",
        f"  eta_max={found.suggested:.2g}  where the loss falls steepest",
        f"  eta_max={found.suggested_tenth:.2g}  a tenth of the rate of the lowest loss",
        "The loss did not diverge: sweep to a higher rate to see where it does.",
    ]


# What it may be given


class Slices(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> tuple[Array, Array]:
        x, y = samples()
        return x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8]


def test_batches_of_every_kind_are_trained_alike() -> None:
    import tensorflow as tf  # Keras takes its data sets on every backend.
    import torch

    x, y = samples()
    listed = [(x[i : i + 8], y[i : i + 8]) for i in (0, 8, 16)]
    loader: Any = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*map(torch.from_numpy, (x, y))), 8)
    kinds: dict[str, Any] = {
        "list": listed,
        "iterator": iter(listed * 7),
        "tf.data": tf.data.Dataset.from_tensor_slices((x, y)).batch(8),
        "PyDataset": Slices(),
        "torch": loader,
    }
    expected = [x[i : i + 8, 0] for i in (0, 8, 16)] * 7
    for batches in kinds.values():
        assert_equal(batches_of(batches), expected[:UPDATES])


class Watched(keras.Sequential):
    """Keeps the first batches' first inputs, and trains nothing."""

    def train_on_batch(self, x: Array, *rest: Any, **options: Any) -> dict[str, float]:
        self.seen.append(x[:, 0])
        return {"loss": 1.0}


def batches_of(arrays: Any, **options: Any) -> list[Array]:
    model = Watched([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    seen: list[Array] = []
    object.__setattr__(model, "seen", seen)  # Keras would wrap it.
    find_learning_rate(model, arrays, updates=UPDATES, **options)
    return seen


def test_arrays_are_shuffled_and_cut_into_full_batches() -> None:
    x = np.arange(10, dtype="float32")[:, None]
    seen = batches_of((x, x, np.ones(10)), batch_size=3)
    assert [len(batch) for batch in seen] == [3] * UPDATES
    passes = [np.concatenate(seen[i : i + 3]) for i in range(0, UPDATES - 2, 3)]
    assert all(len(set(samples)) == 9 for samples in passes)
    assert len({tuple(samples) for samples in passes}) == len(passes)
    assert_equal(batches_of((x, x), batch_size=3), seen)
    assert not np.array_equal(batches_of((x, x), batch_size=3, seed=1), seen)
    assert [len(batch) for batch in batches_of((x, x))] == [10] * UPDATES
    # Frames of several parts, and lists of them, as Keras takes them.
    assert_equal(batches_of((x, {"one": x, "other": [x, x]}), batch_size=3), seen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta_min": 0}, "`eta_min` must be a finite positive number. Received: eta_min=0. Pass the rate to begin"),
        ({"eta_min": 1.0, "eta_max": 0.1}, "`eta_max` must be a finite number above `eta_min`. Received: eta_max=0.1."),
        ({"updates": 19}, "`updates` must be an integer, at least 20. Received: updates=19. Pass as many"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: batch_size=0."),
        ({"smoothing": 1.0}, "`smoothing` must be a number in [0, 1), with `1 / (1 - smoothing)` at most half of"),
        ({"smoothing": 0.99}, "updates=100. Received: smoothing=0.99. Pass smoothing=0.9, or more updates."),
    ],
    ids=str,
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        find_learning_rate(network(), samples(), **options)


def test_data_that_cannot_be_used() -> None:
    model = network()
    x, y = samples()
    before = state(model)
    for bad, message in [
        (
            iter([(x, y)] * 3),
            "`data` must be batches that last for all updates, or can be begun again. Received: data=",
        ),
        ([], "which has no more. Pass arrays, a list or a data set, or fewer `updates`."),
        ((x, y[:-1]), "`data` must be arrays of equally many samples, at least 1. Received: samples=[23, 24]. Pass"),
        ((x[:0], y[:0]), "Received: samples=[0]."),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            find_learning_rate(model, bad, **FEW)
    assert_equal(state(model)[: len(before)], before)


def test_models_that_cannot_be_tested() -> None:
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="plain")
    with pytest.raises(ValueError, match=r"must be compiled\. Received: model='plain' without an optimizer\. Call"):
        find_learning_rate(plain, samples())
    first, second = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2)
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(first, {".*bias": second}))
    with pytest.raises(ValueError, match=r"one rate of one optimizer\. Received: MultiOptimizer\. Compile with a"):
        find_learning_rate(network(several), samples())


# No trace


def constant() -> float:
    return 0.05


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adamw": lambda: keras.optimizers.AdamW(0.01, gradient_accumulation_steps=2),
    "schedule": lambda: keras.optimizers.Adam(SGDRSchedule(0.1, 1, steps_per_epoch=3)),
    "callable": lambda: keras.optimizers.SGD(constant),
}


Run: TypeAlias = list[tuple[Any, list[Array]]]


def trainings(make: Callable[[], Any], *tests: Callable[[Any], Any]) -> Run:
    """History of a training after each of the tests, which leave the model as it was, and the state then."""
    keras.utils.set_random_seed(3)
    model = make()
    run = []
    for test in tests:
        optimizer, built, had_weights, before = model.optimizer, model.optimizer.built, model.built, state(model)
        test(model)
        assert (model.optimizer, model.optimizer.built) == (optimizer, built)
        if had_weights:
            assert_equal(state(model)[: len(before)], before)
            assert not any(map(np.any, state(model)[len(before) :]))  # Metrics that have come into being.
        run.append((fit(model), state(model)))
    return run


@functools.cache
def untested(make: Callable[[], Any]) -> Run:
    return trainings(make, *[nothing] * 3)


def assert_no_trace(make: Callable[[], Any], *tests: Callable[[Any], Any]) -> None:
    for (history, after), (expected, afterwards) in zip(trainings(make, *tests), untested(make), strict=False):
        assert history == expected
        assert_equal(after, afterwards)


def sweep(model: Any) -> None:
    assert len(find_learning_rate(model, samples(), **FEW).losses) > 10


def nothing(model: Any) -> None:
    pass


def test_every_variable_and_the_next_fit_are_as_without_a_test() -> None:
    """Before the first `fit`, and after."""
    assert_no_trace(network, sweep, sweep)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_other_optimizers(name: str) -> None:
    assert_no_trace(lambda: network(OPTIMIZERS[name]()), *([nothing] if name == "adamw" else []), sweep)


@pytest.mark.torch
def test_global_random_numbers() -> None:
    """On the PyTorch backend dropout draws from them; in the first `fit` once more than later, to build metrics."""
    assert_no_trace(lambda: network(seed=None), nothing, sweep)


def test_weights_that_a_moving_average_has_replaced() -> None:
    # On JAX they share arrays with the optimizer's averages then. (A second `fit` fails there, with or without a test.)
    model = network(keras.optimizers.SGD(0.1, use_ema=True))
    fit(model)
    before = state(model)
    sweep(model)
    assert_equal(state(model), before)


def test_sweep_begins_in_the_state_of_the_optimizer() -> None:
    # The momentum of the training before carries the weights on, however small the rate.
    model, fresh = (network(keras.optimizers.SGD(0.1, momentum=1.0)) for _ in range(2))
    fit(model)
    fresh.set_weights(model.get_weights())
    still: dict[str, Any] = {"eta_min": 1e-12, "eta_max": 1e-11, **FEW}
    carried, unmoved = (find_learning_rate(one, [samples()], **still).losses for one in (model, fresh))
    assert np.ptp(carried) > 2 * np.ptp(unmoved)


def test_model_that_is_not_built() -> None:
    assert_no_trace(lambda: network(built=False), sweep)


def test_loss_scaling() -> None:
    def make() -> Any:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = network()
        finally:
            keras.config.set_dtype_policy(before)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        return model

    assert_no_trace(make, sweep)


def test_several_steps_an_execution() -> None:
    steps = 1 if keras.config.backend() == "torch" else 3  # Keras allows no more there.
    assert_no_trace(lambda: network(steps_per_execution=steps), sweep)


def failing(after: int, error: type[BaseException]) -> Callable[[Any], None]:
    def batches() -> Iterator[Any]:
        for _ in range(after):
            yield samples()
        raise error("stop here")

    def test(model: Any) -> None:
        with pytest.raises(error, match="stop here"):
            find_learning_rate(model, batches(), **FEW)

    return test


def test_exceptions_in_the_data_leave_no_trace() -> None:
    assert_no_trace(network, failing(7, KeyboardInterrupt), failing(0, OSError))


def test_exception_in_the_middle_of_a_step_leaves_no_trace() -> None:
    """The compiled step of JAX has taken the variables' arrays by then."""

    def broken_step(model: Any) -> None:
        x, y = samples()
        with pytest.raises(Exception, match=r"[Ss]hape|dimension|incompatible|size"):
            find_learning_rate(model, [(x, y), (x, y[:5])], **FEW)
        # On JAX this writes back what a step has not.
        callback = keras.callbacks.Callback()
        callback.set_model(model)
        assert callback.model is model

    assert_no_trace(network, broken_step)


def test_weights_that_became_nan_come_back() -> None:
    def to_nan(model: Any) -> None:
        x, y = samples()
        found = find_learning_rate(model, [(x, y)] * 5 + [(x, y * np.nan)], **FEW)
        assert (len(found.losses), found.stopped) == (5, "not finite")

    assert_no_trace(network, to_nan)


def test_after_a_fit_that_an_exception_ended_and_before_one_with_the_callback() -> None:
    class Raise(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    model = network()
    with pytest.raises(KeyboardInterrupt):
        train(model, sgdr(), Raise())
    find_learning_rate(model, samples(), **FEW)
    assert "make_train_function" not in vars(model)
    assert float(values([model.optimizer.learning_rate])[0]) == np.float32(RATE)
    assert train(model, sgdr()).history["learning_rate"][0] < RATE


def test_excluded_from_decay_in_the_sweep_too() -> None:
    def last_loss(**excluded: Any) -> float:
        dense = keras.layers.Dense(1, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((1,)), Probe(1, name="probe"), dense])
        model.layers[0].w.assign([1.0])
        optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(**excluded)
        # TensorFlow's graph reads the weights for this loss now before and now after their update, unless XLA compiles
        # it; in a plain `train_on_batch` as well.
        model.compile(optimizer, loss=gradient_is_target, jit_compile=True if BACKEND == "tensorflow" else "auto")
        # The last loss is the product of two weights, which decay alone has moved.
        still, seen = ((np.zeros((1, 1)), np.full((1, 1), gradient)) for gradient in (0.0, 1.0))
        losses = find_learning_rate(model, [still] * 19 + [seen], eta_min=0.1, eta_max=0.2, **FEW).losses
        return float(losses[-1])

    assert last_loss(var_names=["w", "kernel"]) == 1.0
    assert last_loss(var_names=["other"]) < 0.5


def test_adamwr_without_the_decay_that_a_cycle_would_normalise() -> None:
    model = network(AdamWR(1e-6, lambda_norm=0.5))
    plain = network(keras.optimizers.Adam(1e-6, epsilon=1e-8))
    plain.set_weights(model.get_weights())
    ours, theirs = (find_learning_rate(one, samples(), **FEW, eta_max=0.1).losses for one in (model, plain))
    # Where epsilon is added differs, which moves a step by 1e-8 of the gradient's size.
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_train_step_without_a_loss() -> None:
    class Silent(keras.Sequential):
        def train_on_batch(self, *batch: Any, **options: Any) -> dict[str, float]:
            return {"mae": 1.0}

    model = Silent([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r'under the name of "loss"\. Received: train_step\'s keys=\[\'mae\'\]\. Add'):
        find_learning_rate(model, samples(), **FEW)
