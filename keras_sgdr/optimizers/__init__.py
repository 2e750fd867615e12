"""Optimizers that Keras does not have."""

from keras_sgdr.optimizers.adamwr import AdamWR
from keras_sgdr.optimizers.pytorch_sgd import PyTorchSGD

__all__ = ["AdamWR", "PyTorchSGD"]
