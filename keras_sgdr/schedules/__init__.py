"""Learning rates as functions of the position in epochs."""

from keras_sgdr._optional import is_command_line
from keras_sgdr.schedules.base import Cycle, Schedule
from keras_sgdr.schedules.step_decay import StepDecay
from keras_sgdr.schedules.warm_restarts import Plan, WarmRestarts

if not is_command_line():  # It alone needs Keras.
    from keras_sgdr.schedules.in_graph import SGDRSchedule

__all__ = ["Cycle", "Plan", "SGDRSchedule", "Schedule", "StepDecay", "WarmRestarts"]
