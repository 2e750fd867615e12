"""Learning rates as functions of the position in epochs."""

from keras_sgdr.schedules.base import Cycle, Schedule
from keras_sgdr.schedules.in_graph import SGDRSchedule
from keras_sgdr.schedules.step_decay import StepDecay
from keras_sgdr.schedules.warm_restarts import Plan, WarmRestarts

__all__ = ["Cycle", "Plan", "SGDRSchedule", "Schedule", "StepDecay", "WarmRestarts"]
