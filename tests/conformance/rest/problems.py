# SPDX-License-Identifier: Apache-2.0
"""What a refused step must look like over HTTP."""

from __future__ import annotations

from wire import JsonObject, Refused, text_of

# What the vectors call a status is one of these problems; the service checks bodies and parameters
# before the library does.
CHECKED_FIRST = {"bad-body", "bad-parameter", "not-found", "body-size"}
PROBLEMS = {
    "INVALID_ARGUMENT": {"invalid-argument", *CHECKED_FIRST},
    "UNSUPPORTED": {"unsupported"},
    "CAPACITY": {"capacity"},
    "BAD_STATE": {"bad-state"},
    "NON_FINITE": {"non-finite", "bad-body"},
    "NOT_EXACT": {"not-exact"},
    "CORRUPT": {"corrupt"},
    "MISMATCH": {"mismatch"},
}
VALUES = {
    "capacity": ("requested_tokens", "held_tokens", "limit_tokens"),
    "not-exact": ("smallest_exact_length",),
    "corrupt": ("offset_bytes",),
}

# Where HTTP has another name for an argument.
HTTP_NAMES = {("plan", "tokens"): "lengths", ("export", "end"): "to", ("attend", "q.shape"): ".q"}


class CaseError(Exception):
    """The service did something else than the vectors say."""


def check_refusal(step: JsonObject, error: Refused) -> None:
    """The status of the step, the argument it names, and its numbers."""
    wanted_status = step.get("status", "OK")
    if error.slug not in PROBLEMS.get(wanted_status, set()):
        raise CaseError(f"{error.slug}, expected {wanted_status}: {error}")
    names = step.get("names", "")
    if error.slug in CHECKED_FIRST:  # fields have no struct around them
        names = names.removeprefix("options.")
        names = HTTP_NAMES.get((step["op"], names), names)
    if names not in text_of(error):
        raise CaseError(f"the problem does not name {names}: {error.document}")
    wanted = step.get("error_values", [])
    if error.slug == "non-finite":
        values = error.document["index"]
    else:
        values = [error.document[key] for key in VALUES.get(error.slug, ())]
    if values[: len(wanted)] != wanted:
        raise CaseError(f"the problem's numbers are {values}, expected {wanted}")
