"""Arguments at random and bad command lines: what is a fault is found."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.arguments.target import NASTY, Target, Used, drawn, try_targets
from faults.parts.commands import refuse
from faults.trials import Fault, Trials


def careless(number: float) -> float:
    return 1 / number


def careful(number: float) -> float:
    if number != 2:
        raise ValueError(f"`number` must be 2. Received: number={type(number)}. Pass 2.")
    return 0.5


def test_errors_from_inside_are_faults() -> None:
    row = Trials("")
    try_targets(row, [Target("careless", careless, {"number": (2,)}, 50)], random.Random(0), 1)
    assert {kind for kind, *_ in row.faults} == {"inside"}
    assert len(row.faults) > 10


def test_rules_are_none_and_wrong_results_are() -> None:
    row = Trials("")
    target = Target("careful", careful, {"number": (2,)}, 50, odd={"number": [each for each in NASTY if each is None]})
    try_targets(row, [target], random.Random(0), 1)
    assert not row.faults
    assert row.refused > 10

    def use(used: Used) -> None:
        raise Fault("wrong", str(used.made))

    try_targets(row, [target._replace(use=use)], random.Random(0), 1)
    assert row.faults[0] == ("wrong", "careful(number=2)", "0.5")


def test_every_parameter_has_values() -> None:
    with pytest.raises(RuntimeError, match="values of other arguments"):
        drawn(Target("careful", careful, {}, 1), random.Random(0))


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (lambda words: 0, "wrong"),
        (lambda words: 2, "inside"),
        (lambda words: 1 // 0, "inside"),
        (lambda words: print("Traceback", file=sys.stderr) or 2, "inside"),
        (lambda words: Path("made").write_text("") or print("No.", file=sys.stderr) or 2, "outside"),
    ],
)
def test_ends_of_commands(
    run: Callable[[object], object], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault) as found:
        refuse(run, [])
    assert found.value.kind == kind
    assert refuse(lambda words: print("error: No.", file=sys.stderr) or 2, [])
