// SPDX-License-Identifier: Apache-2.0
// JSON schemas of what is in caches: pictures, batches, how long they stay.
#include "openapi.hpp"

namespace mustafar::daemon {

namespace {

constexpr const char* schemas_text = R"({
"ttl": {"type": ["number", "null"], "minimum": 0.001, "maximum": 1000000000,
  "description": "Seconds since the last use after which the cache is freed; null: never"},
"labels": {"type": "object", "maxProperties": 32,
  "propertyNames": {"minLength": 1, "maxLength": 64}, "additionalProperties": {"type": "string", "maxLength": 256}},
"keeping": {"type": "object", "additionalProperties": false,
  "properties": {"ttl_seconds": {"$ref": "#/components/schemas/ttl"},
    "labels": {"type": ["object", "null"], "description": "Merged (RFC 7396): null removes a label, or all of them",
      "additionalProperties": {"type": ["string", "null"]}},
    "pinned": {"type": "boolean", "description": "Freed neither by its TTL nor by --evict=lru"}}},
"next-layer": {"type": ["integer", "null"], "description": "Value of from= for the next page: one lists 16384 kv heads at most"},
"density": {"type": "object", "additionalProperties": false, "required": ["cache", "layers", "next"],
  "properties": {"cache": {"$ref": "#/components/schemas/id"},
    "layers": {"type": "array", "items": {"type": "object", "additionalProperties": false,
      "required": ["layer", "heads"], "properties": {"layer": {"type": "integer"},
        "heads": {"type": "array", "items": {"type": "object", "additionalProperties": false,
          "required": ["kv_head", "k", "v", "rows"], "properties": {"kv_head": {"type": "integer"},
            "k": {"$ref": "#/components/schemas/share"}, "v": {"$ref": "#/components/schemas/share"},
            "rows": {"type": "integer"}}}}}}},
    "next": {"$ref": "#/components/schemas/next-layer"}}},
"bitmap": {"type": "object", "additionalProperties": false,
  "required": ["cache", "layer", "side", "kv_head", "from", "to", "head_dim", "bin_tokens", "bin_channels", "rows",
    "columns", "density", "window_from", "sink", "page_rows", "positions"],
  "properties": {"cache": {"$ref": "#/components/schemas/id"}, "layer": {"type": "integer"},
    "side": {"enum": ["k", "v"]}, "kv_head": {"type": "integer"}, "from": {"type": "integer"}, "to": {"type": "integer"},
    "head_dim": {"type": "integer"}, "bin_tokens": {"type": "integer"}, "bin_channels": {"type": "integer"},
    "rows": {"type": "integer"}, "columns": {"type": "integer"},
    "density": {"type": "array", "maxItems": 16384, "items": {"$ref": "#/components/schemas/share"},
      "description": "rows x columns, row by row: the share of elements kept in each cell"},
    "window_from": {"type": "integer", "description": "First row of the dense window"},
    "sink": {"type": "integer", "description": "Dense rows before the packed ones"},
    "page_rows": {"type": "integer"},
    "positions": {"type": "array", "items": {"type": "integer"}, "description": "Of the first row of each row of cells"}}},
"appended-all": {"type": "object", "additionalProperties": false, "required": ["cache", "revision", "lengths", "replayed"],
  "properties": {"cache": {"$ref": "#/components/schemas/id"}, "revision": {"type": "integer"},
    "lengths": {"type": "array", "items": {"type": "integer"}, "description": "Tokens of each layer"},
    "replayed": {"type": "boolean", "description": "The same request had been done before"}}},
"appended-batch": {"type": "object", "additionalProperties": false, "required": ["caches"],
  "properties": {"caches": {"type": "array", "items": {"$ref": "#/components/schemas/appended-all"}}}},
"kernels": {"type": "array", "items": {"type": "object", "additionalProperties": false,
  "required": ["op", "backend", "name", "available"], "properties": {"op": {"type": "string"},
    "backend": {"type": "string"}, "name": {"type": "string"}, "available": {"type": "boolean"},
    "reason": {"type": "string"}}}},
"backends": {"type": "object", "additionalProperties": false, "required": ["attend_kernel", "kernels"],
  "properties": {"attend_kernel": {"type": "string"}, "kernels": {"$ref": "#/components/schemas/kernels"}}},
"collected": {"type": "object", "additionalProperties": false, "required": ["freed", "memory_used_bytes"],
  "properties": {"freed": {"type": "array", "items": {"$ref": "#/components/schemas/id"}},
    "memory_used_bytes": {"type": "integer"}}},
"draining": {"type": "object", "additionalProperties": false, "required": ["draining"],
  "properties": {"draining": {"const": true}}},
"share": {"type": "number", "minimum": 0, "maximum": 1}
})";

} // namespace

Json data_schemas() { return Json::parse(schemas_text); }

} // namespace mustafar::daemon
