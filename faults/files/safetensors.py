"""Hostile files of the safetensors format: a length, a header of JSON, and the tensors' bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from faults.files.damage import Case, content

__all__ = ["headers"]


def headers(whole: bytes) -> Iterator[Case]:
    """Files whose header is wrong.

    Args:
        whole: A whole file.
    """
    size = int.from_bytes(whole[:8], "little")
    for length in (0, 1, size - 1, size + 1, len(whole), 10**8, 2**31, 2**60, 2**63, 2**64 - 1):
        yield content(f"a header of {length} bytes", length.to_bytes(8, "little") + whole[8:])
    for name, text in {
        "no JSON": "{" * 100,
        "deep lists": "[" * 10**5 + "]" * 10**5,
        "deep mappings": '{"a":' * 10**5 + "1" + "}" * 10**5,
        "a list": "[]",
        "null": "null",
        "a number of 5,000 digits": '{"a": ' + "9" * 5000 + "}",
        "a lone surrogate": '{"\\ud800": 1}',
        "NaN": '{"a": NaN}',
    }.items():
        yield content(f"a header of {name}", _file(text, bytes(16)))
    yield content("a header that is no UTF-8", _file('{"a": 1}', bytes(16)).replace(b'"a"', b'"\xff"'))
    good: dict[str, Any] = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    lies: dict[str, dict[str, Any]] = {
        "float8 (E4M3)": {"dtype": "F8_E4M3", "shape": [12]},
        "float8 (E5M2)": {"dtype": "F8_E5M2", "shape": [12]},
        "float8 (E8M0)": {"dtype": "F8_E8M0", "shape": [12]},
        "float6": {"dtype": "F6_E2M3", "shape": [16]},
        "float4": {"dtype": "F4", "shape": [24]},
        "bfloat16": {"dtype": "BF16", "shape": [6]},
        "complex64": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]},
        "an unknown type": {"dtype": "X32"},
        "a type that is a number": {"dtype": 32},
        "a negative side": {"shape": [-3]},
        "a fraction as side": {"shape": [3.0]},
        "a side of 2**40": {"shape": [2**40]},
        "2**80 numbers": {"shape": [2**40, 2**40]},
        "2**64 numbers": {"shape": [2**32, 2**32]},
        "an empty side beside one of 2**63": {"shape": [0, 2**63], "data_offsets": [0, 0]},
        "an empty side beside one of 10**18": {"shape": [0, 10**18], "data_offsets": [0, 0]},
        "1,000 dimensions": {"shape": [1] * 999 + [3]},
        "a shape that is a text": {"shape": "3"},
        "offsets the other way round": {"data_offsets": [12, 0]},
        "offsets behind the file": {"data_offsets": [0, 2**40]},
        "offsets that begin behind the file": {"data_offsets": [2**40, 2**40 + 12]},
        "negative offsets": {"data_offsets": [-12, 0]},
        "offsets of 100 bits": {"data_offsets": [0, 10**30]},
        "one offset": {"data_offsets": [0]},
        "a gap before it": {"data_offsets": [4, 16]},
        "fewer bytes than numbers": {"data_offsets": [0, 8]},
        "more bytes than numbers": {"data_offsets": [0, 16]},
        "another key": {"code": "import os"},
    }
    for name, wrong in lies.items():
        end = {**good, **wrong}["data_offsets"][-1]
        yield content(f"a tensor of {name}", _file({"fc.bias": {**good, **wrong}}, bytes(min(max(end, 12), 16))))
    second = {**good, "data_offsets": [8, 20]}
    yield content("tensors that overlap", _file({"fc.bias": good, "fc.weight": second}, bytes(20)))
    yield content("two tensors of the same bytes", _file({"fc.bias": good, "fc.weight": good}, bytes(12)))
    texts = [json.dumps({"fc.bias": {**good, "data_offsets": ends}}) for ends in ([0, 12], [12, 24])]
    text = f"{texts[0][:-1]}, {texts[1][1:]}"
    yield content("two tensors of one name", _file(text, bytes(24)))
    yield content("no tensors", _file({}, b""))
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    yield content("100,000 tensors without numbers", _file({f"t{n}": empty for n in range(10**5)}, b""))
    yield content("a name of a megabyte", _file({"n" * 10**6: good}, bytes(12)))
    yield content("a name of line breaks and NUL", _file({"\n\0\x1b[2J": good}, bytes(12)))
    yield content("metadata that is no mapping", _file({"__metadata__": [1], "fc.bias": good}, bytes(12)))
    yield content("metadata of numbers", _file({"__metadata__": {"a": 1}, "fc.bias": good}, bytes(12)))
    yield content("followed by a kilobyte", whole + bytes(1000))
    yield content("after another file", whole + whole)
    yield content("a million spaces after the header", _file({"fc.bias": good}, bytes(12), " " * 10**6))


def _file(header: Any, data: bytes, padding: str = "") -> bytes:
    text = ((header if isinstance(header, str) else json.dumps(header)) + padding).encode()
    return len(text).to_bytes(8, "little") + text + data
