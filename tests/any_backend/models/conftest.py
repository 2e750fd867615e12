"""Fixtures of the tests of models."""

from tests.support.torchvision_fixtures import reference

__all__ = ["reference"]
