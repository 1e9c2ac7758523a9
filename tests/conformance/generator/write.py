# SPDX-License-Identifier: Apache-2.0
"""Cases to files: JSON, and its twin of one line per step for readers without JSON."""

import json
from typing import Any


def json_text(topic: str, cases: "list[dict[str, Any]]") -> str:
    """One line per step, so that a change is a readable diff."""
    out = ['{"format": 1, "topic": "' + topic + '", "cases": [']
    for n, case in enumerate(cases):
        head = {key: value for key, value in case.items() if key != "steps"}
        out.append(json.dumps(head)[:-1] + ', "steps": [')
        lines = [" " + json.dumps(step, separators=(", ", ":")) for step in case["steps"]]
        out.append(",\n".join(lines))
        out.append("]}" + ("," if n + 1 < len(cases) else ""))
    return "\n".join([*out, "]}", ""])


def twin_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, dict):
        return ",".join(twin_value(item) for item in value.values())
    if isinstance(value, list):
        return ",".join(twin_value(item) for item in value)
    text = repr(value) if isinstance(value, float) else str(value)
    return text.replace("%", "%25").replace(" ", "%20").replace("\n", "%0a")


def twin_line(word: str, items: "dict[str, Any]") -> str:
    return " ".join([word, *(f"{key}={twin_value(value)}" for key, value in items.items())])


def twin_text(topic: str, cases: "list[dict[str, Any]]") -> str:
    out = [f"vectors format=1 topic={topic}"]
    for case in cases:
        head = {key: case[key] for key in ("geometry", "recipe")}
        out.append(twin_line(f"case {case['id']}", head))
        for step in case["steps"]:
            args = {key: value for key, value in step.items() if key != "op"}
            out.append(twin_line(step["op"], args))
        out.append("end")
    return "\n".join([*out, ""])
