# SPDX-License-Identifier: Apache-2.0
"""What HTTP has words for, found in the OpenAPI document: NoForm for a step that has none."""

from __future__ import annotations

from arrays import dtype_of
from wire import JsonObject, NoForm, Wire

CACHE = "/v1/caches/{id}"
LAYER = CACHE + "/layers/{layer}"


def check_form(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    check = globals().get("form_" + step["op"])
    if check is not None:
        check(wire, case, step)


def form_append(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    plain = "k_shape" not in step and "v_shape" not in step
    if plain and dtype_of(step["k"]) == dtype_of(step["v"]):
        return
    wire.need("shapes or dtypes of k and v", "post", CACHE + "/append", "expect")


def form_prune(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    for name in ("channel_weights", "token_weights", "mask"):
        if name in step:
            wire.need("arrays of prune", "post", CACHE + "/prune", name)
    if step["method"] == "mask":
        raise NoForm("arrays of prune: POST /v1/caches/{id}/prune has no mask")


def form_load(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    path = "/v1/snapshots/{name}/restore"
    for name in ("geometry", "recipe", "max_tokens", "auto"):
        if name in step:
            wire.need("what a load is told", "post", path, name)
    if "patch" in step or "cut" in step:
        wire.need("a damaged snapshot", "put", "/v1/snapshots/{name}/content")


def form_export(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    wire.need("export", "get", LAYER + "/bitmap", "side", "kv_head", "from", "to")
    if "values" in step:
        wire.need("export", "get", LAYER + "/tensor", "side", "kv_head", "from", "to")


def form_bytes(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    if step["layer"] >= case["geometry"]["layers"]:
        raise NoForm("bytes of a layer: the service lists those that are there")


def form_attend(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    if "q_shape" in step or len(step["caches"]) != 1:
        wire.need("attend on several caches", "post", "/v1/attend")
    if "weights_width" in step:
        wire.need("weights of attend", "post", LAYER + "/attend", "weights")
    if "sinks" in step:
        wire.need("sinks of attend", "post", LAYER + "/attend", "sinks")
    if "drop_mass" in step:
        wire.need("dropped of attend", "post", LAYER + "/attend", "dropped")


def form_merge(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    wire.need("merge", "post", "/v1/merge")


def form_side(wire: Wire, case: JsonObject, step: JsonObject) -> None:
    wire.need("what a recipe means", "post", "/v1/explain", "geometry", "kv_head")


form_window = form_side
