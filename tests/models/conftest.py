"""Fixtures of the tests of models."""

from tests.support.torchvision_fixtures import new_resnet50, reference, resnet50

__all__ = ["new_resnet50", "reference", "resnet50"]
