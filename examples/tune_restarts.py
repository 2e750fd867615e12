"""Compares settings of T_0 and T_mult over many seeds: `python examples/tune_restarts.py --help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from examples.compare_with_step_decay import Preset, StudyOptions, chosen, run_study
from keras_sgdr.study import tuning_schedules
from keras_sgdr.study.schedules import TUNED

__all__ = ["Options", "main"]

PRESETS = {"laptop": Preset(50, 64, 32, 5, 7, 0.003, 2), "paper": Preset(50, 224, 4, 20, 100, 0.001, 1)}
# The paper's; and on the laptop, whose budget ends none of its equal cycles, settings that all end with the budget.
SETTINGS = {
    "laptop": ((1, 2), (2, 2.5), (3.5, 1), (7, 1)),
    "paper": TUNED,
}


@dataclass(frozen=True)
class Options(StudyOptions):
    """Compare SGDR's settings of T_0 and T_mult with one another, over many seeds."""

    settings: tuple[tuple[float, float], ...] | None = None
    """T_0 and T_mult of each setting: --settings 1 2 10 2 for (1, 2) and (10, 2). None: the preset's. The others are
    compared with the first."""
    output: Path = Path("runs", "tune_restarts")
    """Folder for what the study writes. Runs that are in it are not made again."""


def main(options: Options) -> None:
    """Runs the study and writes what `compare_with_step_decay.run_study` writes.

    Raises:
        ValueError: An option is out of range, or the weights or the folder of images do not fit.
    """
    preset = chosen(options, PRESETS)
    schedules = tuning_schedules(preset.eta_max, options.settings or SETTINGS[options.preset])
    run_study("The length of cycles", options, preset, schedules, options.output)


if __name__ == "__main__":
    # Underscores, so that the flags read as the paper's symbols: --eta_max.
    main(tyro.cli(Options, use_underscores=True))
