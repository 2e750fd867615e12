"""Levels L1 to L4: the same training in Keras and in PyTorch, each in a process of its own."""
