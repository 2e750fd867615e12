"""AdamWR on this process's backend: the decay of every update, saving, and use without the callback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from numpy.typing import NDArray

from keras_sgdr import SGDR, SGDRSchedule, StepDecay, WarmRestarts
from keras_sgdr.callbacks.step.rate_table import cycle_lengths
from keras_sgdr.callbacks.step.slots import slots_of
from keras_sgdr.optimizers import AdamWR
from tests.support import probe
from tests.support.probe import BACKEND, EPOCHS, STEPS, sgdr
from tests.support.small_model import assert_equal, small_data, small_model, train, values
from tests.support.trace import decays, traced, weights

Array = NDArray[Any]

ALPHA = 0.01
NORM = 0.5  # Large, so that a decay is far above float32's rounding.
# A weight after an update, and its quotient with the one before, each rounded to float32: the decay is known to this.
ROUNDING = 4 * float(np.finfo(np.float32).eps)
CYCLES = np.repeat([7.0, 14.0], [7, 14])  # Updates of the cycle of each update, for `sgdr()`, 7 steps and 3 epochs.
# One test compiles with XLA on TensorFlow; elsewhere that would only take time.
UNCOMPILED = {"jit_compile": False} if BACKEND == "tensorflow" else {}


def adamwr(learning_rate: Any = ALPHA, **options: Any) -> AdamWR:
    return AdamWR(learning_rate, **{"lambda_norm": NORM, **options})


def model_of(optimizer: Any) -> Any:
    return small_model(optimizer, **UNCOMPILED)


def multipliers(epochs: int = EPOCHS, **options: Any) -> Array:
    """`eta_t` of every update, as `sgdr(**options)` has it."""
    return WarmRestarts(**{"T_0": 1, "T_mult": 2, **options}).learning_rates(epochs, STEPS)


def applied(callback: Any = None, epochs: int = EPOCHS, optimizer: Any = None, **fitting: Any) -> Array:
    """The decay of each update of a `fit` without gradients."""
    model = traced(optimizer or adamwr(), epochs * STEPS, **UNCOMPILED)
    return decays(weights(model, callback or sgdr(), epochs=epochs, **fitting))


def assert_decays(decay: Array, eta: Array, cycle_updates: Any, norm: float = NORM) -> None:
    np.testing.assert_allclose(decay, eta * norm / np.sqrt(cycle_updates), rtol=0, atol=ROUNDING)


@pytest.fixture(scope="module")
def unbroken() -> Any:
    """A small model after a `fit` under `sgdr()`."""
    model = model_of(adamwr())
    train(model, sgdr())
    return model


@pytest.fixture(scope="module")
def decay() -> Array:
    """The decay of each update under `sgdr()`."""
    return applied()


class TestDecay:
    # Executions of 3 leave a remainder; Keras allows one batch per execution on PyTorch.
    @pytest.mark.parametrize(
        ("steps_per_execution", "jit_compile"),
        [(1, BACKEND == "jax"), *([(3, BACKEND == "jax")] if BACKEND != "torch" else [])],
    )
    def test_changes_at_exactly_the_restart(self, steps_per_execution: int, jit_compile: bool) -> None:
        model = traced(adamwr(), 21, steps_per_execution=steps_per_execution, jit_compile=jit_compile)
        assert_decays(decays(weights(model, sgdr(), epochs=EPOCHS)), multipliers(), CYCLES)

    @pytest.mark.filterwarnings("ignore:Cycles that become shorter:UserWarning")
    def test_after_cycles_that_shrink_to_nothing_it_is_that_of_one_update(self) -> None:
        options = {"T_mult": 0.5, "eta_min": ALPHA / 2}
        decay = applied(sgdr(**options))
        eta = multipliers(eta_max=1.0, T_mult=0.5, eta_min=0.5)
        lengths = [7.0] * 7 + [3.5] * 4 + [1.75] * 2 + [1.0] * 8
        assert_decays(decay, eta, np.array(lengths))

    @pytest.mark.parametrize(
        "wrong", [np.full(21, 7.0), np.repeat([7.0, 14.0], [8, 13]), np.repeat([7.0, 14.0], [6, 15])]
    )
    def test_the_trace_can_tell(self, decay: Array, wrong: Array) -> None:
        """The control: a decay that is not renormalised, or an update early or late."""
        assert_decays(decay, multipliers(), CYCLES)
        with pytest.raises(AssertionError):
            assert_decays(decay, multipliers(), wrong)

    def test_run_eagerly(self) -> None:
        model = traced(adamwr(), 21, run_eagerly=True)
        assert_decays(decays(weights(model, sgdr(), epochs=EPOCHS)), multipliers(), CYCLES)

    @pytest.mark.parametrize(
        ("options", "cycle_updates"),
        [
            ({"T_0": 0.5, "T_mult": 1}, [3.5] * 35),  # 4 and 3 updates in turn; `T_i` is their mean.
            # Warmup has the length of the first cycle; after the second, that of the second holds.
            ({"warmup": 1, "cycle_limit": 2, "T_0": 1}, [7.0] * 14 + [14.0] * 21),
            ({"cycle_limit": 1, "end": "inclusive", "eta_min": 0.001}, [7.0] * 35),
        ],
        ids=lambda options: ",".join(options) if isinstance(options, dict) else "",
    )
    @pytest.mark.filterwarnings("ignore:.*mid-cycle:UserWarning")
    def test_schedules(self, options: dict[str, Any], cycle_updates: list[float]) -> None:
        relative = {**options, "eta_min": options.get("eta_min", 0.0) / ALPHA}
        assert_decays(applied(sgdr(**options), epochs=5), multipliers(5, **relative), cycle_updates)

    def test_without_cycles_it_is_that_of_the_whole_training(self) -> None:
        schedule = StepDecay(ALPHA, step_size=2)
        assert_decays(applied(SGDR(schedule=schedule), epochs=3), schedule.learning_rates(3, STEPS) / ALPHA, 3 * STEPS)

    def test_held_through_an_epoch(self) -> None:
        """At the restart after one and a half epochs both wait for the next epoch."""
        eta = np.repeat(WarmRestarts(1.5, 3).learning_rates(6, 1), STEPS)
        decay = applied(sgdr(per="epoch", T_0=1.5, T_mult=3), epochs=6)
        assert_decays(decay, eta, np.repeat([10.5, 31.5], [14, 28]))

    def test_begins_where_the_epoch_is(self) -> None:
        model = traced(adamwr(), 35, **UNCOMPILED)
        assert_decays(decays(weights(model, sgdr(), epochs=3, initial_epoch=1)), multipliers()[7:], CYCLES[7:])
        assert_decays(decays(weights(model, sgdr(), epochs=3)), multipliers(), CYCLES)

    def test_longer_than_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keras_sgdr.callbacks.training._TABLE", 2 * STEPS)
        assert_decays(applied(), multipliers(), CYCLES)

    def test_excluded_variables_do_not_decay(self) -> None:
        optimizer = adamwr()
        optimizer.exclude_from_weight_decay(var_names=["w"])
        np.testing.assert_array_equal(applied(optimizer=optimizer), np.zeros(21))

    def test_none(self) -> None:
        """Nothing to normalise, so it trains without `SGDR` too."""
        optimizer = AdamWR(ALPHA, lambda_norm=0)
        assert len(weights(traced(optimizer, 7, **UNCOMPILED), epochs=1, gradient=1.0)) == 8

    def test_under_gradient_accumulation_it_counts_updates(self) -> None:
        # Windows of 2 in epochs of 7; the last window spans the restart and takes its last batch's rate and cycle.
        eta, cycle_updates = multipliers(7), np.repeat([3.5, 7.0, 14.0], [7, 14, 28])
        eta[::2] = 0  # no update then
        assert_decays(applied(epochs=7, optimizer=adamwr(gradient_accumulation_steps=2)), eta, cycle_updates)


class TestMultiplier:
    """`eta_t` is the rate in force over the optimizer's `eta_max`."""

    def test_another_peak_in_the_callback_scales_it(self) -> None:
        """As does each of its decaying peaks."""
        decay = applied(sgdr(eta_max=ALPHA / 4, eta_max_decay=0.5))
        assert_decays(decay, multipliers(eta_max_decay=0.5) / 4, CYCLES)

    def test_another_rate_on_the_optimizer_scales_it(self) -> None:
        optimizer = adamwr()
        optimizer.learning_rate = ALPHA / 4
        assert_decays(applied(optimizer=optimizer), multipliers() / 4, CYCLES)

    def test_does_not_depend_on_the_learning_rate(self) -> None:
        """`eta_max` follows it, so a larger one decays no more."""
        assert_decays(applied(optimizer=adamwr(learning_rate=0.3)), multipliers(), CYCLES)

    def test_can_have_another_reference_than_the_learning_rate(self) -> None:
        """The control: with `eta_max` elsewhere the decay is scaled."""
        assert_decays(applied(optimizer=adamwr(ALPHA, eta_max=ALPHA / 2)), 2 * multipliers(), CYCLES)


class TestLossScaling:
    def test_skipped_batches_keep_their_positions(self) -> None:
        """Batch 8 lies at the restart: without it the second cycle's decay begins a batch later, and does not slip."""
        optimizer = keras.optimizers.LossScaleOptimizer(adamwr(), initial_scale=1.0)
        model = traced(optimizer, 21, **UNCOMPILED)
        x = np.zeros((21, 1), "float32")
        y = np.ones((21, 1), "float32")
        y[7] = np.inf
        # One epoch of 21 batches, in cycles of a third and two thirds of it.
        model.fit(x, y, batch_size=1, shuffle=False, verbose=0, callbacks=[sgdr(T_0="1/3")])
        seen = ops.convert_to_numpy(model.layers[-1].seen).astype("float64")
        eta = multipliers()
        eta[7] = 0
        assert_decays(decays(np.append(seen, ops.convert_to_numpy(model.layers[-1].w))), eta, CYCLES)


def test_beside_another_optimizer() -> None:
    """Each of a `MultiOptimizer`'s has what it asks for."""
    mapping = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {".*kernel": adamwr()})
    model = model_of(keras.optimizers.MultiOptimizer(mapping))
    x, y = small_data()
    before = values(model.weights)
    model.fit(0 * x, 0 * y, batch_size=4, epochs=EPOCHS, verbose=0, callbacks=[sgdr()])
    after = values(model.weights)
    eta = WarmRestarts(1, 2).learning_rates(EPOCHS, 3)
    factor = np.prod(1 - eta * NORM / np.sqrt(np.repeat([3.0, 6.0], [3, 6])))
    # The first kernel has no gradient, for its input is 0: nine products in float32.
    np.testing.assert_allclose(after[0], before[0] * factor, rtol=9 * float(np.finfo(np.float32).eps), atol=0)
    np.testing.assert_array_equal(after[1], before[1])


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(0.1), keras.optimizers.AdamW(0.1)])
def test_no_other_optimizer_pays_for_it(optimizer: Any) -> None:
    assert [slot.name for slot in slots_of(small_model(optimizer))] == ["learning_rate"]


class TestCycleLengths:
    def test_fractions(self) -> None:
        lengths = cycle_lengths(WarmRestarts(0.5, 1.5), range(8), 4)
        np.testing.assert_array_equal(lengths, [0.5, 0.5, 0.75, 0.75, 0.75, 1.125, 1.125, 1.125])

    def test_shrinking(self) -> None:
        lengths = cycle_lengths(WarmRestarts(1, 0.5), range(12), 4)
        np.testing.assert_array_equal(lengths[:7], [1, 1, 1, 1, 0.5, 0.5, 0.25])
        # After two epochs no cycle is run; the last one was the shortest above a millionth.
        np.testing.assert_array_equal(lengths[8:], np.full(4, 0.5**19))

    def test_none(self) -> None:
        assert np.isnan(cycle_lengths(StepDecay(1.0), range(6, 10), 2)).all()


# The whole update


def literal(path: Array, gradients: Array, rates: Array, cycle_updates: Array, betas: tuple[float, float]) -> Array:
    """Algorithm 2 of the paper, line by line, from `path[0]`."""
    theta, m, v = path[0], 0.0, 0.0
    thetas = [theta]
    for t, (g, rate, updates) in enumerate(zip(gradients, rates, cycle_updates, strict=True), 1):
        eta_t = rate / ALPHA
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        theta = theta - eta_t * (ALPHA * m_hat / (np.sqrt(v_hat) + 1e-3) + NORM / np.sqrt(updates) * theta)
        thetas.append(theta)
    return np.array(thetas)


def test_update_is_the_paper_s() -> None:
    # The gradient is of epsilon's size, which shows where epsilon is added.
    path = weights(traced(adamwr(epsilon=1e-3), 21, **UNCOMPILED), sgdr(), epochs=EPOCHS, gradient=1e-3)
    expected = literal(path, np.full(21, 1e-3), ALPHA * multipliers(), CYCLES, (0.9, 0.999))
    # In float32 `1 - beta_2**t` is known to 5e-5 of itself at first, and a step is 0.01.
    np.testing.assert_allclose(path, expected, rtol=0, atol=2e-6)
    assert np.abs(expected - path[0]).max() > 0.1


def test_equals_keras_s_adamw_where_that_is_normalised_by_hand() -> None:
    ours = AdamWR(0.01, lambda_norm=0.1, epsilon=1e-30)
    ours.cycle_updates = 9.0
    theirs = keras.optimizers.AdamW(0.01, 0.1 / 0.01 / 3, epsilon=1e-30)
    weights = []
    for optimizer in (ours, theirs):
        variable = keras.Variable([1.0, -0.5])
        for k in range(9):
            optimizer.apply([ops.convert_to_tensor([np.cos(k), 0.1 * k], "float32")], [variable])
        weights.append(ops.convert_to_numpy(variable))
    # Nine updates of weights of order 1 in float32, and the bias corrections as above.
    np.testing.assert_allclose(weights[0], weights[1], rtol=0, atol=1e-5)


# Without the callback


def test_loop_that_sets_rate_and_cycle(unbroken: Any) -> None:
    loop = model_of(adamwr())
    x, y = small_data()
    for k, eta in enumerate(WarmRestarts(1, 2, ALPHA).learning_rates(EPOCHS, 3)):
        loop.optimizer.learning_rate = float(eta)
        if k in (0, 3):
            loop.optimizer.cycle_updates = 3 if k == 0 else 6
        batch = slice(4 * (k % 3), 4 * (k % 3) + 4)
        loop.train_on_batch(x[batch], y[batch])  # compiled once: rate and cycle are read from variables
    for of_fit, of_loop in zip(values(unbroken.weights), values(loop.weights), strict=True):
        # XLA fuses, and so rounds, otherwise around a table than around a variable: nine updates of 0.01.
        np.testing.assert_allclose(of_fit, of_loop, rtol=0, atol=1e-7)


def test_schedule_without_the_callback() -> None:
    schedule = SGDRSchedule(T_0=1, T_mult=1, eta_max=ALPHA, steps_per_epoch=STEPS)
    model = traced(adamwr(schedule, eta_max=ALPHA), 21, **UNCOMPILED)
    model.optimizer.cycle_updates = STEPS
    assert_decays(decays(weights(model, epochs=EPOCHS)), multipliers(T_mult=1), 7.0)
    copy = AdamWR.from_config(model.optimizer.get_config())
    assert copy.get_config() == model.optimizer.get_config()


UNKNOWN = (
    "`AdamWR` normalises its decay by the length of the current cycle, so it must be given that. Received: no "
    "cycle_updates. Pass `SGDR` to `fit`, or"
)


def test_refuses_to_guess_the_cycle() -> None:
    model = model_of(adamwr())
    with pytest.raises(ValueError, match=re.escape(UNKNOWN)):
        train(model)
    if BACKEND == "jax":  # A model whose step fails is lost: Keras has taken its values out and does not put them back.
        model = model_of(adamwr())
    train(model, sgdr())
    # The cycle of the callback ends with it.
    with pytest.raises(ValueError, match=re.escape(UNKNOWN)):
        train(model)


class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise KeyboardInterrupt


def test_cycle_can_be_set_after_an_interrupted_fit() -> None:
    model = model_of(adamwr())
    with pytest.raises(KeyboardInterrupt):
        train(model, sgdr(), Interrupt())
    model.optimizer.cycle_updates = 9
    assert float(model.optimizer.cycle_updates) == 9
    train(model)


class SetsCycle(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.cycle_updates = 5


def test_only_the_callback_sets_the_cycle_in_fit() -> None:
    message = "During `fit` only `SGDR` sets the cycle updates. Received: cycle_updates=5 from SetsCycle."
    with pytest.raises(ValueError, match=re.escape(message)):
        train(model_of(adamwr()), sgdr(), SetsCycle())


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_needs_the_batches_of_an_epoch() -> None:
    message = "`AdamWR` normalises its decay by the updates of a cycle, so `SGDR` needs the number of batches"
    model = traced(adamwr(), 21, **UNCOMPILED)
    with pytest.raises(ValueError, match=message):
        model.fit(probe.unknown_length(), verbose=0, shuffle=False, callbacks=[sgdr(per="epoch")])
    model.fit(probe.unknown_length(), verbose=0, shuffle=False, callbacks=[sgdr(per="epoch", steps_per_epoch=STEPS)])


# Saving


def test_config_round_trip() -> None:
    settings = {"eta_max": 0.003, "lambda_norm": 0.05, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}
    optimizer = AdamWR(0.001, **settings, clipnorm=1.0, name="mine")
    config = keras.optimizers.serialize(optimizer)
    assert config["registered_name"] == "keras_sgdr>AdamWR"
    copy = keras.optimizers.deserialize(config)
    assert type(copy) is AdamWR
    assert copy.get_config() == optimizer.get_config()
    assert {name: getattr(copy, name) for name in settings} == settings
    assert float(copy.learning_rate) == float(np.float32(0.001))


def test_config_keeps_the_reference_that_followed_the_learning_rate() -> None:
    optimizer = AdamWR(0.01)
    optimizer.learning_rate = 0.002
    copy = AdamWR.from_config(optimizer.get_config())
    assert (copy.eta_max, float(copy.learning_rate)) == (0.01, float(np.float32(0.002)))


@pytest.mark.filterwarnings("ignore:.*mid-cycle:UserWarning")
def test_saved_model_trains_on(unbroken: Any, tmp_path: Path) -> None:
    """Saved in `fit` or after it, the file holds the state, and `SGDR` goes on where it would have gone."""
    model = model_of(adamwr())
    save = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.save(tmp_path / f"{epoch}.keras"))
    train(model, sgdr(), save, epochs=2)
    model.save(tmp_path / "after.keras")
    resumed, after = (keras.saving.load_model(tmp_path / f"{name}.keras") for name in ("1", "after"))
    assert type(resumed.optimizer) is AdamWR
    assert_equal(values(resumed.weights), values(after.weights))
    assert_equal(values(resumed.optimizer.variables), values(after.optimizer.variables))
    train(resumed, sgdr(), initial_epoch=2)
    assert_equal(values(resumed.weights), values(unbroken.weights))
    assert_equal(values(resumed.optimizer.variables), values(unbroken.optimizer.variables))
    with pytest.raises(ValueError, match=re.escape(UNKNOWN)):
        train(resumed)


def test_cycle_that_was_set_is_kept_by_fit_and_saved(tmp_path: Path) -> None:
    model = model_of(adamwr())
    model.optimizer.cycle_updates = 9
    train(model, sgdr())
    assert float(model.optimizer.cycle_updates) == 9
    model.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert float(resumed.optimizer.cycle_updates) == 9
    train(resumed)


def test_interrupted_run_resumes_from_its_backup(unbroken: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(model_of(adamwr()), sgdr(), keras.callbacks.BackupAndRestore(tmp_path / "backup"), Interrupt())
    model = model_of(adamwr())
    train(model, sgdr(), keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    assert_equal(values(model.weights), values(unbroken.weights))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "`learning_rate` must be a finite positive number. Received: learning_rate=0.0. Pass"),
        ({"learning_rate": -1, "eta_max": 1}, "`learning_rate` must be a finite number, 0 or more. Received: learning"),
        (
            {"learning_rate": lambda: 0.1},
            "`AdamWR` must be given `eta_max` where `learning_rate` is a schedule or a callable. Received: "
            "eta_max=None. Pass the rate at a restart, such as eta_max=0.001.",
        ),
        ({"eta_max": 0.0}, "`eta_max` must be a finite positive number. Received: eta_max=0.0. Pass the rate at a"),
        ({"eta_max": float("nan")}, "`eta_max` must be a finite positive number. Received: eta_max=nan."),
        ({"lambda_norm": -1}, "`lambda_norm` must be a finite number, 0 or more. Received: lambda_norm=-1. Pass a"),
        ({"beta_1": 1.0}, "`beta_1` must be a number in [0, 1). Received: beta_1=1.0. Pass beta_1=0.9, the paper's."),
        ({"beta_2": -0.1}, "`beta_2` must be a number in [0, 1). Received: beta_2=-0.1. Pass beta_2=0.999, the"),
        ({"learning_rate": 1e-46}, "within the optimizer's float32. Received: highest rate=1e-46. Pass another"),
        ({"eta_max": 1e39}, "must be within the optimizer's float32. Received: highest rate=1e+39. Pass another"),
        ({"epsilon": 0}, "`epsilon` must be a finite positive number. Received: epsilon=0. Pass epsilon=1e-8"),
        ({"weight_decay": 0.01}, "The decay of `AdamWR` is `lambda_norm`, normalised by the length of the cycle. Rec"),
    ],
)
def test_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        AdamWR(**settings)


@pytest.mark.parametrize("value", [0, -3.0, float("inf")])
def test_refuses_a_cycle_that_is_none(value: float) -> None:
    message = f"`cycle_updates` must be a finite positive number. Received: cycle_updates={value}. Pass the updates"
    with pytest.raises(ValueError, match=re.escape(message)):
        AdamWR().cycle_updates = value
