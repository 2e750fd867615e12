"""The learning rate range test."""

from keras_sgdr.range_test.range_test import RangeTest, find_learning_rate

__all__ = ["RangeTest", "find_learning_rate"]
