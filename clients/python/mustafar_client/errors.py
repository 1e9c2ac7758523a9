# SPDX-License-Identifier: Apache-2.0
"""What can go wrong: the server refused (ProblemError), or there was no answer (ConnectionLost)."""

from __future__ import annotations

from typing import Any

PREFIX = "urn:mustafar:problem:"


class ClientError(Exception):
    """Everything this package raises on purpose."""


class ConnectionLost(ClientError):
    """No complete answer: connection refused, cut or timed out. Whether the server did the work is not known."""


class BadReply(ClientError):
    """The answer is not one of mustafard: another server behind this address, or a proxy in between."""


class ProblemError(ClientError):
    """The server refused, and says why (RFC 9457). There is a subclass per type, in `mustafar_client.problems`;
    one that this package does not know, of a newer server, comes as ProblemError itself."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(f"{document.get('title', 'refused')}: {document.get('detail', '')}")
        self.document = document

    @property
    def slug(self) -> str:
        """The type, without urn:mustafar:problem:"""
        return str(self.document.get("type", "")).removeprefix(PREFIX)

    @property
    def status(self) -> int:
        return int(self.document.get("status", 0))

    @property
    def detail(self) -> str:
        return str(self.document.get("detail", ""))

    @property
    def request_id(self) -> str:
        """What the log of the server calls the request."""
        return str(self.document.get("instance", "")).removeprefix("urn:request:")

    @property
    def members(self) -> dict[str, Any]:
        """The numbers and names behind the text."""
        common = ("type", "title", "status", "detail", "instance")
        return {name: value for name, value in self.document.items() if name not in common}
