# SPDX-License-Identifier: Apache-2.0
"""`python -m mustafar.eval`, whole: files, going on, Ctrl-C, and what a new user gets wrong."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from eval_files import DATA, write_model, write_tasks

from mustafar.eval import measure
from mustafar.eval.command import main

RECIPES = "dense,int8,k16i4/vdi2,kivi-2"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny")
    write_tasks(tmp_path / "tasks")
    return tmp_path


def run(place: Path, *more: str) -> int:
    given = ["--model", str(place / "tiny"), "--tasks", str(place / "tasks"), "--threads", "1"]
    return main([*given, "--rows", "2", "--state", str(place / "state"), *more])


def rows(path: Path) -> dict:
    return {row["recipe"]: row for row in json.loads(path.read_text())["rows"]}


def test_every_file_of_a_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {kind: place / f"out.{kind}" for kind in ("json", "csv", "html", "svg")}
    options = [text for kind, path in files.items() for text in (f"--{kind}", str(path))]
    assert run(place, "--recipes", RECIPES, *options) == 0
    table = capsys.readouterr().out
    found = rows(files["json"])
    assert list(found) == ["dense", "int8", "k16i4/vdi2", "kivi-2"]
    assert all(name in table for name in found)
    lean = found["k16i4/vdi2"]
    # d 32: K bitmap 4 + 16 codes of 4 bits 8 + scale and zero 4; V 32 codes of 2 bits 8 + 4
    assert (lean["row_bytes_k"], lean["row_bytes_v"]) == (16, 12)
    assert lean["bytes_per_token"] == 2 * 2 * (16 + 12)
    assert (lean["model"], lean["items"], lean["needle_items"]) == ("tiny", 12, 6)
    assert lean["chain"] is None  # there is no such file
    assert {"96", "160"} == set(lean["needle_by_length"])
    assert sum(part["items"] for part in lean["copy_by_segment"].values()) == 6
    assert 0 < lean["needle_low"] + lean["needle_high"] < 2
    assert lean["cache_bytes"] < found["dense"]["cache_bytes"]
    assert found["dense"]["bits_per_byte_change"] == 0
    assert found["dense"]["agreement"] == 1
    assert abs(found["int8"]["bits_per_byte_change"]) < 0.005
    assert found["int8"]["bits_per_byte"] != found["dense"]["bits_per_byte"]
    lines = list(csv.DictReader(files["csv"].open()))
    assert [line["recipe"] for line in lines] == list(found)
    assert float(lines[2]["bits_per_byte"]) == lean["bits_per_byte"]
    html = files["html"].read_text()
    assert html.count("<svg") == 3
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert files["svg"].read_text().startswith("<svg")
    assert not list(place.glob(".out*"))


def test_a_second_run_measures_only_what_is_new(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    original = measure.ItemsUnit.measure

    def counting(self, model, context, plan, prefixes, dense):  # type: ignore[no-untyped-def]
        measured.extend(f"{plan.name} {item.name}" for item in self.items)
        return original(self, model, context, plan, prefixes, dense)

    monkeypatch.setattr(measure.ItemsUnit, "measure", counting)
    out = str(place / "a.json")
    assert run(place, "--recipes", "dense,int8", "--limit", "2", "--json", out) == 0
    assert len(measured) == 8
    before = rows(place / "a.json")
    measured.clear()
    assert run(place, "--recipes", "dense,int8", "--limit", "2", "--json", out) == 0
    assert measured == []
    assert rows(place / "a.json") == before
    assert run(place, "--recipes", "dense,int8,int4", "--limit", "4", "--json", out) == 0
    assert sorted(measured) == sorted(
        [f"{r} {k}-{i}" for r in ("dense", "int8") for k in ("needle", "copy") for i in (2, 3)]
        + [f"int4 {k}-{i}" for k in ("needle", "copy") for i in range(4)]
    )
    measured.clear()
    assert run(place, "--recipes", "dense", "--limit", "2", "--fresh") == 0
    assert len(measured) == 4


def test_ctrl_c_leaves_a_result_and_the_next_run_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = measure.ItemsUnit.measure
    calls = []

    def interrupted(self, model, context, plan, prefixes, dense):  # type: ignore[no-untyped-def]
        calls.append(plan.name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, model, context, plan, prefixes, dense)

    out = place / "part.json"
    with monkeypatch.context() as patched:
        patched.setattr(measure.ItemsUnit, "measure", interrupted)
        assert run(place, "--recipes", RECIPES, "--json", str(out)) == 130
    printed = capsys.readouterr()
    assert "the same command goes on" in printed.err
    assert "(part)" in printed.out
    content = json.loads(out.read_text())
    assert content["complete"] is False
    assert 0 < rows(out)["int8"]["items"] < 12
    assert run(place, "--recipes", RECIPES, "--json", str(out)) == 0
    assert json.loads(out.read_text())["complete"] is True
    whole = rows(out)
    assert run(place, "--recipes", RECIPES, "--json", str(out), "--fresh") == 0
    for name, row in rows(out).items():
        assert row["bits_per_byte"] == pytest.approx(whole[name]["bits_per_byte"], abs=1e-6)
        assert row["needle"] == whole[name]["needle"]


def test_a_state_cut_short_is_mended_and_a_damaged_one_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "--recipes", "dense", "--limit", "2") == 0
    state = next((place / "state").iterdir())
    raw = state.read_bytes()
    state.write_bytes(raw[:-20])
    assert run(place, "--recipes", "dense", "--limit", "2") == 0
    assert len(state.read_bytes().splitlines()) == len(raw.splitlines())
    lines = state.read_bytes().splitlines(keepends=True)
    state.write_bytes(lines[0] + b"{}\n" + b"".join(lines[1:]))
    assert run(place, "--recipes", "dense", "--limit", "2") == 3
    assert "line 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (["--model", "nobody"], 3, "no such model; there are tiny-llama-d128, tiny-llama-d64"),
        (["--recipes", "leen"], 2, "leen"),
        (["--recipes", "lean,,int8"], 2, "a name is empty"),
        (["--recipes", "k33/v32"], 2, "k33/v32"),
        (["--tasks", "nowhere"], 3, "nowhere: no such folder"),
        (["--step", "3"], 2, "--step 3"),
        (["--rows", "0"], 2, "--rows 0"),
        (["--json", "no/such/folder/x.json"], 5, "cannot be written"),
    ],
)
def test_a_wrong_option_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], status: int, text: str
) -> None:
    assert run(place, *options) == status
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "line 3: "),
        ("[]", "line 3: not a JSON object"),
        ('{"id": "x", "kind": "copy", "length": 9, "prompt": "a", "answer": "b"}', 'kind = "copy"'),
        ('{"id": "x", "kind": "needle", "length": "9", "prompt": "a", "answer": "b"}', "length"),
        ('{"id": "x", "kind": "needle", "length": 9, "prompt": "a"}', "answer is missing"),
        ('{"id": "x", "kind": "needle", "length": 9, "prompt": "", "answer": "b"}', "is empty"),
        ('{"id": "x", "kind": "needle", "length": 9, "prompt": "\\u0141", "answer": "b"}', "byte"),
        (
            '{"id": "needle-0", "kind": "needle", "length": 9, "prompt": "a", "answer": "b"}',
            "twice",
        ),
    ],
)
def test_a_wrong_line_of_a_task_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], line: str, text: str
) -> None:
    path = place / "tasks/needle.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("\n".join(lines))
    assert run(place) == 3
    error = capsys.readouterr().err
    assert "needle.jsonl, line 3" in error
    assert text in error


def test_a_prompt_longer_than_the_model_reads_is_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = {"id": "x", "kind": "copy", "length": 999, "prompt": "a" * 256, "answer": "b"}
    (place / "tasks/copy.jsonl").write_text(json.dumps(item))
    assert run(place) == 3
    assert "longer than the model's 256 bytes" in capsys.readouterr().err


def test_recipes_from_files_and_under_two_names(place: Path) -> None:
    (place / "mine.json").write_text(
        '{"schema": "mustafar.recipe", "version": 1, "k": {"bits": 4}, "v": {"bits": 4}}'
    )
    out = place / "out.json"
    recipes = f"int4,{place / 'mine.json'},kdi8/vdi8"
    assert run(place, "--recipes", recipes, "--limit", "1", "--json", str(out)) == 0
    assert list(rows(out)) == ["dense", "int4", "kdi8/vdi8"]


def test_the_command_itself(place: Path) -> None:
    def command(*options: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "mustafar.eval", *options]
        return subprocess.run(
            line, capture_output=True, text=True, cwd=place, env=os.environ, check=False
        )

    shown = command("--help")
    assert shown.returncode == 0
    assert "how it is measured" in shown.stdout
    assert command("--nonsense").returncode == 2
    assert command("--list-recipes").stdout.startswith("dense")
    wrong = command("--model", str(place / "tasks"), "--threads", "1")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "config.json: cannot be read" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_real_items_on_the_real_decoder(tmp_path: Path) -> None:
    """What the model card says, in small: it finds needles, and two bits a value lose digits."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    lines = (DATA / "tasks/needle.jsonl").read_text().splitlines()
    short = [line for line in lines if '"length": 512' in line][:3]
    (tasks / "needle.jsonl").write_text("\n".join(short))
    out = tmp_path / "out.json"
    options = ["--tasks", str(tasks), "--state", str(tmp_path), "--threads", "1"]
    options += ["--model", "tiny-llama-d64", "--recipes", "dense,int8,int2", "--json", str(out)]
    assert main(options) == 0
    found = rows(out)
    assert found["dense"]["needle"] == found["int8"]["needle"] == 1
    assert found["int2"]["needle_bytes"] < 1
    assert found["dense"]["bits_per_byte"] is None
