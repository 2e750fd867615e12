"""SGDRSchedule on this process's backend: the rates of WarmRestarts, in the compiled step."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from keras_sgdr import SGDRSchedule, StepDecay, WarmRestarts
from tests.support.literal import (
    FACTORS,
    FLOAT64,
    LENGTHS,
    STEPS_PER_EPOCH,
    around,
    boundaries,
    literal_rates,
    restarts_among,
)
from tests.support.probe import fit, probe

Float32 = NDArray[np.float32]

BACKEND = keras.config.backend()
# Float64 inside, rounded once: equal on TensorFlow and PyTorch. JAX computes in float32: the fraction of the cycle, pi
# times it and the cosine are rounded, which moves the rate by a few units of the last place of eta_max.
UNITS_IN_THE_LAST_PLACE = 8 if BACKEND == "jax" else 0


def evaluate(schedule: Callable[[Any], Any], updates: Sequence[int]) -> Float32:
    """The rates of the updates, all from one compiled function; on PyTorch from eager steps, and mapped over."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def rates(steps: Any) -> Any:
            return tf.map_fn(schedule, steps, fn_output_signature=tf.float32)

        return tf.function(rates, autograph=False)(tf.constant(updates, tf.int64)).numpy()
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.jit(jax.vmap(schedule))(np.array(updates, np.int32)))
    import torch

    eager = np.array([schedule(torch.tensor(k)).item() for k in updates], np.float32)
    if isinstance(schedule, SGDRSchedule):
        # What is mapped over has no value to look up: the operations that a GPU runs.
        mapped = torch.func.vmap(schedule)(torch.tensor(updates))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mapped), eager)
    return eager


def assert_rates(rates: Float32, expected: NDArray[np.float64], eta_max: float) -> None:
    unit = np.spacing(np.float32(eta_max))
    np.testing.assert_allclose(rates, expected.astype(np.float32), rtol=0, atol=UNITS_IN_THE_LAST_PLACE * unit)


def missed_restarts(schedule: Callable[[Any], Any], restarts: Sequence[int], eta_max: float) -> list[int]:
    """The first updates of cycles that do not run at the peak."""
    rates = evaluate(schedule, restarts)
    return [k for k, rate in zip(restarts, rates, strict=True) if rate != np.float32(eta_max)]


# Every length and every number of steps, each factor at least once.
GRIDS = [(T_0, FACTORS[i % len(FACTORS)], STEPS_PER_EPOCH[i % len(STEPS_PER_EPOCH)]) for i, T_0 in enumerate(LENGTHS)]


@pytest.mark.parametrize(("T_0", "T_mult", "steps_per_epoch"), GRIDS, ids=str)
def test_every_boundary_and_its_neighbours(T_0: Fraction, T_mult: Fraction, steps_per_epoch: int) -> None:
    begins = boundaries(T_0, T_mult, steps_per_epoch, first=100, spread=50)
    updates = around(begins)
    schedule = SGDRSchedule(T_0, T_mult, 0.1, 0.001, steps_per_epoch=steps_per_epoch)
    rates = evaluate(schedule, updates)

    exactly = restarts_among(updates, T_0, T_mult, steps_per_epoch)
    np.testing.assert_array_equal(rates[exactly], np.float32(0.1))
    assert_rates(rates, literal_rates(updates, steps_per_epoch, T_0, T_mult, 0.1, 0.001), 0.1)
    # A cycle of 10,000 updates and more falls by less than float32 resolves in its first update, not in its last.
    before = np.isin(updates, [math.ceil(begin) - 1 for begin in begins])
    assert np.all(rates[before & ~exactly] != np.float32(0.1))


def test_known_restarts_that_a_logarithm_misses() -> None:
    restarts = [10 * (2**i - 1) for i in range(20)]
    assert missed_restarts(SGDRSchedule(10, 2, 0.1, steps_per_epoch=1), restarts, 0.1) == []
    # The control: the same test finds the errors of Keras's own schedule.
    keras_own = keras.optimizers.schedules.CosineDecayRestarts(0.1, 10, t_mul=2.0)
    assert missed_restarts(keras_own, restarts, 0.1) == [81910, 327670]


OPTIONS: dict[str, dict[str, Any]] = {
    "constant lengths": {"T_0": 2, "T_mult": 1},
    "no update on a boundary": {"T_0": Fraction(4, 3), "T_mult": 1.5},
    "a period of three cycles": {"T_0": Fraction(4, 3), "T_mult": 1},
    "cycles shorter than an update": {"T_0": Fraction(1, 30), "T_mult": 1},
    "no simple fraction": {"T_0": 5 * math.pi, "T_mult": 1, "cycle_limit": 100},
    "below one": {"T_0": 4, "T_mult": 0.5, "eta_min": 0.01},
    "both lists": {"T_0": 1, "T_mult": 2, "eta_max": [0.3, 0.1, 0.2], "eta_min": [0.01, 0.02]},
    "list of constant lengths": {"T_0": 1, "T_mult": 1, "eta_max": [0.3, 0.1, 0.2]},
    "decays": {"T_0": 1, "T_mult": 1, "eta_min": 0.02, "eta_max_decay": 0.7, "eta_min_decay": 0.9},
    "warmup": {"T_0": 2, "T_mult": 1, "eta_min": 0.01, "warmup": 1},
    "warmup between updates": {"T_0": 2, "T_mult": 2, "eta_min": 0.01, "warmup": "4/3"},
    "warmup of an odd number": {"T_0": 2, "T_mult": 1, "eta_min": 0.01, "warmup": 0.123456789},
    "limited cycles": {"T_0": 2, "T_mult": 2, "cycle_limit": 2, "eta_min": 0.01},
    "limited constant cycles": {
        "T_0": Fraction(4, 3),
        "T_mult": 1,
        "cycle_limit": 4,
        "eta_min": 0.01,
        "eta_min_decay": 0.5,
    },
    "one cycle": {"T_0": 20, "T_mult": 1, "cycle_limit": 1},
    "longer than int32": {"T_0": 10**9, "T_mult": 1, "cycle_limit": 1},
    "more cycles than int32": {"T_0": 1, "T_mult": 1, "cycle_limit": 10**9},
    "inclusive": {"T_0": 2, "T_mult": 2, "eta_min": 0.01, "end": "inclusive"},
    "inclusive between updates": {"T_0": Fraction(4, 3), "T_mult": 1.5, "eta_min": 0.01, "end": "inclusive"},
    "inclusive of one update": {"T_0": Fraction(1, 7), "T_mult": 2, "end": "inclusive"},
    "inclusive, each of one update": {"T_0": Fraction(1, 7), "T_mult": 1, "end": "inclusive"},
    "all": {
        "T_0": Fraction(5, 3),
        "T_mult": 1.5,
        "eta_min": 0.02,
        "eta_max_decay": 0.8,
        "warmup": 0.5,
        "cycle_limit": 4,
        "end": "inclusive",
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options(options: dict[str, Any]) -> None:
    options = {"eta_max": 0.1, **options}
    rates = evaluate(SGDRSchedule(**options, steps_per_epoch=7), range(20 * 7))
    eta_max = float(np.max(options["eta_max"]))
    exact = {name: Fraction(options.get(name, default)) for name, default in (("T_0", 1), ("T_mult", 1), ("warmup", 0))}
    assert_rates(rates, literal_rates(range(20 * 7), 7, **{**options, **exact}), eta_max)


@settings(max_examples=25, deadline=None)
@given(
    st.builds(Fraction, st.integers(1, 12), st.integers(1, 6)),
    st.sampled_from(["1/2", "9/10", "1", "10/9", "3/2", "2", "3"]).map(Fraction),
    st.just(Fraction(0)) | st.builds(Fraction, st.integers(1, 12), st.integers(1, 6)),
    st.none() | st.integers(1, 8),
    st.sampled_from(["exclusive", "inclusive"]),
    st.integers(1, 20),
    st.lists(st.integers(0, 2000), min_size=1, max_size=6, unique=True).map(sorted),
)
def test_random_options(
    T_0: Fraction, T_mult: Fraction, warmup: Fraction, limit: int | None, end: Any, steps: int, updates: list[int]
) -> None:
    options: dict[str, Any] = {"eta_min": 0.01, "warmup": warmup, "cycle_limit": limit, "end": end}
    schedule = SGDRSchedule(T_0, T_mult, 0.1, **options, steps_per_epoch=steps)
    rates = np.array([float(schedule(keras.ops.convert_to_tensor(k))) for k in updates], np.float32)
    assert_rates(rates, literal_rates(updates, steps, T_0, T_mult, 0.1, **options), 0.1)


def test_a_scalar_of_the_type_of_keras() -> None:
    rate = SGDRSchedule(2, 1, 0.1, steps_per_epoch=3)(keras.ops.convert_to_tensor(1))
    assert keras.backend.standardize_dtype(rate.dtype) == "float32"
    assert tuple(rate.shape) == ()


@pytest.fixture
def float64() -> Iterator[None]:
    keras.config.set_floatx("float64")
    if BACKEND == "jax":
        import jax

        with jax.enable_x64(True):
            yield
    else:
        yield
    keras.config.set_floatx("float32")


@pytest.mark.usefixtures("float64")
def test_float64_throughout() -> None:
    schedule = SGDRSchedule(2, 2, 0.1, 0.01, steps_per_epoch=7)
    rates = [float(schedule(keras.ops.convert_to_tensor(k))) for k in range(50)]
    expected = WarmRestarts(2, 2, 0.1, 0.01).learning_rates(8, 7)[:50]
    tolerance = UNITS_IN_THE_LAST_PLACE * float(np.spacing(np.float32(0.1))) if BACKEND == "jax" else FLOAT64 * 0.1
    np.testing.assert_allclose(rates, expected, rtol=0, atol=tolerance)


# Blocks of rates that PyTorch's eager step looks up


BLOCK = 1024
EDGES = [k for edge in (0, BLOCK, 2 * BLOCK, 5 * BLOCK) for k in (edge - 1, edge, edge + 1) if k >= 0]


@pytest.mark.parametrize("options", [OPTIONS["decays"], OPTIONS["all"], OPTIONS["one cycle"]], ids=str)
def test_jumps_back_and_forth_over_the_edges_of_blocks(options: dict[str, Any]) -> None:
    options = {"eta_max": 0.1, **options}
    exact = {name: Fraction(options.get(name, default)) for name, default in (("T_0", 1), ("T_mult", 1), ("warmup", 0))}
    expected = dict(zip(EDGES, literal_rates(EDGES, 700, **{**options, **exact}), strict=True))
    order = [*EDGES, *EDGES[::-1], *np.random.default_rng(0).permutation(EDGES).tolist()]
    rates = evaluate(SGDRSchedule(**options, steps_per_epoch=700), order)
    assert_rates(rates, np.array([expected[k] for k in order]), 0.1)


@pytest.mark.torch
def test_last_steps_that_an_integer_holds() -> None:
    last = [2**24 + 1, 2**31, 2**53, 2**63 - 1]
    endless, limited = (SGDRSchedule(1, 1, 0.1, 0.01, steps_per_epoch=7, cycle_limit=limit) for limit in (None, 3))
    np.testing.assert_array_equal(
        evaluate(endless, last), literal_rates(last, 7, Fraction(1), Fraction(1), 0.1, 0.01).astype("float32")
    )
    np.testing.assert_array_equal(evaluate(limited, last), np.float32(0.01))


@pytest.mark.torch
def test_a_rate_that_is_changed_in_place_does_not_change_the_next() -> None:
    import torch

    schedule = SGDRSchedule(2, 2, 0.1, steps_per_epoch=7)
    schedule(torch.tensor(3)).mul_(0)
    assert float(schedule(torch.tensor(3))) == WarmRestarts(2, 2, 0.1).learning_rates(1, 7)[3].astype("float32")


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_compiled_traced_and_symbolic_steps_are_not_fixed_at_a_number() -> None:
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    schedule = SGDRSchedule(2, 2, 0.1, 0.01, steps_per_epoch=7)
    expected = schedule.restarts.learning_rates(9, 7).astype("float32")
    counter = keras.Variable(0, dtype="int64", trainable=False)
    of_tensor = torch.compile(schedule.__call__, backend="eager")  # Not in one graph: ours takes constants from NumPy.
    of_variable = torch.compile(lambda: schedule(counter), backend="eager")
    traced = make_fx(schedule)(torch.tensor(3))
    for k in (3, 0, 13, 14, 15, 41, 42, 2):
        counter.assign(k)
        rates = [of_variable(), schedule(counter), of_tensor(torch.tensor(k)), traced(torch.tensor(k))]
        assert [float(rate) for rate in rates] == [expected[k]] * 4
    scripted = torch.jit.trace(lambda k: SGDRSchedule(2, 1, 0.1, steps_per_epoch=7)(k), torch.tensor(3))
    assert float(scripted(torch.tensor(14))) == np.float32(0.1)
    with keras.device("meta"):
        assert schedule(counter).is_meta
    stateless = keras.StatelessScope([(counter, torch.tensor(42))])
    with stateless:
        assert float(schedule(counter)) == expected[42]


# In an optimizer


@pytest.mark.parametrize("steps_per_execution", [1] if BACKEND == "torch" else [1, 7])
def test_fit_applies_the_rates(steps_per_execution: int) -> None:
    schedule = SGDRSchedule(1, 2, 0.1, 0.01, steps_per_epoch=7)
    model = probe(keras.optimizers.SGD(schedule), steps=7, steps_per_execution=steps_per_execution)
    applied = fit(model, epochs=4)
    expected = WarmRestarts(1, 2, 0.1, 0.01).learning_rates(4, 7)
    assert_rates(applied, expected, 0.1)
    np.testing.assert_array_equal(applied[[0, 7, 21]], np.float32(0.1))
    # A schedule knows nothing but the count: a second `fit` goes on.
    assert_rates(fit(model, epochs=3), WarmRestarts(1, 2, 0.1, 0.01).learning_rates(7, 7)[28:], 0.1)


def test_a_saved_model_goes_on(tmp_path: Path) -> None:
    def model() -> Any:
        optimizer = keras.optimizers.SGD(SGDRSchedule("4/3", 2, 0.1, 0.01, steps_per_epoch=4), momentum=0.9)
        keras.utils.set_random_seed(0)
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        network.compile(optimizer, loss="mse")
        return network

    x, y = np.random.default_rng(0).normal(size=(2, 8, 2)).astype("float32")
    training: dict[str, Any] = {"batch_size": 2, "shuffle": False, "verbose": 0}
    whole, half = model(), model()
    whole.fit(x, y[:, :1], epochs=5, **training)
    half.fit(x, y[:, :1], epochs=2, **training)
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert isinstance(loaded.optimizer._learning_rate, SGDRSchedule)
    loaded.fit(x, y[:, :1], epochs=3, **training)
    assert float(loaded.optimizer.learning_rate) == float(whole.optimizer.learning_rate)
    for one, other in zip(loaded.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# Configuration and errors


@pytest.mark.parametrize("options", [OPTIONS["both lists"], OPTIONS["all"]], ids=["lists", "all"])
def test_configuration_round_trip(options: dict[str, Any]) -> None:
    five: Any = np.int64(5)
    schedule = SGDRSchedule(**{"eta_max": 0.1, **options}, steps_per_epoch=five, name="mine")
    again = SGDRSchedule.from_config(json.loads(json.dumps(schedule.get_config())))
    assert again.get_config() == schedule.get_config()
    assert again.name == "mine"
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    for restored in (again, keras.saving.deserialize_keras_object(serialized)):
        np.testing.assert_array_equal(
            restored.restarts.learning_rates(20, restored.steps_per_epoch), schedule.restarts.learning_rates(20, 5)
        )


@pytest.mark.parametrize("schedule", [WarmRestarts("1/3", 2, [0.2, 0.1]), StepDecay(0.1, "7/2")], ids=["SGDR", "step"])
def test_the_functions_of_epochs_are_registered(schedule: Any) -> None:
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(serialized)
    np.testing.assert_array_equal(again.learning_rates(20, 6), schedule.learning_rates(20, 6))


@pytest.mark.parametrize("value", [0, -1, 61.5, math.nan, True, None, "61"], ids=repr)
def test_steps_per_epoch_out_of_range(value: Any) -> None:
    expected = f"`steps_per_epoch` must be a positive integer. Received: steps_per_epoch={value!r}. Pass the number of"
    with pytest.raises(ValueError, match=re.escape(expected)):
        SGDRSchedule(10, eta_max=0.1, steps_per_epoch=value)


def test_steps_per_epoch_may_be_a_whole_float() -> None:
    schedule = SGDRSchedule(10, eta_max=0.1, steps_per_epoch=np.ceil(610 / 10))
    assert schedule.get_config()["steps_per_epoch"] == 61


def test_the_errors_of_warm_restarts() -> None:
    with pytest.raises(ValueError, match=r"`T_0` must be a positive number of epochs\. Received: T_0=-1\. Pass"):
        SGDRSchedule(-1, eta_max=0.1, steps_per_epoch=5)
    with pytest.raises(ValueError, match=r"`eta_min` must not exceed `eta_max`, in cycle 0 either\."):
        SGDRSchedule(1, eta_max=0.1, eta_min=0.2, steps_per_epoch=5)


@pytest.mark.parametrize("missing", ["T_0", "eta_max"])
def test_what_only_sgdr_can_do_without(missing: str) -> None:
    options: dict[str, Any] = {"T_0": 10, "eta_max": 0.1}
    del options[missing]
    with pytest.raises(ValueError, match=rf"must be given `{missing}`.* Received: {missing}=None\. Pass a number, or"):
        SGDRSchedule(**options, steps_per_epoch=5)
