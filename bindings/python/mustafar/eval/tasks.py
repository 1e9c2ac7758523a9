# SPDX-License-Identifier: Apache-2.0
"""Tasks: items of needle, copy and chain in JSON lines, and held-out text."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from .errors import DATA, EvaluationError
from .model import Ints

__all__ = ["KINDS", "PACKED_TAIL", "Item", "Tasks", "Text", "read_tasks"]

KINDS = ("needle", "copy", "chain")
PACKED_TAIL = 48  # bytes of a prompt that are decoded on the packed cache, like the answer
TEXT_FILE = "heldout_text.txt"


@dataclass(frozen=True)
class Item:
    """One question."""

    name: str
    kind: str
    length: int  # nominal, bytes
    prompt: Ints
    answer: Ints
    fields: dict[str, Any] = field(compare=False)

    @property
    def key(self) -> str:
        """Kind, name, and a digest of what is asked and answered."""
        content = self.prompt.tobytes() + b"/" + self.answer.tobytes()
        return f"{self.kind}/{self.name}/{hashlib.sha256(content).hexdigest()[:16]}"

    @property
    def prefix(self) -> int:
        """Tokens that are prefilled dense."""
        return max(0, len(self.prompt) - PACKED_TAIL)

    @property
    def fed(self) -> Ints:
        """Tokens that are fed to the packed cache: the last answer byte only has to be guessed."""
        return numpy.concatenate([self.prompt[self.prefix :], self.answer[:-1]])


@dataclass(frozen=True)
class Text:
    """Rows of held-out text: `prefix` bytes prefilled, the bytes behind them guessed."""

    rows: Ints  # [count, length]
    prefix: int


@dataclass(frozen=True)
class Tasks:
    """What a folder holds, cut to the limits asked for."""

    items: list[Item]
    text: Text | None
    digests: dict[str, str]  # of the files


def read_tasks(folder: Path, *, limit: int, rows: int, seed: int, context: int) -> Tasks:
    """`limit` items of each kind (0 = all) and `rows` rows of text; a file that lacks is left out.

    Seed 0 takes the first items and evenly spread rows; any other starts somewhere else.
    """
    if not folder.is_dir():
        raise EvaluationError(DATA, f"{folder}: no such folder of tasks")
    items: list[Item] = []
    digests: dict[str, str] = {}
    random = numpy.random.default_rng(seed)
    for kind in KINDS:
        path = folder / f"{kind}.jsonl"
        start = random.random()
        if path.exists():
            raw = _bytes(path)
            digests[path.name] = hashlib.sha256(raw).hexdigest()
            found = _items(path, raw, kind, context)
            first = int(start * len(found)) // 12 * 12 if seed else 0
            found = found[first:] + found[:first]
            items += found[:limit] if limit else found
    text, path = None, folder / TEXT_FILE
    start = random.random()
    if path.exists():
        raw = _bytes(path)
        digests[path.name] = hashlib.sha256(raw).hexdigest()
        text = _text(path, raw, rows, start if seed else 0.0, context)
    if not items and text is None:
        names = ", ".join([f"{kind}.jsonl" for kind in KINDS] + [TEXT_FILE])
        raise EvaluationError(DATA, f"{folder}: none of {names} is there")
    return Tasks(items, text, digests)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvaluationError(DATA, f"{path}: cannot be read: {error.strerror or error}") from error


def _items(path: Path, raw: bytes, kind: str, context: int) -> list[Item]:
    items = []
    names = set()
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            item = _item(json.loads(line), kind)
            if len(item.prompt) + len(item.answer) > context:
                raise ValueError(f"prompt and answer are longer than the model's {context} bytes")
            if item.name in names:
                raise ValueError(f'id "{item.name}" is there twice')
        except (ValueError, RecursionError) as error:
            raise EvaluationError(DATA, f"{path}, line {number}: {error}") from error
        names.add(item.name)
        items.append(item)
    if not items:
        raise EvaluationError(DATA, f"{path}: no items")
    return items


def _item(content: object, kind: str) -> Item:
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    for key, kinds in {"id": str, "kind": str, "length": int, "prompt": str, "answer": str}.items():
        if type(content.get(key)) is not kinds:
            raise ValueError(f"{key} is missing or not {'a number' if kinds is int else 'text'}")
    if content["kind"] != kind:
        raise ValueError(f'kind = "{content["kind"]}" in a file of {kind} items')
    depth = content.get("depth", 0)
    if not isinstance(depth, (int, float)) or not 0 <= depth <= 1:
        raise ValueError(f"depth = {depth!r}; a number from 0 to 1 is needed")
    return Item(
        name=content["id"],
        kind=kind,
        length=content["length"],
        prompt=_tokens(content["prompt"], "prompt"),
        answer=_tokens(content["answer"], "answer"),
        fields={k: v for k, v in content.items() if k not in ("prompt", "answer")},
    )


def _tokens(text: str, key: str) -> Ints:
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"{key}: character {error.start} is no byte") from error
    if not raw:
        raise ValueError(f"{key} is empty")
    return numpy.frombuffer(raw, numpy.uint8).astype(numpy.int64)


def _text(path: Path, raw: bytes, rows: int, start: float, context: int) -> Text:
    length = min(context, 2048)
    if len(raw) < length:
        raise EvaluationError(DATA, f"{path}: {len(raw)} bytes; a row takes {length}")
    last = len(raw) - length
    begins = [round(last * ((i / max(1, rows - 1) + start) % 1.0001)) for i in range(rows)]
    data = numpy.frombuffer(raw, numpy.uint8).astype(numpy.int64)
    table = numpy.stack([data[begin : begin + length] for begin in begins])
    return Text(table, length * 11 // 16)  # 1408 of 2048
