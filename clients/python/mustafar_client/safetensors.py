# SPDX-License-Identifier: Apache-2.0
"""Several tensors in one body: 8 bytes of length, a JSON header, the bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import BadReply
from .tensors import array_of, as_array, data_of, dtype_name

if TYPE_CHECKING:
    from .tensors import Array

MEDIA = "application/vnd.safetensors"
DTYPES = {"f16": "F16", "bf16": "BF16", "f32": "F32"}
NAMES = {value: name for name, value in DTYPES.items()}


def pack(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """A body with these tensors, in this order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    parts = []
    end = 0
    for name, value in tensors.items():
        array = as_array(value, name, getattr(value, "ndim", 0))
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": DTYPES[dtype_name(array)],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        parts.append(data_of(array))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, *parts))


def unpack(body: bytes) -> dict[str, Array]:
    """The tensors of a body, each with bytes of its own."""
    size = int.from_bytes(body[:8], "little")
    if len(body) < 8 or size > len(body) - 8:
        raise BadReply("a safetensors reply that is cut short")
    try:
        header = json.loads(body[8 : 8 + size])
        data = memoryview(body)[8 + size :]
        arrays = {}
        for name, one in header.items():
            if name == "__metadata__":
                continue
            begin, end = one["data_offsets"]
            if not 0 <= begin <= end <= len(data):
                raise BadReply(f"safetensors: {name} lies outside of the reply")
            arrays[name] = array_of(data[begin:end], NAMES[one["dtype"]], tuple(one["shape"]))
        return arrays
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadReply(f"a reply that is no safetensors: {error!r}") from error
