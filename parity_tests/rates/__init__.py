"""Level L0: the rates of every case, and the paths of every optimizer, from each framework and backend."""
