"""The compiled training step under `SGDR`: the tables that it reads its rates from, and the count of its updates."""
