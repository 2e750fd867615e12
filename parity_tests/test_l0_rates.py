"""L0: the learning rate of every update, from Keras, from PyTorch, and from a loop over integers.

Equality, but for two bounds with a name and a reason each. The controls show that every comparison can fail.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import islice, takewhile
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parity_tests.measurements import Recorder
from parity_tests.processes import BACKENDS, Arrays, max_gap
from parity_tests.rates.cases import BEYOND_INTEGERS, FIT_CASES, MISSED_WITH_EPOCH, MOST_STEPS, RATE_CASES, RateCase
from parity_tests.rates.exact import as_pytorch_means_it, cycles, exact_rates, restarts
from parity_tests.tolerances import ANOTHER_ORDER, JAX_UNITS

Array = NDArray[Any]

PYTORCH_CASES = tuple(case.shortened(MOST_STEPS) for case in RATE_CASES if as_pytorch_means_it(case))


def each(cases: tuple[RateCase, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def gap(rates: Array, expected: Array) -> float:
    """Largest difference, once what is expected is rounded to the precision of the rates."""
    return max_gap(rates, expected.astype(rates.dtype))


def part(rates: Array, expected: Array, case: RateCase) -> float:
    """Largest difference, as a part of eta_max."""
    return max_gap(rates, expected) / case.eta_max


def units(rates: Array, expected: Array, case: RateCase) -> float:
    """Largest difference in units in the last place of eta_max, in float32."""
    return max_gap(rates, expected.astype(np.float32)) / float(np.spacing(np.float32(case.eta_max)))


class Compared:
    """The rates of one case from everywhere, and the recording of what is compared of them."""

    def __init__(self, case: RateCase, rates: dict[str, Arrays], measure: Recorder) -> None:
        self.case, self._rates, self._measure = case, rates, measure

    def of(self, side: str, name: str) -> Array:
        return self._rates[side][f"{name}/{self.case.name}"]

    @property
    def array(self) -> Array:
        return self.of("tensorflow", "array")

    @property
    def reference(self) -> Array:
        return self.of("reference", "reference")

    def agrees(self, what: str, value: float, limit: float, updates: int | None = None) -> None:
        self._measure.agrees(self.case.name, what, value, limit, updates or self.case.updates)

    def caught(self, what: str, value: float, limit: float, updates: int | None = None) -> None:
        self._measure.caught(self.case.name, what, value, limit, updates or self.case.updates)


@pytest.fixture
def compared(case: RateCase, sides: dict[str, Arrays], measure: Recorder) -> Compared:
    return Compared(case, sides, measure)


class TestCases:
    def test_number_and_length(self) -> None:
        assert len(RATE_CASES) >= 40
        assert max(Counter(case.name for case in RATE_CASES + BEYOND_INTEGERS).values()) == 1
        for case in RATE_CASES:
            ends = sum(begin + length <= case.updates for _, begin, length in islice(cycles(case), 10))
            assert ends == 10 or case.updates >= 100_000, case.name

    def test_variety(self) -> None:
        """Fractions of an epoch and of growth, warmup, decays, limited cycles, floors, both ends."""
        varied = {
            "fraction of an epoch": lambda case: case.T_0 < 1,
            "cycles of a fraction of an update": lambda case: (case.T_0 * case.steps_per_epoch) % 1 != 0,
            "fraction of growth": lambda case: case.T_mult > 1 and case.T_mult % 1 != 0,
            "shrinking": lambda case: case.T_mult < 1,
            "warmup": lambda case: case.warmup > 0,
            "warmup that ends between updates": lambda case: (case.warmup * case.steps_per_epoch) % 1 != 0,
            "decay of eta_max": lambda case: case.eta_max_decay != 1,
            "decay of eta_min": lambda case: case.eta_min_decay != 1,
            "a last cycle": lambda case: case.cycle_limit is not None,
            "inclusive": lambda case: case.end == "inclusive",
            "one step an epoch": lambda case: case.steps_per_epoch == 1,
            "eta_min": lambda case: case.eta_min > 0,
        }
        for name, has in varied.items():
            assert sum(map(has, RATE_CASES)) >= 2, name

    @each(FIT_CASES)
    def test_fits_restart(self, case: RateCase) -> None:
        assert restarts(case, case.updates)

    @each(BEYOND_INTEGERS)
    def test_beyond_integers(self, case: RateCase) -> None:
        """What sets the second table apart: cycles that are run have lengths no float64 holds."""
        longest = max(
            length.numerator * math.lcm(begin.denominator, length.denominator) // length.denominator
            for _, begin, length in islice(cycles(case), len(restarts(case, case.updates)))
        )
        assert longest > 2**53


class TestArray:
    """`WarmRestarts.learning_rates`, float64."""

    @each(RATE_CASES)
    def test_torch_reference(self, compared: Compared) -> None:
        compared.agrees("array = torch_reference, float64", gap(compared.array, compared.reference), 0)

    @each(RATE_CASES)
    def test_integers(self, case: RateCase, compared: Compared) -> None:
        compared.agrees("array = loop over integers, float64", gap(compared.array, exact_rates(case)), 0)

    @each(BEYOND_INTEGERS)
    def test_beyond_integers(self, case: RateCase, compared: Compared) -> None:
        """The reference is still equal to the integers; the array is, once rounded to float32."""
        array, reference = compared.array, compared.reference
        name = "beyond 2**53"
        compared.agrees(f"{name}, torch_reference = loop over integers", gap(reference, exact_rates(case)), 0)
        compared.agrees(f"{name}, array = torch_reference, float32", gap(array.astype(np.float32), reference), 0)
        error = part(array, reference, case)
        compared.agrees(f"{name}, array against torch_reference, parts of eta_max", error, ANOTHER_ORDER.limit)


class TestSchedule:
    """`SGDRSchedule` of every update in one compiled call, float32."""

    @pytest.mark.parametrize("backend", ["tensorflow", "torch"])
    @each(RATE_CASES + BEYOND_INTEGERS)
    def test_equal(self, backend: str, compared: Compared) -> None:
        rates = compared.of(backend, "schedule")
        assert rates.dtype == np.float32
        compared.agrees(f"SGDRSchedule on {backend} = torch_reference, float32", gap(rates, compared.reference), 0)

    @each(RATE_CASES + BEYOND_INTEGERS)
    def test_jax(self, case: RateCase, compared: Compared) -> None:
        rates, expected = compared.of("jax", "schedule"), compared.reference
        assert rates.dtype == np.float32
        error = units(rates, expected, case)
        compared.agrees("SGDRSchedule on jax, units in the last place of eta_max", error, JAX_UNITS.limit)
        # Of the restarts that fall on an update, where the rate is eta_max itself.
        begins = takewhile(lambda begin: begin < case.updates, (begin for _, begin, _ in cycles(case)))
        peaks = [int(begin) for begin in begins if begin % 1 == 0]
        if peaks:
            error = gap(rates[peaks], expected[peaks])
            compared.agrees("SGDRSchedule on jax at restarts = eta_max, float32", error, 0, len(peaks))


@pytest.mark.parametrize("backend", BACKENDS)
@each(FIT_CASES)
def test_fit(backend: str, compared: Compared) -> None:
    """What the callback let `fit` apply, read from weights that each batch moves by the rate."""
    rates = compared.of(backend, "fit")
    assert rates.dtype == np.float32
    expected = compared.reference[: len(rates)]
    compared.agrees(f"applied by fit on {backend} = torch_reference, float32", gap(rates, expected), 0)


class TestPyTorch:
    """PyTorch's own `CosineAnnealingWarmRestarts`, stepped without an argument, where it means the same schedule."""

    @each(PYTORCH_CASES)
    def test_step(self, case: RateCase, compared: Compared) -> None:
        """Every restart equal to the last bit, every rate once rounded to float32, and before it but for rounding."""
        array, step = compared.array[: case.updates], compared.of("reference", "step")
        at = restarts(case, case.updates)
        compared.agrees("array = PyTorch's step() at restarts, float64", gap(array[at], step[at]), 0, len(at))
        compared.agrees("array = PyTorch's step(), float32", gap(array.astype(np.float32), step), 0)
        error = part(array, step, case)
        compared.agrees("array against PyTorch's step(), parts of eta_max", error, ANOTHER_ORDER.limit)

    @each(PYTORCH_CASES)
    def test_why_not_to_the_last_bit(self, case: RateCase, compared: Compared) -> None:
        """It multiplies by pi before it divides by T_i. In that order of operations, integers give its very rates."""
        rates = []
        for _, begin, length in cycles(case):
            if begin >= case.updates:
                break
            T_i = int(length)
            for T_cur in range(min(T_i, case.updates - int(begin))):
                fall = 1 + math.cos(math.pi * T_cur / T_i)
                rates.append(case.eta_min + (case.eta_max - case.eta_min) * fall / 2)
        error = gap(compared.of("reference", "step"), np.array(rates))
        compared.agrees("PyTorch's step() = loop over integers in its order, float64", error, 0)


class TestControls:
    """What must be told apart is."""

    @each(RATE_CASES + BEYOND_INTEGERS)
    def test_one_update_late(self, case: RateCase, compared: Compared) -> None:
        late = compared.reference[:-1]
        error = part(compared.array[1:], late, case)
        compared.caught("one update late: array, parts of eta_max", error, ANOTHER_ORDER.limit)
        for backend in BACKENDS:
            error = units(compared.of(backend, "schedule")[1:], late, case)
            compared.caught(f"one update late: SGDRSchedule on {backend}, units", error, JAX_UNITS.limit)

    @pytest.mark.parametrize("backend", BACKENDS)
    @each(FIT_CASES)
    def test_fit_one_update_late(self, backend: str, compared: Compared) -> None:
        rates = compared.of(backend, "fit")
        error = gap(rates[1:], compared.reference[: len(rates) - 1])
        compared.caught(f"one update late: applied by fit on {backend}", error, 0)

    @each(tuple(case for case in RATE_CASES if case.name in MISSED_WITH_EPOCH))
    def test_step_with_an_epoch(self, case: RateCase, compared: Compared) -> None:
        """PyTorch's `step(epoch)` finds the cycle with a logarithm: at this restart it gives eta_min."""
        update = MISSED_WITH_EPOCH[case.name]
        array, step = compared.array[: update + 1], compared.of("reference", "step_epoch")
        assert update in restarts(case, case.updates)
        assert step[update] == pytest.approx(case.eta_min)
        assert array[update] == case.eta_max
        error = part(array, step, case)
        compared.caught("PyTorch's step(epoch), parts of eta_max", error, ANOTHER_ORDER.limit, len(step))

    @each(tuple(case for case in RATE_CASES if case.T_mult == 2))
    def test_triple_for_double(self, case: RateCase, compared: Compared) -> None:
        array, tripled = compared.array, exact_rates(replace(case, T_mult=3))
        first_end, second_end = restarts(case, case.updates)[:2]
        compared.caught("T_mult=3 for 2, units", units(array, tripled, case), JAX_UNITS.limit)
        if case.end == "exclusive":
            # They part in the second cycle, not before.
            assert gap(array[:first_end], tripled[:first_end]) == 0
            assert np.all(array[first_end + 1 : second_end] != tripled[first_end + 1 : second_end])
