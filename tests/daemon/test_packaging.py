# SPDX-License-Identifier: Apache-2.0
"""What a packager and an operator meet: the configuration file, the systemd unit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from service import BINARY

UNIT = Path(os.environ["MUSTAFAR_UNIT"])
tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BINARY, *flags], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("flags", [
    (), ("--allow-host", "a.example", "--allow-host", "b.example", "--port", "9000"),
    ("--memory-quota", "8g", "--data-dir", "/somewhere/with space", "--allow-blind-append", "--idle-timeout", "1.5"),
])  # fmt: skip
def test_what_is_printed_is_read_again(tmp_path: Path, flags: tuple[str, ...]) -> None:
    config = tmp_path / "mustafard.toml"
    config.write_text(run(*flags, "--print-config").stdout)
    values = tomllib.loads(config.read_text())
    assert values["workers"] == 8 and values["host"] == "127.0.0.1"
    assert run("--config", str(config), "--print-config").stdout == config.read_text()
    if "--data-dir" not in flags:
        assert run("--config", str(config), "--check-config").returncode == 0
    if flags and flags[0] == "--allow-host":
        assert values["allow-host"] == ["a.example", "b.example"] and values["port"] == 9000
    if "--memory-quota" in flags:
        assert values["memory-quota"] == 8 << 30 and values["data-dir"] == "/somewhere/with space"


@pytest.mark.parametrize("text", [
    "portt = 9000", "port = 70000", "port = [1, 2]", 'workers = "many"', "[daemon]\nport = 9000", 'host = "0.0.0.0"',
    'log-level = "loud"', "check-config = true",
])  # fmt: skip
def test_a_wrong_configuration_file_is_told(tmp_path: Path, text: str) -> None:
    config = tmp_path / "mustafard.toml"
    config.write_text(text + "\n")
    refused = run("--config", str(config), "--check-config")
    assert refused.returncode == 2 and refused.stderr.startswith("mustafard: "), refused.stdout
    assert refused.stderr.count("\n") == 1


def test_a_configuration_file_that_is_not_there(tmp_path: Path) -> None:
    refused = run("--config", str(tmp_path / "none"), "--check-config")
    assert refused.returncode == 2 and "none" in refused.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The installed one, with a program that is there."""
    lines = UNIT.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("ExecStart="))
    program = lines[start].removeprefix("ExecStart=").split()[0]
    assert program.endswith("/bin/mustafard") and program.startswith("/")
    lines[start] = lines[start].replace(program, BINARY)
    lines = [line for line in lines if not line.startswith("Documentation=")]  # not installed here
    path = tmp_path / "mustafard.service"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_is_clean_and_shut_in(unit: Path) -> None:
    checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and str(unit.name) not in checked.stderr, checked.stderr
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)]
    exposure = subprocess.run(command, capture_output=True, text=True, check=False)
    assert exposure.returncode == 0, exposure.stdout  # 1.5 of 10 at most


def test_the_unit_names_options_that_are_there(unit: Path) -> None:
    text = unit.read_text()
    options = set(re.findall(r"--[a-z-]+", text))
    assert "--data-dir" in options
    assert options <= set(re.findall(r"--[a-z-]+", run("--help").stdout))
    wait = next(line for line in text.splitlines() if line.startswith("TimeoutStopSec="))
    drain = tomllib.loads(run("--print-config").stdout)["drain-timeout"]
    assert int(wait.split("=")[1]) >= drain + 10
