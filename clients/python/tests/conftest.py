# SPDX-License-Identifier: Apache-2.0
"""The package from the tree, and a real mustafard that all tests of a file share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).resolve().parents[2]
ROOT = CLIENTS.parent
sys.path[:0] = [str(CLIENTS / "python"), str(CLIENTS), str(ROOT / "tests" / "daemon")]


@pytest.fixture(scope="module")
def service() -> Iterator[Any]:
    if "MUSTAFARD" not in os.environ:
        pytest.skip("mustafard is not built (MUSTAFARD says where it is)")
    from service import Service

    with Service("--backend", "ref") as running:
        yield running


@pytest.fixture
def url(service: Any) -> str:
    return f"http://127.0.0.1:{service.port}"
