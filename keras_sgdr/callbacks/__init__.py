"""Callbacks, one a file."""

from keras_sgdr.callbacks.sgdr import SGDR

__all__ = ["SGDR"]
