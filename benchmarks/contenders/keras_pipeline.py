"""Keras's own pipeline as its documentation shows it: a dataset from a folder, augmentation in it, an application."""

from __future__ import annotations

import importlib
import os

from benchmarks.contenders.case import Case, contend, turn_callback
from benchmarks.turns import Turns

__all__ = ["train"]


def train(case: Case, turns: Turns) -> None:
    import keras

    tf = importlib.import_module("tensorflow")  # `image_dataset_from_directory` needs it, on every backend.
    train_data, val_data = (
        keras.utils.image_dataset_from_directory(
            os.path.join(case.images, split), image_size=(case.size, case.size), batch_size=case.batch, seed=0
        )
        for split in ("train", "val")
    )
    augmentation = keras.layers.RandomFlip("horizontal")
    preprocess = keras.applications.resnet.preprocess_input
    autotune = tf.data.AUTOTUNE
    train_data = train_data.map(
        lambda x, y: (preprocess(augmentation(x, training=True)), y), num_parallel_calls=autotune
    )
    val_data = val_data.map(lambda x, y: (preprocess(x), y), num_parallel_calls=autotune)
    model = keras.applications.ResNet50(weights=None, classes=2, input_shape=(case.size, case.size, 3))
    model.compile(
        keras.optimizers.SGD(0.001, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **({} if case.jit else {"jit_compile": False}),
    )
    model.fit(
        train_data.prefetch(autotune),
        validation_data=val_data.prefetch(autotune),
        epochs=case.epochs,
        callbacks=[turn_callback(turns)],
        verbose=2,
    )


if __name__ == "__main__":
    contend(train)
