#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The files agree: manifest, JSON, schema and the line-oriented twins. Standard library alone; the
schema is applied where python3-jsonschema is installed (--schema: status 77 where it is not)."""

import json
import pathlib
import sys
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "generator"))

from write import twin_text  # noqa: E402


def read() -> dict[str, dict[str, Any]]:
    paths = sorted((HERE / "vectors").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def check_files(files: dict[str, dict[str, Any]]) -> list[str]:
    problems = []
    ids: list[str] = []
    for topic, document in files.items():
        cases = document["cases"]
        ids += [case["id"] for case in cases]
        problems += [
            f"{case['id']}: another topic than {topic}"
            for case in cases
            if case["topic"] != topic or not case["id"].startswith(topic + "/")
        ]
        twin = (HERE / "vectors" / f"{topic}.txt").read_text(encoding="utf-8")
        if twin != twin_text(topic, cases):
            problems.append(f"{topic}.txt is not the twin of {topic}.json")
    if sorted(ids) != (HERE / "manifest.txt").read_text(encoding="utf-8").split():
        problems.append("the manifest is not the list of all ids")
    counts = ", ".join(f"{topic} {len(doc['cases'])}" for topic, doc in files.items())
    print(f"{len(ids)} cases: {counts}")
    return problems


def check_schema(files: dict[str, dict[str, Any]]) -> "list[str] | None":
    try:
        import jsonschema  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        print("not installed: python3-jsonschema")
        return None
    schema = json.loads((HERE / "schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(schema)
    jsonschema.Draft7Validator.check_schema(schema)
    problems = []
    for topic, document in files.items():
        for error in validator.iter_errors(document):
            where = "/".join(str(part) for part in error.absolute_path)
            problems.append(f"{topic}.json: {where}: {error.message[:200]}")
    return problems


def main(words: list[str]) -> int:
    files = read()
    problems = check_schema(files) if words == ["--schema"] else check_files(files)
    if problems is None:
        return 77
    for problem in problems[:30]:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
