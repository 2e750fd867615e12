"""The learning rate range test: the right rates, sound suggestions, and no trace in the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import pytest
from keras import ops

from keras_sgdr import RangeTest, SGDRSchedule, find_learning_rate
from keras_sgdr.optimizers import AdamWR
from tests.support.probe import BACKEND, RATE, Array, Probe, data, gradient_is_target, probe, sgdr
from tests.support.small_model import assert_equal, small_model, train, values

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
    result = find_learning_rate(model, batches, eta_min=1e-3, eta_max=0.5, **{**FEW, "updates": 40})
    rates = np.geomspace(1e-3, 0.5, 40)
    np.testing.assert_array_equal(result.rates, rates[: len(result.rates)])
    expected = np.concatenate([np.zeros(UPDATES), -rates[:UPDATES]])
    np.testing.assert_allclose(result.losses, expected[: len(result.losses)], rtol=FLOAT32)
    assert result.stopped == "end"


class Scripted(keras.Sequential):
    """Counts updates but trains nothing, and keeps the first inputs of every batch. Each loss is its label, or 1."""

    def train_on_batch(self, x: Array, y: Any, *rest: Any, **options: Any) -> dict[str, float]:
        self.seen.append(x[:, 0])
        self.optimizer.iterations.assign_add(1)
        return {"loss": float(y[0, 0]) if self.loss_is_label else 1.0}


def scripted(*, loss_is_label: bool) -> tuple[Any, list[Array]]:
    """Such a model, and the list of what it has seen."""
    model = Scripted([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    model.loss_is_label = loss_is_label
    seen: list[Array] = []
    object.__setattr__(model, "seen", seen)  # Keras would wrap it.
    return model, seen


def losses_of(curve: Callable[[Array], Array], **options: Any) -> RangeTest:
    """The test of a model whose loss over the rate is `curve`."""
    options = {"eta_min": 1e-5, "eta_max": 10.0, "updates": 100, **options}
    losses = curve(np.geomspace(options["eta_min"], options["eta_max"], options["updates"]))
    batches = [(np.ones((1, 1)), np.full((1, 1), loss)) for loss in losses]
    return find_learning_rate(scripted(loss_is_label=True)[0], batches, **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_a_straight_line_is_smoothed_onto_itself(smoothing: float) -> None:
    result = losses_of(lambda rate: 5 - np.log(rate), smoothing=smoothing)
    np.testing.assert_allclose(result.smoothed_losses, 5 - np.log(result.smoothed_rates), rtol=FLOAT32)
    lag = np.log(result.rates[-1] / result.smoothed_rates[-1]) / np.log(result.rates[1] / result.rates[0])
    assert lag == pytest.approx(smoothing / (1 - smoothing), abs=0.01)  # 0.9**100 of 9 updates are missing.


def test_suggestions_of_a_known_curve() -> None:
    # Falls between 1e-3 and 1e-1, steepest at 1e-2; rises from 0.3 on.
    def curve(rate: Array) -> Array:
        return 2 - np.tanh(2 * np.log10(rate / 1e-2)) + np.maximum(rate - 0.3, 0) ** 2

    result = losses_of(curve)
    assert result.stopped == "diverged"
    assert result.suggested is not None
    assert result.suggested_tenth is not None
    # The exponential mean over 10 updates spans 0.6 of a decade.
    assert result.suggested == pytest.approx(1e-2, rel=0.4)
    assert 0.1 < 10 * result.suggested_tenth < 0.4
    # Noise of a tenth of the fall moves neither by more than the width of the fall.
    noise = np.random.default_rng(0).normal(scale=0.2, size=100)
    noisy = losses_of(lambda rate: curve(rate) + noise)
    assert noisy.suggested is not None
    assert noisy.suggested_tenth is not None
    assert 3e-3 < noisy.suggested < 3e-2
    assert 0.05 < 10 * noisy.suggested_tenth < 0.5


SEEDS = range(40)


def noise(seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=100)


def test_a_fall_is_not_sought_in_the_noise_before_it() -> None:
    """The loss is flat for three of seven decades, and one batch's noise is two thirds of the fall."""

    def curve(rate: Array) -> Array:
        return 2.3 - 0.15 * np.tanh(2 * np.log10(rate / 1e-2))

    def suggested(seed: int) -> float | None:
        return losses_of(lambda rate: curve(rate) + 0.2 * noise(seed)).suggested

    found = [suggested(seed) for seed in SEEDS]
    rates = np.array([rate for rate in found if rate is not None])
    # It is found in most sweeps, never far from it. (The steepest of all slopes is below 1e-4 in 9 of 40.)
    assert len(rates) > 0.7 * len(SEEDS)
    assert np.min(rates) > 1e-3
    assert 3e-3 < np.median(rates) < 3e-2


def test_noise_alone_suggests_nothing() -> None:
    def of_noise(seed: int) -> RangeTest:
        return losses_of(lambda rate: 10 + noise(seed))

    results = [of_noise(seed) for seed in SEEDS]
    # The bound of three standard errors is that of one point's fall, and the lowest is one of several.
    suggesting = [result for result in results if result.suggested is not None]
    assert len(suggesting) <= 1
    assert all((result.suggested is None) == (result.suggested_tenth is None) for result in results)
    assert (results[0].suggested, results[0].stopped) == (None, "end")
    assert "The loss did not fall by more than its noise: nothing to suggest." in str(results[0])


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    result = losses_of(lambda rate: 1 + rate)
    assert (result.suggested, result.stopped) == (None, "diverged")
    assert result.losses[-1] > 2
    assert len(result.losses) < 100


def test_quadratic_valley_is_not_left_and_the_suggestions_are_stable() -> None:
    """On a quadratic of curvature 4 gradient descent diverges above a rate of 2 / 4."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(), loss=lambda y, prediction: 2 * ops.square(prediction))
    result = find_learning_rate(model, [(np.ones((1, 1)), np.zeros((1, 1)))], eta_min=1e-4)
    assert result.suggested is not None
    assert result.suggested_tenth is not None
    assert result.suggested < 0.5
    assert result.suggested_tenth < 0.5
    assert result.stopped in ("diverged", "not finite")


def test_stops_at_the_first_loss_that_is_not_finite() -> None:
    result = losses_of(lambda rate: np.where(rate < 1e-2, 1 - np.log10(rate), np.nan))
    assert result.stopped == "not finite"
    assert result.rates[-1] < 1e-2
    assert np.all(np.isfinite(result.losses))
    with pytest.raises(ValueError, match=r"The first loss must be finite\. Received: loss=nan\. Look at the data"):
        losses_of(lambda rate: rate * np.nan)


def test_summary() -> None:
    result = losses_of(lambda rate: 5 - np.log10(rate))
    assert str(result).splitlines() == [
        "Learning rate range test: 100 updates, from 1e-05 to 10, where the sweep ended.",
        "Two values of eta_max:",
        f"  suggested        {result.suggested:<8.2g} where the loss falls steepest",
        f"  suggested_tenth  {result.suggested_tenth:<8.2g} a tenth of the rate of the lowest loss: steadier",
        "The loss did not diverge: sweep to a higher rate to see where it does.",
    ]
    assert repr(result) == str(result)


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


class Recording(keras.Sequential):
    """Keeps the form of what its training step is handed, once where the step is compiled."""

    def train_step(self, *state_and_data: Any) -> Any:
        data = state_and_data[-1]
        self.forms.append(keras.tree.map_structure(form, tuple(data) if isinstance(data, list) else data))
        return super().train_step(*state_and_data)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *rest: Any, **options: Any) -> Any:
        return ops.mean(ops.square(y_pred))


def form(leaf: Any) -> tuple[bool, str, int] | None:
    return None if leaf is None else (ops.is_tensor(leaf), keras.backend.standardize_dtype(leaf.dtype), len(leaf.shape))


def recording() -> tuple[Any, list[Any]]:
    model = Recording([keras.Input((3,)), keras.layers.Dense(1)])
    forms: list[Any] = []
    object.__setattr__(model, "forms", forms)  # Keras would wrap it.
    model.compile("sgd")
    return model, forms


class Batches(keras.utils.PyDataset):
    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> Any:
        return self.batches[i]


@pytest.mark.parametrize("parts", [1, 2, 3], ids=["x", "x, y", "x, y, weight"])
@pytest.mark.parametrize("kind", ["arrays", "float64 arrays", "generator", "tf.data", "PyDataset", "torch"])
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")
def test_training_step_is_handed_what_fit_hands_it(kind: str, parts: int) -> None:
    import tensorflow as tf  # Keras takes its data sets on every backend.
    import torch

    whole: tuple[Any, ...] = (*samples(), np.ones(24, "float32"))[:parts]
    listed = [tuple(part[i : i + 8] for part in whole) for i in (0, 8, 16)]
    tensors: Any = torch.utils.data.TensorDataset(*map(torch.from_numpy, whole))
    make: dict[str, Callable[[], Any]] = {
        "arrays": lambda: whole,
        "float64 arrays": lambda: tuple(part.astype("float64") for part in whole),
        "generator": lambda: (batch for batch in listed * 20),
        "tf.data": lambda: tf.data.Dataset.from_tensor_slices(whole).batch(8),
        "PyDataset": lambda: Batches(listed),
        "torch": lambda: torch.utils.data.DataLoader(tensors, 8),
    }
    (fitted, expected), (swept, forms) = recording(), recording()
    of_fit = make[kind]()
    arguments = of_fit if isinstance(of_fit, tuple) else (of_fit,)
    fitted.fit(**dict(zip(("x", "y", "sample_weight"), arguments, strict=False)), steps_per_epoch=3, verbose=0)
    find_learning_rate(swept, make[kind](), **FEW)
    assert forms
    assert all(one == expected[0] for one in forms)
    assert "train_step" not in vars(swept)


def test_training_step_that_unpacks_two_parts() -> None:
    class Unpacking(keras.Sequential):
        def train_step(self, *state_and_data: Any) -> Any:
            *_, data = state_and_data
            _x, _y = data
            return super().train_step(*state_and_data)

    model = Unpacking([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    x, y = samples()
    for batches in ((x, y), (x, y, None), [(x, y)], [[x, y]]):
        assert len(find_learning_rate(model, batches, **FEW).losses) > 10


@pytest.mark.tensorflow
def test_strings() -> None:
    texts, y = ["a b", "c d e", "b", "d a"] * 6, np.ones((24, 1), "float32")
    layer = keras.layers.TextVectorization(10, output_sequence_length=4)
    layer.adapt(texts)
    model = keras.Sequential([layer, keras.layers.Embedding(10, 3), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    strings = np.array(texts, dtype=object)
    for x in (strings, keras.ops.convert_to_tensor(strings)):
        assert len(find_learning_rate(model, (x, y), **FEW).losses) > 10
    # `fit` refuses such lists too, as of an "Unrecognized data type".
    with pytest.raises(ValueError, match="Unrecognized data type"):
        model.fit(texts, y)
    message = r"must hold arrays, as that of `fit` must\. Received: a str='a b'\. .* `np.array\(texts, dtype=object\)`"
    for bad in ((texts, y), [(texts, y)]):
        with pytest.raises(ValueError, match=message):
            find_learning_rate(model, bad, **FEW)
    model.fit(strings, y, verbose=0)


def batches_of(arrays: Any, **options: Any) -> list[Array]:
    model, seen = scripted(loss_is_label=False)
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
        ({"updates": 19}, "`updates` must be an integer, 20 or more. Received: updates=19. Pass as many"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: batch_size=0."),
        ({"smoothing": 1.0}, "`smoothing` must be a number in [0, 1), with `1 / (1 - smoothing)` at most half of"),
        ({"smoothing": 0.99}, "updates=100. Received: smoothing=0.99. Pass smoothing=0.9, or more updates."),
    ],
    ids=str,
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        find_learning_rate(None, samples(), **options)


def test_data_that_cannot_be_used() -> None:
    model = small_model(keras.optimizers.SGD(0.1))
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


def test_a_model_that_is_not_compiled() -> None:
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="plain")
    with pytest.raises(ValueError, match=r"must be compiled\. Received: model='plain' without an optimizer\. Call"):
        find_learning_rate(plain, samples())


# Which optimizer


class Rivals(keras.Model):
    """Two weights, each trained by an optimizer of its own; no `call`, and an `optimizer` that trains nothing."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.one, self.two = (self.add_weight(shape=(), initializer="zeros", name=name) for name in ("one", "two"))
        self.first = first
        self.pair = {"first": first, "others": [second]}
        self.built = BACKEND != "tensorflow"  # There `fit` does not ask.

    def train_step(self, *state_and_data: Any) -> Any:
        loss = ops.convert_to_tensor(self.one) * 1.0
        self.first.apply([ops.ones(())], [self.one])
        self.pair["others"][0].apply([ops.ones(())], [self.two])
        if BACKEND != "jax":
            return {"loss": loss}
        own = (self.trainable_variables, self.non_trainable_variables, self.optimizer.variables, self.metrics_variables)
        return {"loss": loss}, tuple([variable.value for variable in variables] for variables in own)


def rivals(*, built: bool) -> tuple[Any, Any, Any]:
    """Such a model, and its two optimizers."""
    second = keras.optimizers.SGD(SGDRSchedule(1, 1, 0.1, steps_per_epoch=3), momentum=0.9, name="second")
    first = keras.optimizers.SGD(0.1, name="first")
    model = Rivals(first, second)
    model.compile(keras.optimizers.Adam(name="idle"), run_eagerly=BACKEND == "jax", jit_compile=False)
    if built:
        model.train_on_batch(*samples())  # On JAX, `fit` takes a stateful step's variables away.
        model.one.assign(0.0)
    return model, first, second


@pytest.mark.parametrize("built", [True, False])
def test_the_optimizer_that_is_asked_for_is_swept_and_none_left_with_a_trace(built: bool) -> None:
    model, first, second = rivals(built=built)
    optimizers = [model.optimizer, first, second]
    pair, were_built, before = model.pair, [each.built for each in optimizers], values(model.variables)
    states = [values(each.variables) for each in optimizers]
    result = find_learning_rate(model, samples(), optimizer=first, **FEW)
    np.testing.assert_allclose(result.losses, -np.cumsum([0, *result.rates[:-1]]), rtol=FLOAT32, atol=1e-12)
    assert (model.first, model.pair, model.optimizer) == (first, pair, optimizers[0])
    assert model.pair["others"][0] is second
    assert [each.built for each in optimizers] == were_built
    assert_equal(values(model.variables), before)
    for each, state_before in zip(optimizers, states, strict=True):
        assert_equal(values(each.variables), state_before)
    # The other one leaves the first at the rate it has.
    tenth = find_learning_rate(model, samples(), optimizer=second, **FEW)
    np.testing.assert_allclose(tenth.losses, -0.1 * np.arange(len(tenth.losses)), rtol=10 * FLOAT32)


def test_an_optimizer_that_trains_nothing_is_refused() -> None:
    model, first, _ = rivals(built=False)
    message = (
        "must sweep the rate of an optimizer that trains the model. Received: Adam 'idle', which made no update in 20 "
        "batches. Pass optimizer=model.first or optimizer=model.pair['first'] or optimizer=model.pair['others'][0]."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        find_learning_rate(model, samples(), **FEW)
    assert model.first is first
    message = (
        "`optimizer` must be one that the model holds: its own, or in an attribute. Received: SGD, with a model that "
        "holds "
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        find_learning_rate(model, samples(), optimizer=keras.optimizers.SGD(), **FEW)
    with pytest.raises(ValueError, match=r"model\.first, model\.pair\['first'\], model\.pair\['others'\]\[0\].* Pass"):
        find_learning_rate(model, samples(), optimizer=keras.optimizers.SGD(), **FEW)
    with pytest.raises(ValueError, match="Pass `optimizer`, one that the training step uses"):
        find_learning_rate(Idle.made(), samples(), **FEW)


class Idle(keras.Sequential):
    """Its training step makes no update."""

    def train_step(self, *state_and_data: Any) -> Any:
        logs = {"loss": ops.ones(())}
        return (logs, state_and_data[0]) if BACKEND == "jax" else logs

    @classmethod
    def made(cls) -> Any:
        model = cls([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", loss="mse")
        return model


@pytest.mark.tensorflow
def test_layers_that_only_the_training_step_would_build() -> None:
    model, *_ = rivals(built=False)
    model.later = keras.layers.Dense(1, name="later")
    with pytest.raises(ValueError, match=r"without `call` must be built .* Received: not built=\['later'\]\. Begin"):
        find_learning_rate(model, samples(), **FEW)


class Wrapper(keras.optimizers.Optimizer):
    """Leaves the updates to another optimizer, and has a rate of its own that nothing reads."""

    def __init__(self, inner: Any, name: str = "wrapper") -> None:
        super().__init__(learning_rate=1.0, name=name)
        self._inner = inner

    def build(self, variables: Any) -> None:
        if not self.built:
            self._inner.build(variables)
            super().build(variables)

    @property
    def variables(self) -> Any:
        return super().variables + self._inner.variables

    def apply(self, gradients: Any, trainable_variables: Any = None) -> None:
        if trainable_variables is not None:
            self.build(trainable_variables)
        self._inner.apply(gradients, trainable_variables)

    def get_config(self) -> dict[str, Any]:
        return {"inner": keras.saving.serialize_keras_object(self._inner), "name": self.name}


class Delegating(Wrapper):
    @property
    def learning_rate(self) -> Any:
        return self._inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        self._inner.learning_rate = rate


class Reading(Wrapper):
    @property
    def learning_rate(self) -> Any:
        return self._inner.learning_rate


class Doubling(Wrapper):
    @property
    def learning_rate(self) -> Any:
        return 2 * self._inner.learning_rate


class Forgetful(Wrapper):
    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.mark.parametrize("rate", [0.1, SGDRSchedule(1, 1, 0.1, steps_per_epoch=3)], ids=["float", "schedule"])
@pytest.mark.parametrize("wrapper", [Wrapper, Delegating, Reading])
def test_the_optimizer_inside_a_wrapper_is_swept(wrapper: Any, rate: Any) -> None:
    inner = keras.optimizers.SGD(rate)
    model = probe(wrapper(wrapper(inner)), steps=UPDATES)
    batches = list(zip(*(part[:, None] for part in data(UPDATES)), strict=True))
    losses = find_learning_rate(model, batches, eta_min=1e-3, eta_max=0.5, **{**FEW, "updates": 40}).losses
    applied = -np.geomspace(1e-3, 0.5, 40)[: len(losses) - UPDATES]
    np.testing.assert_allclose(losses[UPDATES:], applied, rtol=FLOAT32)
    assert model.optimizer._inner._inner is inner
    assert int(values([inner.iterations])[0]) == 0


def test_wrappers_that_cannot_be_swept() -> None:
    inner = keras.optimizers.SGD(0.1)
    message = r"must keep the learning rate .* Received: Doubling with learning_rate=1\.9\d*e-06, set to 1e-06\. Let"
    with pytest.raises(ValueError, match=message):
        find_learning_rate(small_model(Doubling(inner)), samples(), **FEW)
    message = r"with copies of the optimizers.* Received: Forgetful, of which TypeError: .*inner.* Let its `get_con"
    with pytest.raises(ValueError, match=message):
        find_learning_rate(small_model(Forgetful(inner)), samples(), **FEW)


def test_a_training_step_that_sets_the_rate_itself() -> None:
    class Setting(keras.Sequential):
        def train_on_batch(self, *batch: Any, **options: Any) -> Any:
            self.optimizer.learning_rate = 0.25
            return super().train_on_batch(*batch, **options)

    model = Setting([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r"Received: SGD with learning_rate=0\.25, set to 1e-06\."):
        find_learning_rate(model, samples(), **FEW)


# No trace


def constant() -> float:
    return 0.05


Run: TypeAlias = list[tuple[Any, list[Array]]]
Use: TypeAlias = Callable[[Any], None]


def trainings(make: Callable[[], Any], *uses: Sequence[Use]) -> Run:
    """History and state of several trainings, each after range tests that leave the model as it was."""
    keras.utils.set_random_seed(3)
    model = make()
    run = []
    for tests in uses:
        for test in tests:
            optimizer, built, had_weights, before = model.optimizer, model.optimizer.built, model.built, state(model)
            test(model)
            assert (model.optimizer, model.optimizer.built) == (optimizer, built)
            if had_weights:
                assert_equal(state(model)[: len(before)], before)
                assert not any(map(np.any, state(model)[len(before) :]))  # Metrics that have come into being.
        run.append((fit(model), state(model)))
    return run


def assert_no_trace(make: Callable[[], Any], *uses: Sequence[Use]) -> None:
    """Compares the trainings with those without a range test."""
    for (history, after), (expected, afterwards) in zip(
        trainings(make, *uses), trainings(make, *[()] * len(uses)), strict=True
    ):
        assert history == expected
        assert_equal(after, afterwards)


def sweep(model: Any) -> None:
    assert len(find_learning_rate(model, samples(), **FEW).losses) > 10


def failing(after: int, error: type[BaseException]) -> Use:
    """A test whose data ends in an exception."""

    def batches() -> Iterator[Any]:
        for _ in range(after):
            yield samples()
        raise error("stop here")

    def test(model: Any) -> None:
        with pytest.raises(error, match="stop here"):
            find_learning_rate(model, batches(), **FEW)

    return test


def broken_step(model: Any) -> None:
    """An exception in the middle of a step: that of JAX has taken the variables' arrays by then."""
    x, y = samples()
    with pytest.raises(Exception, match=r"[Ss]hape|dimension|incompatible|size"):
        find_learning_rate(model, [(x, y), (x, y[:5])], **FEW)
    # On JAX this writes back what a step has not.
    callback = keras.callbacks.Callback()
    callback.set_model(model)
    assert callback.model is model


def to_nan(model: Any) -> None:
    x, y = samples()
    result = find_learning_rate(model, [(x, y)] * 5 + [(x, y * np.nan)], **FEW)
    assert (len(result.losses), result.stopped) == (5, "not finite")


def test_every_variable_and_the_next_fit_are_as_without_a_test() -> None:
    """Before the first `fit`, and after; also where the test is interrupted, fails, or makes the weights NaN."""
    interrupted = [failing(7, KeyboardInterrupt), failing(0, OSError), broken_step, to_nan]
    assert_no_trace(network, [sweep], interrupted)


def test_optimizer_that_accumulates_gradients() -> None:
    """After three updates, in the middle of an accumulation."""

    def make() -> Any:
        return small_model(keras.optimizers.AdamW(0.01, gradient_accumulation_steps=2))

    assert_no_trace(make, [], [sweep])


def test_schedule_and_several_steps_an_execution() -> None:
    steps = 1 if BACKEND == "torch" else 3  # Keras allows no more there.
    schedule = SGDRSchedule(1, 1, 0.1, steps_per_epoch=3)
    assert_no_trace(lambda: small_model(keras.optimizers.Adam(schedule), steps_per_execution=steps), [sweep])


def test_callable_rate_and_a_model_that_is_not_built() -> None:
    assert_no_trace(lambda: network(keras.optimizers.SGD(constant), built=False), [sweep])


def test_loss_scaling() -> None:
    def make() -> Any:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = small_model(keras.optimizers.SGD(0.1, momentum=0.9))
        finally:
            keras.config.set_dtype_policy(before)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        return model

    assert_no_trace(make, [sweep])


@pytest.mark.torch
def test_global_random_numbers() -> None:
    """On the PyTorch backend dropout draws from them; in the first `fit` once more than later, to build metrics."""
    assert_no_trace(lambda: network(seed=None), [], [sweep])


def test_weights_that_a_moving_average_has_replaced() -> None:
    # On JAX they share arrays with the optimizer's averages then. (A second `fit` fails there, with or without a test.)
    model = small_model(keras.optimizers.SGD(0.1, use_ema=True))
    fit(model)
    before = state(model)
    sweep(model)
    assert_equal(state(model), before)


def test_sweep_begins_in_the_state_of_the_optimizer() -> None:
    # The momentum of the training before carries the weights on, however small the rate.
    model, fresh = (small_model(keras.optimizers.SGD(0.1, momentum=1.0)) for _ in range(2))
    fit(model)
    fresh.set_weights(model.get_weights())
    still: dict[str, Any] = {"eta_min": 1e-12, "eta_max": 1e-11, **FEW}
    carried, unmoved = (find_learning_rate(one, [samples()], **still).losses for one in (model, fresh))
    assert np.ptp(carried) > 2 * np.ptp(unmoved)


def test_after_a_fit_that_an_exception_ended_and_before_one_with_the_callback() -> None:
    class Raise(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    model = small_model(keras.optimizers.SGD(RATE))
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
    model = small_model(AdamWR(1e-6, lambda_norm=0.5))
    plain = small_model(keras.optimizers.Adam(1e-6, epsilon=1e-8))
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
