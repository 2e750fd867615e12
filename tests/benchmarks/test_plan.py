"""Which jobs a run has."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from benchmarks.__main__ import PUBLISHED, arguments
from benchmarks.plan import BUDGETS, DEFAULT_PARTS, PARTS, SIZES, Profile, jobs
from benchmarks.settings import Settings


def names(*parts: str, profile: Profile = "cpu", **options: Any) -> list[str]:
    return [job.name for job in jobs(profile, parts, SIZES, ("tensorflow", "torch"), gpu=False, **options)]


def test_a_part_can_be_run_alone() -> None:
    options = arguments(["epoch", "--sizes", "96x16"])
    (job,) = jobs("cpu", options.parts, options.sizes, ("tensorflow", "torch"), gpu=False)
    assert (job.name, job.settings.size, job.settings.batch) == ("epoch 96x16", 96, 16)


def test_what_is_compiled_runs_in_a_process_for_each_backend() -> None:
    assert names("step", "rates") == ["step tensorflow", "step torch", "rates"]
    assert {job.split()[0] for job in names(*DEFAULT_PARTS)} == set(PARTS) - {"study", "together"}


def test_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["epochs"])
    assert "must be one of step, epoch" in capsys.readouterr().err


def test_every_part_has_a_limit_in_every_profile() -> None:
    for profile in get_args(Profile):
        assert set(BUDGETS[profile]) == set(PARTS)
        assert all(seconds < limit for _, seconds, limit in BUDGETS[profile].values())


def test_a_small_run_is_small() -> None:
    assert [job.settings.images for job in jobs("small", ["epoch"], SIZES, ("jax",), gpu=False)] == [16]
    assert {job.settings.images for job in jobs("cpu", ["epoch"], SIZES, ("jax",), gpu=False)} == {0}


def test_a_cpu_runs_all_backends_at_one_size_and_a_gpu_at_all() -> None:
    def backends(profile: Profile) -> list[int]:
        return [len(job.settings.backends) for job in jobs(profile, ["epoch"], SIZES, ("jax", "torch"), gpu=False)]

    assert backends("cpu") == [2, 1, 1]
    assert backends("gpu") == [2, 2, 2]


def test_settings_reach_the_job() -> None:
    settings = Settings("jax", ("jax", "torch"), gpu=True, rounds=3, peers=("jax",))
    assert Settings.from_json(settings.to_json()) == settings


def test_the_published_file_is_in_the_documentation() -> None:
    assert PUBLISHED.parts[-2:] == ("docs", "benchmarks.json")
