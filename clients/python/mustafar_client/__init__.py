# SPDX-License-Identifier: Apache-2.0
"""A client of mustafard, the HTTP service of libmustafar. `Client` is where to begin; README.md beside this."""

from . import _problems as problems
from . import _schemas as schemas
from .client import Client
from .errors import BadReply, ClientError, ConnectionLost, ProblemError
from .jobs import Event
from .rows import Attended, Part
from .transport import Reply, Retry

__all__ = [
    "Attended",
    "BadReply",
    "Client",
    "ClientError",
    "ConnectionLost",
    "Event",
    "Part",
    "ProblemError",
    "Reply",
    "Retry",
    "problems",
    "schemas",
]
__version__ = "0.1.0"
