"""Schedules compared over many seeds: runs, results, statistics, figures."""

from keras_sgdr.study.compared import TUNED, compared_schedules, tuning_schedules
from keras_sgdr.study.study import Study

__all__ = ["TUNED", "Study", "compared_schedules", "tuning_schedules"]
