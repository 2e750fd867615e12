"""Models to fine-tune, equal to torchvision's, the exchange of weights with it, and weights to learn again."""

from keras_sgdr.models.randomize import randomize_modules
from keras_sgdr.models.resnet import resnet
from keras_sgdr.models.weights import load_state_dict, state_dict

__all__ = ["load_state_dict", "randomize_modules", "resnet", "state_dict"]
