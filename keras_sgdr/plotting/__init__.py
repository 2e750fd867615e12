"""Pictures of schedules, training runs, ensembles and range tests. Each function returns what it has drawn on."""

from keras_sgdr.plotting.ensemble import plot_ensemble
from keras_sgdr.plotting.range_test import plot_range_test
from keras_sgdr.plotting.schedules import plot_learning_rate, plot_schedules
from keras_sgdr.plotting.training import plot_history, plot_run

__all__ = ["plot_ensemble", "plot_history", "plot_learning_rate", "plot_range_test", "plot_run", "plot_schedules"]
