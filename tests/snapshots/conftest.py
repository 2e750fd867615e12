"""Fixtures of the tests of ensembles."""

from tests.support.members import compiled, folder

__all__ = ["compiled", "folder"]
