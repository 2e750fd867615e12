"""Writes docs/parity.md: `python -m parity_tests.report`."""
