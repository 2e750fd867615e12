# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Playing with SGDR
#
# Stochastic gradient descent with warm restarts ([Loshchilov & Hutter, ICLR 2017](https://arxiv.org/abs/1608.03983))
# anneals the learning rate along a cosine, restarts it at its peak, and anneals it again, usually for longer:
#
# $$\eta(t) = \eta_\min + \tfrac{1}{2}(\eta_\max - \eta_\min)\left(1 + \cos\frac{\pi\,T_{cur}}{T_i}\right),
# \qquad T_{i+1} = T_{mult}\,T_i$$
#
# This notebook plots the schedule, trains with it, uses the model at the end of each cycle, and compares it with other
# schedules over several seeds. It runs in a minute on two cores, on drawn insects: it shows how to use the package, and
# says nothing about real images.

# %%
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt

from keras_sgdr import SGDR, SnapshotCheckpoint, SnapshotEnsemble, StepDecay, WarmRestarts
from keras_sgdr.data import drawn_insects
from keras_sgdr.data.augment import resized_crop_flip
from keras_sgdr.plotting import plot_ensemble, plot_history, plot_learning_rate
from keras_sgdr.study import Study
from keras_sgdr.study.results import figures, statistics

# %% [markdown]
# ## The schedule
#
# `WarmRestarts` is the learning rate as a function of epochs. With `T_0=2` and `T_mult=2`, cycles of 2, 4 and 8 epochs
# end after 2, 6 and 14.

# %%
eta_max, epochs = 0.05, 14
restarts = WarmRestarts(T_0=2, T_mult=2, eta_max=eta_max)
plot_learning_rate({"SGDR (2, 2)": restarts, "step decay (8, 0.1)": StepDecay(eta_max, 8)}, epochs)
plt.show()

# %% [markdown]
# Every update has its own rate. At each restart it is exactly the peak, and one update earlier close to 0, however many
# updates an epoch has:

# %%
updates = 10  # per epoch
rates = restarts.learning_rates(epochs, updates)
for end in restarts.cycle_ends(epochs)[:-1]:
    restart = int(end) * updates
    print(f"cycle ends after epoch {end}: rates {rates[restart - 1]:.6f}, then {rates[restart]}")

# %% [markdown]
# Training that stops in mid-cycle stops at a high rate. Which cycles end with a budget of 20 epochs?

# %%
print(WarmRestarts.plan(epochs=20))

# %% [markdown]
# ## Data
#
# Ants and bees, drawn at random places and sizes, in random colours and light.

# %%
(x, y), (x_val, y_val) = drawn_insects(320, 160, image_size=32)
figure, axes = plt.subplots(2, 6, figsize=(9, 3), layout="constrained")
for label, row in enumerate(axes):
    for ax, image in zip(row, x[y == label], strict=False):
        ax.imshow(image)
        ax.axis("off")
    row[0].set_title(("ants", "bees")[label], loc="left")
plt.show()


# %% [markdown]
# ## One training
#
# Add the callback to `fit`. No Python runs per batch, and afterwards the optimizer has its own rate again.
# `SnapshotCheckpoint` saves the weights at the end of each cycle.


# %%
def new_model() -> keras.Model:
    """A small convolutional network, compiled."""
    layers = keras.layers

    def convolution(width: int) -> keras.Model:
        convolved = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)
        return keras.Sequential([convolved, layers.BatchNormalization(momentum=0.9), layers.ReLU()])

    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            *(convolution(width) for width in (16, 32, 64)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(eta_max, momentum=0.9), loss=loss, metrics=["accuracy"])
    return model


keras.utils.set_random_seed(0)
folder = Path(tempfile.mkdtemp())
model = new_model()
sgdr = SGDR(T_0=2, T_mult=2)
history = model.fit(
    x,
    y,
    batch_size=32,
    epochs=epochs,
    validation_data=(x_val, y_val),
    callbacks=[sgdr, SnapshotCheckpoint(folder / "snapshots")],
    verbose=0,
)

# %%
plot_history(history, cycle_ends=restarts.cycle_ends(epochs))
plt.show()

# %% [markdown]
# `sgdr.cycles` has a row for each cycle:

# %%
for cycle in sgdr.cycles:
    print(
        f"cycle {cycle['index'] + 1}, {cycle['length']:g} epochs: rate from {cycle['first_rate']:.3f} to "
        f"{cycle['last_rate']:.5f}, validation loss {cycle['val_loss']:.3f}, accuracy {cycle['val_accuracy']:.3f}"
    )

# %% [markdown]
# ## Three models from one training
#
# Each cycle ended with a model. The mean of their probabilities is a snapshot ensemble
# ([Huang et al., ICLR 2017](https://arxiv.org/abs/1704.00109)), which may be better than its last member, or not:

# %%
ensemble = SnapshotEnsemble.load(folder / "snapshots", model)
report = ensemble.report(x_val, y_val)
print(report)
plot_ensemble(report)
plt.show()

# %% [markdown]
# ## Was it the restarts?
#
# One training says little: another seed gives another result. A `Study` trains from several seeds under every schedule.
# A seed has the same initial weights, batches, crops and flips under all of them. The controls are a single cosine over
# the whole budget and a constant rate.

# %%
study = Study(
    new_model,
    ((x, y), (x_val, y_val)),
    {
        "step decay (8, 0.1)": StepDecay(eta_max, 8),
        "SGDR (2, 2)": restarts,
        "one cosine": WarmRestarts(T_0=epochs, eta_max=eta_max, cycle_limit=1),
        "constant": StepDecay(eta_max, gamma=1),
    },
    seeds=3,
    epochs=epochs,
    batch_size=32,
    # Crops of at least half an image: the insects are large.
    augment=lambda images, draws: resized_crop_flip(images, 32, draws, scale=(0.5, 1.0)),
    folder=folder / "study",
)
study.run(progress=False)
results = study.results
print(results.tail(3).to_string())

# %% [markdown]
# Mean and standard deviation over the seeds:

# %%
figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
figures.plot_means(results, ax, only=["step decay (8, 0.1)", "SGDR (2, 2)"])
plt.show()

# %% [markdown]
# All schedules, by the best value so far, which is what a run that stops there would keep:

# %%
figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
figures.plot_means(statistics.best_so_far(results), ax, band=False)
ax.set_ylabel("Best validation loss so far")
plt.show()

# %% [markdown]
# The paired differences from step decay, with their intervals, at the ends of cycles:

# %%
figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
figures.plot_differences(results, ax)
plt.show()

# %% [markdown]
# And everything in tables:

# %%
study.summary()

# %% [markdown]
# On real images: `python examples/compare_schedules.py` runs such studies of a ResNet on the ants and bees of PyTorch's
# transfer-learning tutorial, and writes a report.
