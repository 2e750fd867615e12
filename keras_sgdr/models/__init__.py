"""ResNets equal to torchvision's, loading and saving of its weights, and randomising of a model's last modules."""

from keras_sgdr.models.randomize import randomize_modules
from keras_sgdr.models.resnet import resnet
from keras_sgdr.models.weights import load_state_dict, state_dict

__all__ = ["load_state_dict", "randomize_modules", "resnet", "state_dict"]
