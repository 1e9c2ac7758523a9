# SPDX-License-Identifier: Apache-2.0
"""What ends an evaluation: a sentence for the user, and the status of the process."""

from __future__ import annotations

__all__ = ["DATA", "INTERRUPTED", "LIBRARY", "OUTPUT", "USAGE", "EvaluationError"]

USAGE = 2  # the command line is wrong
DATA = 3  # a model, a task or a recipe file is missing or wrong
LIBRARY = 4  # the library refused
OUTPUT = 5  # a result could not be written
INTERRUPTED = 130


class EvaluationError(Exception):
    """Ends the run with `status`; its text names what is wrong and the way out."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
