"""Messages of the library in the words of the command line, whose options are named as its arguments are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

__all__ = ["in_options"]

# What messages say of arguments that options cannot be.
_OTHERWISE = {
    "from_logits=True, or False": "--from_logits, or --no-from_logits",
    ", or a list of such": "",
    ", or None.": ", or leave it out.",
    " or None.": ", if it is given.",
}


def in_options(message: str, names: Iterable[str]) -> str:
    """A message in which `` `T_0` `` is `--T_0`, and `T_0=10` is `--T_0 10`.

    Args:
        message: Of an error.
        names: Those of the options.
    """
    for theirs, ours in _OTHERWISE.items():
        message = message.replace(theirs, ours)
    any_name = "|".join(names)
    message = re.sub(rf"`({any_name})`", r"--\1", message)
    given = re.compile(rf"(?<![\w./-])({any_name})=(?:(['\"])(.*?)\2)?")
    return given.sub(lambda found: f"--{found[1]} {shlex.quote(found[3]) if found[2] else ''}", message)
