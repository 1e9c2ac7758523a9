# SPDX-License-Identifier: Apache-2.0
"""What was measured already: a file of JSON lines, one per item (or text) and recipe.

The first line says what all results depend on: model, library, kernels, threads. Its digest is part
of the file's name, so that another model or library never meets these results. Each result has its
own key besides: what was asked, and the digest of the recipe. So more items or recipes go on from
here. A line cut short by a crash is measured again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import DATA, OUTPUT, EvaluationError
from .measure import Result

__all__ = ["State"]


class State:
    """Results by key and recipe digest; `put` makes them last."""

    def __init__(self, folder: Path, model: str, key: dict[str, Any], *, fresh: bool) -> None:
        head = json.dumps(key, sort_keys=True)
        name = f"{model}-{hashlib.sha256(head.encode()).hexdigest()[:12]}.jsonl"
        self.path = folder / name
        self._results: dict[tuple[str, str], Result] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a+b")
            try:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise EvaluationError(
                    OUTPUT, f"{self.path}: another evaluation writes it"
                ) from error
            if fresh:
                self._stream.truncate(0)
            self._read(head)
        except OSError as error:
            raise EvaluationError(
                OUTPUT, f"{error.filename or self.path}: {error.strerror}"
            ) from error

    def _read(self, head: str) -> None:
        self._stream.seek(0)
        lines = self._stream.read().split(b"\n")
        whole, rest = lines[:-1], lines[-1]  # the last has no newline: cut short, or empty
        if rest:
            self._stream.truncate(sum(len(line) + 1 for line in whole))
        if not whole:
            self._stream.truncate(0)
            self._write(head)
            return
        for number, line in enumerate(whole, 1):
            try:
                content = json.loads(line)
                if number == 1:
                    if content != json.loads(head):
                        raise ValueError("the key is another one")
                else:
                    self._results[content["key"], content["recipe"]] = content["result"]
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(
                    DATA, f"{self.path}, line {number}: {error}; --fresh starts again"
                ) from error

    def _write(self, line: str) -> None:
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def get(self, key: str, recipe: str) -> Result | None:
        """The result, or None where it has to be measured."""
        return self._results.get((key, recipe))

    def put(self, keys: list[str], recipe: str, results: list[Result]) -> None:
        """Stores results."""
        lines = []
        for key, result in zip(keys, results, strict=True):
            self._results[key, recipe] = result
            lines.append(json.dumps({"key": key, "recipe": recipe, "result": result}))
        try:
            self._write("\n".join(lines))
        except OSError as error:
            raise EvaluationError(OUTPUT, f"{self.path}: {error.strerror}") from error

    def __enter__(self) -> State:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
