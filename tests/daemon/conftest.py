# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
from service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One daemon per file, with snapshots; that it ends with status 0 is part of every test."""
    folder = tmp_path_factory.mktemp("service")
    one = Service("--data-dir", str(folder / "data"), "--memory-quota", "256m", folder=folder)
    yield one
    assert one.stop() == 0
