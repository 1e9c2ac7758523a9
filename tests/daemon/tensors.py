# SPDX-License-Identifier: Apache-2.0
"""safetensors bodies with the standard library: written as the format says, or wrong on purpose."""

from __future__ import annotations

import json
import struct
from typing import Any

SAFETENSORS = {"Content-Type": "application/vnd.safetensors"}
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1, "F64": 8}

Tensor = tuple[str, list[int], bytes]  # dtype, shape, data


def pack(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None, pad: int = 8) -> bytes:
    """A file whose data begin at a multiple of `pad`, or one byte behind it where `pad` is 1."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    place = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(data)]}
        place += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % max(pad, 2) + (1 if pad == 1 else 0))
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())


def unpack(data: bytes) -> dict[str, Tensor]:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    out, place = {}, 0
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        count = 1
        for extent in entry["shape"]:
            count *= extent
        assert begin == place and end - begin == count * SIZES[entry["dtype"]]
        out[name] = (entry["dtype"], entry["shape"], data[8 + length + begin:8 + length + end])
        place = end
    assert 8 + length + place == len(data)
    return out
