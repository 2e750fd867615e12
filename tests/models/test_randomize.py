from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr.models import randomize_modules

Array = np.ndarray[Any, Any]


def network() -> Any:
    keras.utils.set_random_seed(3)
    inner = keras.Sequential(
        [keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3, name="conv"), keras.layers.BatchNormalization(name="norm")],
        name="inner",
    )
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(2, 1, name="first"),
            inner,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=7), name="dense"),
            keras.layers.Dense(2, bias_initializer="random_normal", name="head"),
        ]
    )


def used(model: Any) -> dict[str, Array]:
    """Weights by path, after all of them have been moved away from where they began."""
    for variable in model.variables:
        if variable.dtype == "float32":
            variable.assign(variable + 1)
    return weights(model)


def weights(model: Any) -> dict[str, Array]:
    return {variable.path: np.array(keras.ops.convert_to_numpy(variable)) for variable in model.weights}


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_only_the_modules_nearest_the_output_get_new_weights(n: int) -> None:
    model = network()
    before = used(model)
    names = randomize_modules(model, n, seed=0)
    assert names == ["head", "dense", "norm", "conv", "first"][:n]
    after = weights(model)
    changed = {path.split("/")[-2] for path, value in after.items() if not np.array_equal(value, before[path])}
    assert changed == set(names)


def test_they_come_from_the_layers_own_initialisers() -> None:
    model = network()
    used(model)
    randomize_modules(model, 5, seed=0)
    after = {"/".join(path.split("/")[-2:]): value for path, value in weights(model).items()}
    np.testing.assert_array_equal(after["norm/gamma"], np.ones(3))
    np.testing.assert_array_equal(after["norm/moving_variance"], np.ones(3))
    np.testing.assert_array_equal(after["norm/moving_mean"], np.zeros(3))
    np.testing.assert_array_equal(after["dense/bias"], np.zeros(4))
    assert (after["head/bias"] != 0).all()
    # Glorot's uniform distribution has this bound.
    bound = np.sqrt(6 / (2 + 2))
    assert 0 < np.abs(after["first/kernel"]).max() <= bound


def test_a_seed_gives_the_same_weights_whatever_was_there_and_however_many() -> None:
    five, three = network(), network()
    used(three)
    randomize_modules(five, 5, seed=4)
    randomize_modules(three, 3, seed=4)
    of_five, of_three = ({tuple(path.split("/")[-2:]): w for path, w in weights(m).items()} for m in (five, three))
    for (layer, name), value in of_three.items():
        if layer in ("head", "dense", "norm"):
            np.testing.assert_array_equal(value, of_five[layer, name])


def test_another_seed_gives_others_even_where_an_initialiser_has_a_seed_of_its_own() -> None:
    model = network()
    drawn = []
    for seed in (0, 1):
        randomize_modules(model, 2, seed)
        drawn.append(weights(model))
    for path in drawn[0]:
        if path.endswith("kernel") and path.split("/")[-2] in ("head", "dense"):
            assert (drawn[0][path] != drawn[1][path]).all()


def test_of_a_resnet_the_40_nearest_the_output_are_the_head_and_the_last_blocks(new_resnet50: keras.Model) -> None:
    names = randomize_modules(new_resnet50, 40, seed=0)
    assert names[0] == "fc"
    assert len(set(names)) == 40
    assert {name.partition("_")[0] for name in names} == {"fc", "layer4", "layer3"}
    assert sum(name.startswith("layer4") for name in names) == 20  # All of it: 9 + 1 convolutions, a BatchNorm each.


@pytest.mark.parametrize("n", [0, 6, 1.5])
def test_n_must_be_a_number_of_modules(n: Any) -> None:
    expected = (
        f"`n` must be a positive integer, at most the model's 5 convolutions, .* Received: n={n}. Pass the number of"
    )
    with pytest.raises(ValueError, match=expected):
        randomize_modules(network(), n)


def test_the_model_must_be_built() -> None:
    model = keras.Sequential([keras.layers.Dense(2, name="head")])
    with pytest.raises(ValueError, match=re.escape("The model must be built, or there are no weights to replace. ")):
        randomize_modules(model, 1)
