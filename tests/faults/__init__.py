"""The harness of `make faults`."""
