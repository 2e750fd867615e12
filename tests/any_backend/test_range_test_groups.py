"""The range test of optimizers with several rates: groups of variables with multipliers, and `MultiOptimizer`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_sgdr import SGDR, Cycle, Schedule, SGDRSchedule, find_learning_rate
from keras_sgdr.optimizers import PyTorchSGD
from tests.support.optimizers import scaled, several
from tests.support.probe import BACKEND, COMPILED, RATE, Array, data, named_probes
from tests.support.small_model import assert_equal, small_data, small_model, train, values

UPDATES = 20
SWEEP: dict[str, Any] = {"eta_min": 1e-3, "eta_max": 0.5, "updates": UPDATES + 1}
RATES = np.geomspace(1e-3, 0.5, UPDATES + 1)  # The last update is made to read what those before it have moved.
LAYERS = ("conv5_block1", "conv5_block2", "head", "stem")
PATTERNS = {"head": 1.0, "conv5": 0.3, "*": 0.1}
MULTIPLIER = {"conv5_block1": 0.3, "conv5_block2": 0.3, "head": 1.0, "stem": 0.1}
ONES = dict.fromkeys(LAYERS, 1.0)


def probes(optimizer: Any = None, **compiling: Any) -> Any:
    return named_probes(LAYERS, optimizer or keras.optimizers.SGD(RATE), steps=UPDATES, **compiling)


def everything(model: Any) -> list[Array]:
    return values([*model.variables, *model.optimizer.variables])


def applied(model: Any, **options: Any) -> dict[str, Array]:
    """The rates that the sweep applied to each layer, update after update."""
    rates: dict[str, Array] = {}

    def batches() -> Iterator[Any]:
        x, y = data(UPDATES)
        for i in range(UPDATES):
            yield x[i, None], y[i, None]
        rates.update({name: -values([model.get_layer(name).w])[0] for name in LAYERS})
        yield x[:1], y[:1]

    optimizer, built = model.optimizer, model.optimizer.built
    before = everything(model)
    find_learning_rate(model, batches(), **{**SWEEP, **options})
    assert (model.optimizer, model.optimizer.built) == (optimizer, built)
    assert_equal(everything(model), before)
    return rates


def expected(multiplier: float, rates: Array = RATES[:UPDATES]) -> Array:
    """The swept rates times a multiplier, rounded once."""
    return np.asarray(rates * multiplier, "float32")


def assert_applied(rates: dict[str, Array], multiplier: dict[str, float]) -> None:
    assert rates.keys() == multiplier.keys()
    for name, of_layer in rates.items():
        np.testing.assert_array_equal(of_layer, expected(multiplier[name]), err_msg=name)


# Groups


@pytest.mark.parametrize("jit_compile", COMPILED)
def test_to_the_bit(jit_compile: bool) -> None:
    assert_applied(applied(probes(jit_compile=jit_compile), rate_multipliers=PATTERNS), MULTIPLIER)
    # The control.
    assert_applied(applied(probes(jit_compile=jit_compile)), ONES)


def test_a_function_of_the_variable_and_zero_that_freezes() -> None:
    of_layer = {"conv5_block1": 1.0, "conv5_block2": 1.0, "head": 2.5, "stem": 0.0}
    function = {"rate_multipliers": lambda variable: of_layer[variable.path.split("/")[0]]}
    assert_applied(applied(probes(), **function), of_layer)


def test_under_loss_scaling() -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=1.0)
    assert_applied(applied(probes(optimizer), rate_multipliers=PATTERNS), MULTIPLIER)


def test_under_accumulation() -> None:
    # Of two batches the mean gradient is a half, and the second of them makes the update.
    model = probes(keras.optimizers.SGD(RATE, gradient_accumulation_steps=2))
    for name, of_layer in applied(model, rate_multipliers=PATTERNS).items():
        made = expected(MULTIPLIER[name], np.repeat(RATES[1:UPDATES:2], 2))
        np.testing.assert_array_equal(of_layer, made / np.float32(2), err_msg=name)


def test_of_the_optimizer_that_is_asked_for() -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=1.0)
    model = probes(optimizer)
    inner = {"optimizer": optimizer.inner_optimizer, "rate_multipliers": PATTERNS}
    with pytest.raises(ValueError, match=r"the optimizer 'sgd.*', not built\. Begin the model with"):
        applied(model, **inner)
    optimizer.build(model.trainable_variables)
    assert_applied(applied(model, **inner), MULTIPLIER)


def test_of_a_model_that_its_first_batch_builds() -> None:
    model = keras.Sequential([keras.layers.Dense(1, name="only")])
    model.compile(keras.optimizers.SGD(RATE), loss="mse")
    losses = [find_learning_rate(model, small_data(), rate_multipliers={"only": m}, **SWEEP).losses for m in (0, 0.5)]
    assert not model.optimizer.built
    np.testing.assert_allclose(losses[0], losses[0][0], rtol=1e-6)
    assert losses[1][-1] < 0.9 * losses[1][0]


class Swept(Schedule):
    """The rates of the sweep, one an epoch."""

    def __call__(self, t: Any) -> Any:
        return RATES[np.asarray(t, int)]

    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        return iter(())


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True, weight_decay=0.01),
    "AdamW": lambda: keras.optimizers.AdamW(RATE, weight_decay=0.1),
    "accumulating": lambda: keras.optimizers.Adam(RATE, gradient_accumulation_steps=3),
    "Nadam": lambda: keras.optimizers.Nadam(RATE),
    "Ftrl": lambda: keras.optimizers.Ftrl(RATE),
    "Muon": lambda: keras.optimizers.Muon(RATE, adam_weight_decay=0.01),
    "PyTorchSGD": lambda: PyTorchSGD(RATE, momentum=0.9, weight_decay=0.01),
    "scaled": scaled,
    "several": several,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_losses_are_those_of_a_training_under_the_callback(name: str) -> None:
    """So that what is suggested is the `eta_max` for `SGDR` with the same multipliers."""
    x, y = small_data()
    groups = {"dense_1": 0.25, "*": 0.5}

    def model() -> Any:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(4, activation="tanh", name="dense"), keras.layers.Dense(1, name="dense_1")]
        made = keras.Sequential([keras.Input((3,)), *layers])
        made.compile(OPTIMIZERS[name](), loss="mse")
        return made

    def fitted(**options: Any) -> Any:
        callback = SGDR(schedule=Swept(), **options)
        return model().fit(x, y, epochs=UPDATES, batch_size=12, shuffle=False, verbose=0, callbacks=[callback])

    losses = find_learning_rate(model(), [(x, y)], rate_multipliers=groups, **SWEEP).losses[:UPDATES]
    theirs = np.array(fitted(rate_multipliers=groups).history["loss"])[: len(losses)]
    np.testing.assert_allclose(losses, theirs, rtol=2e-5)
    # The control: with one rate for all it is another training.
    one_rate = np.array(fitted().history["loss"])[: len(losses)]
    assert not np.allclose(losses, one_rate, rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"must be a dictionary of patterns and multipliers, or a function of a variable\. Received: .*=3\. Pass"),
        ({"": 1.0}, r"must name layers by strings that are not empty\. Received: a layer=''\. Pass"),
        ({"head": -1}, r"`rate_multipliers\['head'\]` must be a finite number, 0 or more\. Received: .*-1\. Pass"),
        ({"conv": 1.0}, r"pattern of `rate_multipliers` must match a variable\. Received: 'conv', which matches none"),
        (
            {"*": 1.0, "head": 2.0},
            r"first pattern.* counts\. Received: 'head', of whose variables all .* Put it before",
        ),
        (lambda variable: None, r"`rate_multipliers\(conv5_block1/w\)` must be a finite number.*None\. Pass"),
        ({"head": 1e40}, r"must be within the optimizer's float32\. Received: highest rate=5e\+39\. Pass another"),
    ],
    ids=str,
)
def test_what_is_refused(given: Any, message: str) -> None:
    model = probes()
    before = everything(model)
    with pytest.raises(ValueError, match=message):
        applied(model, rate_multipliers=given)
    assert_equal(everything(model), before)
    assert_applied(applied(model), ONES)


def test_a_training_step_that_sets_the_rate_itself() -> None:
    class Setting(keras.Sequential):
        def train_on_batch(self, *batch: Any, **options: Any) -> Any:
            self.optimizer.learning_rate = 0.25
            return super().train_on_batch(*batch, **options)

    model = Setting([keras.Input((3,)), keras.layers.Dense(1, name="dense")])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r"Received: SGD with learning_rate=0\.25, set to 0\.001\."):
        find_learning_rate(model, small_data(), rate_multipliers={"dense": 0.5}, **SWEEP)


# Several optimizers


def by_map(*, head: Any = None, **options: Any) -> Any:
    """One optimizer for the head, another for the rest, and one that has nothing to train."""
    head = keras.optimizers.SGD(0.2, name="of_head") if head is None else head
    chosen = {"none": keras.optimizers.SGD(0.4, name="idle"), "head.*": head}
    rest = keras.optimizers.SGD(0.3, name="of_rest")
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(rest, chosen), **options)


def by_function(**options: Any) -> Any:
    """The same by a function, which Keras could not write to a file."""

    class Choose:
        def __init__(self) -> None:
            self.head, self.rest = keras.optimizers.SGD(0.2), keras.optimizers.SGD(0.3)

        def __call__(self, variable: Any) -> Any:
            return self.head if variable.path.startswith("head") else self.rest

    return keras.optimizers.MultiOptimizer(Choose(), **options)


def by_new_ones() -> Any:
    """Another optimizer for each variable, made when it is asked for."""
    return keras.optimizers.MultiOptimizer(lambda variable: keras.optimizers.SGD(0.2))


def by_map_with_a_schedule() -> Any:
    return by_map(head=keras.optimizers.SGD(SGDRSchedule(1, 1, 0.1, steps_per_epoch=3), name="of_head"))


KINDS = [by_map, by_function, by_new_ones, by_map_with_a_schedule]


@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("make", KINDS)
def test_all_of_several_optimizers_are_swept(make: Callable[[], Any], is_scaled: bool, is_built: bool) -> None:
    optimizer = make()
    if is_scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    model = probes(optimizer)
    if is_built:
        optimizer.build(model.trainable_variables)
    assert_applied(applied(model), ONES)
    assert_applied(applied(model, rate_multipliers=PATTERNS), MULTIPLIER)


def rates_of(optimizer: Any) -> list[float]:
    return [float(rate) for rate in values([each.learning_rate for each in optimizer.optimizers])]


@pytest.mark.parametrize("make", [by_map, by_function])
def test_one_of_several_optimizers_is_swept(make: Callable[[], Any]) -> None:
    optimizer = make()
    model = probes(optimizer)
    optimizer.build(model.trainable_variables)
    rates = rates_of(optimizer)
    head = optimizer.optimizers[rates.index(float(np.float32(0.2)))]
    of_layer = applied(model, optimizer=head)
    np.testing.assert_array_equal(of_layer.pop("head"), expected(1.0))
    for name, others in of_layer.items():
        np.testing.assert_array_equal(others, np.full(UPDATES, 0.3, "float32"), err_msg=name)
    np.testing.assert_array_equal(applied(model, optimizer=head, rate_multipliers={"*": 0.5})["head"], expected(0.5))
    assert rates_of(optimizer) == rates


def test_an_optimizer_with_nothing_to_train_is_refused() -> None:
    optimizer = by_map()
    model = probes(optimizer)
    optimizer.build(model.trainable_variables)
    message = "SGD 'idle', which made no update in 20 batches. Pass optimizer=model.optimizer."
    with pytest.raises(ValueError, match=re.escape(message)):
        applied(model, optimizer=optimizer.optimizers[0])
    with pytest.raises(ValueError, match=r"must be one that the model holds.* holds model\.optimizer\. Pass"):
        applied(model, optimizer=keras.optimizers.SGD())


def test_optimizers_that_are_not_known_yet_are_refused() -> None:
    class Stepping(keras.Model):
        """Its own training step uses an optimizer that is not the model's."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = keras.layers.Dense(1)
            self.second = by_function()

        def call(self, x: Any) -> Any:
            return self.layer(x)

    model = Stepping()
    model.compile("sgd", loss="mse")
    message = (
        "`find_learning_rate` must find the optimizers that a `MultiOptimizer` chooses by a function, which it does "
        f"once it is built. Received: '{model.second.name}', not built. Begin the model with"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        find_learning_rate(model, small_data(), optimizer=model.second, **SWEEP)


@pytest.mark.parametrize("options", [{}, {"rate_multipliers": {"dense*": 0.5, "*": 0.0}}], ids=str)
@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
@pytest.mark.parametrize("make", [several, lambda: keras.optimizers.LossScaleOptimizer(several())])
def test_no_trace(make: Callable[[], Any], error: Any, options: dict[str, Any]) -> None:
    """Of momenta, counts, scale and seeds, in trainings before and after it, also where the data raise."""

    def batches() -> Iterator[Any]:
        for _ in range(7):
            yield small_data()
        raise error

    def trained(*, tested: bool) -> list[Any]:
        model = small_model(make())
        seen = []
        for _ in range(2):
            inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
            if tested:
                optimizers, before, built = list(inner.optimizers), everything(model), inner.built
                if error is None:
                    find_learning_rate(model, small_data(), **SWEEP, **options)
                else:
                    with pytest.raises(error):
                        find_learning_rate(model, batches(), **SWEEP, **options)
                assert (inner.optimizers, inner.built) == (optimizers, built)
                assert_equal(everything(model), before)
                assert not any("_backend_update_step" in vars(each) for each in optimizers)
            seen.append((train(model).history["loss"], everything(model)))
        return seen

    for (losses, after), (losses_without, without) in zip(trained(tested=True), trained(tested=False), strict=True):
        assert losses == losses_without
        assert_equal(after, without)


def test_a_step_of_ones_own_with_several_optimizers_beside_the_swept_one() -> None:
    """One that chooses by a function, and is not built: its copy is built in the step."""
    if BACKEND == "jax":
        pytest.skip("A step of its own hands all variables in and out there.")

    class Beside(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (self.add_weight(shape=(), initializer="zeros", name=name) for name in ("one", "two"))
            self.second = by_function()
            self.built = BACKEND != "tensorflow"  # There `fit` does not ask.

        def train_step(self, data: Any) -> Any:
            loss = ops.convert_to_tensor(self.one) + 10 * ops.convert_to_tensor(self.two)
            self.optimizer.apply([ops.ones(())], [self.one])
            self.second.apply([ops.ones(())], [self.two])
            return {"loss": loss}

    model = Beside()
    model.compile(keras.optimizers.SGD(RATE), run_eagerly=True)
    model.optimizer.build([model.one])
    losses = find_learning_rate(model, small_data(), **SWEEP).losses
    moved = np.cumsum([0, *RATES[: len(losses) - 1]]) + 10 * 0.3 * np.arange(len(losses))
    np.testing.assert_allclose(losses, -moved, rtol=1e-5, atol=1e-12)
    assert not model.second.built
    assert model.second.optimizers == []
