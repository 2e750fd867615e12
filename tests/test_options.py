from __future__ import annotations

import pytest

from keras_sgdr._options import in_options


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`T_0` must be 1. Received: T_0=2.5. Pass T_0=1.", "--T_0 must be 1. Received: --T_0 2.5. Pass --T_0 1."),
        ("Received: T_0='1/3'.", "Received: --T_0 1/3."),
        ("Received: T_0='a b'.", "Received: --T_0 'a b'."),
        ("`T_0=20` ends.", "`--T_0 20` ends."),
        ('Pass select="last".', "Pass --select last."),
        # Other names, and names in the middle of others or of a path.
        ("`T_00`, `T_1`, my_T_0=1, runs/T_0=1/a.npz", "`T_00`, `T_1`, my_T_0=1, runs/T_0=1/a.npz"),
        (
            "It must be a positive integer or None. Pass 3, or None.",
            "It must be a positive integer, if it is given. Pass 3, or leave it out.",
        ),
    ],
)
def test_arguments_are_options(message: str, expected: str) -> None:
    assert in_options(message, ["T_0", "select"]) == expected
