"""Images of ants and bees, real or drawn, their augmentation, and batches of them for `fit`."""

from keras_sgdr.data import ants_bees
from keras_sgdr.data.augment import center_crop, random_resized_crop_flip
from keras_sgdr.data.drawn import drawn_insects
from keras_sgdr.data.pipeline import batches

__all__ = ["ants_bees", "batches", "center_crop", "drawn_insects", "random_resized_crop_flip"]
