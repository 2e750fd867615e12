"""What `import keras_sgdr` costs beside `import keras`: its own small modules, and no package."""

from __future__ import annotations

import subprocess
import sys

ADDED = """
import sys
import keras
before = set(sys.modules)
import keras_sgdr
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_nothing_is_imported_that_keras_has_not_imported() -> None:
    found = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.split() == ["keras_sgdr"]
