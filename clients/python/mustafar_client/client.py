# SPDX-License-Identifier: Apache-2.0
"""The client, of its parts: generated operations, tensors, jobs."""

from __future__ import annotations

from .jobs import Jobs
from .rows import Rows


class Client(Rows, Jobs):
    """A mustafard, by its address or UNIX socket.

        client = Client("http://127.0.0.1:8642", token="...")
        client = Client(unix="/run/mustafard.sock")

    Methods bear the operationId of /openapi.json. Replies are dicts, typed (`mustafar_client.schemas`). Errors:
    ProblemError and its subclasses, ConnectionLost, BadReply; all are ClientError. May be shared by threads."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
