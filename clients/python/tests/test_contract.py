# SPDX-License-Identifier: Apache-2.0
"""The client against daemon/openapi.json: nothing is missing, nothing has drifted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import CLIENTS, ROOT

from mustafar_client import Client, ProblemError
from mustafar_client._problems import PROBLEMS

OPENAPI = json.loads((ROOT / "daemon" / "openapi.json").read_text())
LEFT_OUT = json.loads((CLIENTS / "left_out.json").read_text())
OPERATIONS = [one["operationId"] for methods in OPENAPI["paths"].values() for one in methods.values()]


def test_problem_types_are_the_closed_list() -> None:
    types = OPENAPI["components"]["schemas"]["problem"]["properties"]["type"]["enum"]
    assert [f"urn:mustafar:problem:{slug}" for slug in PROBLEMS] == types
    assert all(issubclass(one, ProblemError) for one in PROBLEMS.values())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_a_method_or_a_reason(operation: str) -> None:
    assert callable(getattr(Client, operation, None)) or LEFT_OUT.get(operation)


def test_generated_files_are_those_of_the_document() -> None:
    command = [sys.executable, str(CLIENTS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scenario_is_what_its_schema_says() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="package python3-jsonschema")
    folder = CLIENTS / "scenario"
    scenario = json.loads((folder / "scenario.json").read_text())
    schema = json.loads((folder / "schema.json").read_text())
    jsonschema.validate(scenario, schema)
    ids = [step["id"] for step in scenario["steps"]]
    assert len(ids) == len(set(ids))
    for step in scenario["steps"]:
        assert callable(getattr(Client, step["call"])), step["id"]
