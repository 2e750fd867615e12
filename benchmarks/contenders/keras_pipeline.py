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
    train_data = train_data.map(
        lambda images, labels: (augmentation(images, training=True), labels), num_parallel_calls=tf.data.AUTOTUNE
    )
    inputs = keras.Input((case.size, case.size, 3))
    network = keras.applications.ResNet50(weights=None, classes=2, input_shape=(case.size, case.size, 3))
    # In the model, as in Keras's guide to transfer learning: on PyTorch it cannot be part of the dataset.
    model = keras.Model(inputs, network(keras.applications.resnet.preprocess_input(inputs)))
    model.compile(
        keras.optimizers.SGD(0.001, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **({} if case.jit else {"jit_compile": False}),
    )
    model.fit(
        train_data.prefetch(tf.data.AUTOTUNE),
        validation_data=val_data.prefetch(tf.data.AUTOTUNE),
        epochs=case.epochs,
        callbacks=[turn_callback(turns)],
        verbose=2,
    )


if __name__ == "__main__":
    contend(train)
