"""Models to fine-tune, equal to torchvision's, and the exchange of weights with it."""

from keras_sgdr.models.resnet import resnet
from keras_sgdr.models.weights import load_state_dict, state_dict

__all__ = ["load_state_dict", "resnet", "state_dict"]
