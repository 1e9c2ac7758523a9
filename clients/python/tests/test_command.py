# SPDX-License-Identifier: Apache-2.0
"""mustafar-client as a person starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from conftest import CLIENTS

PYTHON = {**os.environ, "PYTHONPATH": str(CLIENTS / "python")}
SHAPE = ["--layers", "32", "--kv-heads", "8", "--head-dim", "128"]


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mustafar_client", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=PYTHON, timeout=120)


def test_help_shows_whole_commands() -> None:
    done = start("--help")
    assert done.returncode == 0
    for word in ("mustafar-client plan --layers", "mustafar-client run --synthetic", "results --csv", "Ctrl-C"):
        assert word in done.stdout
    for command in ("plan", "run", "watch", "cancel", "jobs", "results", "caches"):
        assert start(command, "--help").returncode == 0


def test_plan_prints_a_line_per_recipe_and_length(url: str) -> None:
    done = start("--url", url, "plan", *SHAPE, "--recipes", "lean", "k64i4/v128i2", "--lengths", "1", "4096")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and lines[0].split()[:3] == ["recipe", "tokens", "bytes"]
    assert re.match(r"lean +4096 +[0-9.]+ MiB +[0-9.]+ % +[0-9]+ tokens$", lines[2])


def test_plan_takes_a_recipe_from_a_file_and_writes_json(url: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"schema": "mustafar.recipe", "version": 1, "k": {"method": "token_topk", "keep": "1/4"}}')
    done = start("--url", url, "plan", *SHAPE, "--recipes", f"@{file}", "--lengths", "64", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plans"][0]["rows"][0]["tokens"] == 64


def test_caches_are_listed(url: str, service: Any) -> None:
    service.make_cache("one")
    done = start("--url", url, "caches")
    assert done.returncode == 0 and re.search(r"^one +lean +2 +0 ", done.stdout, re.MULTILINE)


def test_refusals_are_one_line_and_status_1(url: str) -> None:
    done = start("--url", url, "plan", *SHAPE, "--recipes", "nonsense", "--lengths", "64")
    assert done.returncode == 1 and done.stderr.startswith("mustafar-client: ") and done.stderr.count("\n") == 1


def test_wrong_command_lines_are_status_2() -> None:
    for arguments in ([], ["plan"], ["run", "--synthetic", "1,2", "--recipes", "lean"], ["results", "--csv"]):
        assert start(*arguments).returncode == 2


def test_the_token_comes_from_a_file(tmp_path: Path) -> None:
    sys.path.insert(0, str(CLIENTS / "python"))
    from mustafar_client.command import read_token

    file = tmp_path / "token"
    file.write_text("# mine\n\nwrite abcdefghijklmnop\n")
    assert read_token(file) == "abcdefghijklmnop"


def test_an_experiment_runs_to_its_end_and_gives_a_table(url: str) -> None:
    done = start("--url", url, "run", "--synthetic", "1,2,64,128", "--recipes", "dense", "lean", "--no-timing")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["dense", "lean"]
    result = re.search(r"results --csv (\S+)", done.stderr)
    assert result is not None
    table = start("--url", url, "results", "--csv", result.group(1))
    assert table.returncode == 0 and len(table.stdout.splitlines()) == 3
    assert result.group(1) in start("--url", url, "results").stdout


def test_ctrl_c_leaves_the_job_and_says_how_to_find_it(url: str) -> None:
    command = [sys.executable, "-m", "mustafar_client", "--url", url, "run", "--synthetic", "2,2,128,16384",
               "--recipes", "dense", "lean", "--budget", "300", "--repeats", "1000"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=PYTHON)
    assert process.stderr is not None
    first = process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    job = first.split()[0]
    assert f"watch {job}" in errors and f"cancel {job}" in errors
    assert start("--url", url, "cancel", job).returncode == 0
    watched = start("--url", url, "watch", job)
    assert watched.returncode == 1 and f"{job} cancelled" in watched.stderr
