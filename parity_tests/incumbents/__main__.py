"""Prints the table of what other libraries make of SGDR: `python -m parity_tests.incumbents [RESULTS.json]`.

The table counts in updates. A case that a library cannot express is not held against it, but listed with what it calls
for. Restarts are looked at up to the millionth update or the ten thousandth cycle where a library can be asked for any
update, else over each case's own run (PyTorch's `step()`, and where peaks decay) or over 64 cycles (optax). Errors are
parts of eta_max; "elsewhere" is without the wrong restarts and their neighbours.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from parity_tests.incumbents.comparison import compare, markdown

results = list(compare())
print(markdown(results))
if len(sys.argv) > 1:
    Path(sys.argv[1]).write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=2) + "\n")
