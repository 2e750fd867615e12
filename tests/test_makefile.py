"""`make` alone: its help."""

from __future__ import annotations

import re
from pathlib import Path

MAKEFILE = (Path(__file__).resolve().parents[1] / "Makefile").read_text().replace("\\\n", " ")


def test_help_is_one_list_of_all_targets_in_80_columns() -> None:
    lines = re.findall(r'^\t@echo "(.*)"$', MAKEFILE, re.MULTILINE)
    (declared,) = re.findall(r"^\.PHONY:(.*)", MAKEFILE, re.MULTILINE)
    named = [line.split()[1] for line in lines if line.startswith("make ")]
    # The suites are parts of `make test`.
    assert sorted(named) == sorted({*declared.split()} - {"help", "$(SUITES)"})
    assert max(map(len, lines)) <= 80
    # In columns.
    assert {re.match(r"make \S+ +", line).end() for line in lines if line.startswith("make ")} == {19}  # type: ignore[union-attr]
