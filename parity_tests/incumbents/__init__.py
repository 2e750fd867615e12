"""SGDR as other libraries ship it, on the cases of `parity_tests.rates.cases`."""
