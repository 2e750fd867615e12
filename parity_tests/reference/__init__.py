"""Tests of `torch_reference` itself."""
