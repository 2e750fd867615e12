"""Processes that take turns: one works while the others wait."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parts.epoch import first_turn
from benchmarks.turns import LEAST_ROUNDS, Contender, ContenderError, round_by_round, take_turns

ROOT = Path(__file__).resolve().parents[2]
# Notes begin and end of each turn, on a clock that all processes share.
PROGRAM = """
import sys, time
from benchmarks.turns import Turns

turns = Turns()
log = open(sys.argv[1], "a", buffering=1)
while True:
    began = time.monotonic()
    print("not for the other side of the pipe")
    time.sleep(0.02)
    log.write(f"{began} {time.monotonic()}\\n")
    turns.end()
"""


@pytest.fixture
def contenders(tmp_path: Path) -> Iterator[dict[str, Contender]]:
    environment = {"PYTHONPATH": str(ROOT)}
    found = {
        name: Contender([sys.executable, "-c", PROGRAM, str(tmp_path / "times")], tmp_path / name, environment)
        for name in "abc"
    }
    yield found
    for contender in found.values():
        contender.stop()


def spans(file: Path) -> list[tuple[float, float]]:
    lines = [line.split() for line in file.read_text().splitlines()]
    return sorted((float(began), float(ended)) for began, ended in lines)


def exclusive(turns: list[tuple[float, float]]) -> bool:
    return all(earlier[1] <= later[0] for earlier, later in pairwise(turns))


def test_turns_are_exclusive(contenders: dict[str, Contender], tmp_path: Path) -> None:
    first = [contender.turn() for contender in contenders.values()]
    times = take_turns({name: contender.turn for name, contender in contenders.items()}, rounds=4)
    assert {name: len(turns) for name, turns in times.items()} == {"a": 4, "b": 4, "c": 4}
    assert all(seconds >= 0.02 for turns in times.values() for seconds in turns)
    assert min(first) > max(min(turns) for turns in times.values()), "the first turn includes the start of the process"
    turns = spans(tmp_path / "times")
    assert len(turns) == 15
    assert exclusive(turns)


def test_turns_that_overlap_are_seen() -> None:
    """The control of the test above."""
    assert exclusive([(0.0, 1.0), (1.0, 2.0)])
    assert not exclusive([(0.0, 1.0), (0.9, 2.0)])


def test_a_contender_waits_until_its_turn(contenders: dict[str, Contender], tmp_path: Path) -> None:
    contenders["a"].turn()
    time.sleep(0.2)
    assert len(spans(tmp_path / "times")) == 1


def test_a_contender_that_was_stopped_starts_anew(contenders: dict[str, Contender], tmp_path: Path) -> None:
    contenders["a"].turn()
    contenders["a"].stop()
    contenders["a"].turn()
    assert len(spans(tmp_path / "times")) == 2


def test_first_turns_are_of_new_processes(contenders: dict[str, Contender], tmp_path: Path) -> None:
    contenders["b"] = Contender([sys.executable, "-c", "raise SystemExit('no images')"], tmp_path / "b", {})
    absent: dict[str, str] = {}
    turns_of = {name: partial(first_turn, name, contender, absent) for name, contender in contenders.items()}
    rounds = [
        {name: len(times) for name, times in each.items() if not np.isnan(times).any()}
        for each in round_by_round(turns_of, 2)
    ]
    assert rounds == [{"a": 1, "c": 1}, {"a": 2, "c": 2}]
    assert list(absent) == ["b"]
    assert absent["b"].endswith("no images")
    later = [contenders[name].turn() for name in "ac"]
    turns = spans(tmp_path / "times")
    assert len(turns) == 6
    assert exclusive(turns)
    # A new process has Python and NumPy to start before its turn.
    assert max(later) < min(began - ended for (_, ended), (began, _) in pairwise(turns[:4]))


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("from benchmarks.turns import Turns; Turns().withdraw('needs tyro')", "needs tyro"),
        ("print('not a message', file=__import__('sys').stderr); raise SystemExit(3)", "status 3: not a message"),
    ],
    ids=["withdraws", "ends"],
)
def test_a_contender_that_cannot_take_part_says_why(program: str, reason: str, tmp_path: Path) -> None:
    contender = Contender([sys.executable, "-c", program], tmp_path / "log", {"PYTHONPATH": str(ROOT)})
    with pytest.raises(ContenderError, match=reason):
        contender.turn()
    contender.stop()


def test_rounds_are_in_random_order_and_within_a_time() -> None:
    order: list[str] = []

    def turn(name: str) -> float:
        order.append(name)
        return 0.0

    turns = {name: (lambda name=name: turn(name)) for name in "abc"}
    take_turns(turns, rounds=10)
    rounds = ["".join(order[start : start + 3]) for start in range(0, 30, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) > 1
    assert all(len(times) == LEAST_ROUNDS for times in take_turns(turns, rounds=10, seconds=0).values())
