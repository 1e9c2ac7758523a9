# SPDX-License-Identifier: Apache-2.0
"""A tiny model and tiny tasks in the layout of the real ones, for the tests of mustafar.eval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
from conftest import SOURCE

DATA = SOURCE / "tests/data"
CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "head_dim": 32,
    "vocab_size": 256,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
}


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    hidden, mlp, d = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    found = {
        "model.embed_tokens.weight": (256, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (256, hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        found |= {
            f"{at}.input_layernorm.weight": (hidden,),
            f"{at}.post_attention_layernorm.weight": (hidden,),
            f"{at}.self_attn.q_proj.weight": (q, hidden),
            f"{at}.self_attn.k_proj.weight": (kv, hidden),
            f"{at}.self_attn.v_proj.weight": (kv, hidden),
            f"{at}.self_attn.o_proj.weight": (hidden, q),
            f"{at}.mlp.gate_proj.weight": (mlp, hidden),
            f"{at}.mlp.up_proj.weight": (mlp, hidden),
            f"{at}.mlp.down_proj.weight": (hidden, mlp),
        }
    return found


def write_tensors(path: Path, tensors: dict[str, numpy.ndarray]) -> None:
    names = {"float32": "F32", "float16": "F16", "uint16": "BF16"}
    header, at = {}, 0
    for name, array in tensors.items():
        end = at + array.nbytes
        header[name] = {
            "dtype": names[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header).encode()
    parts = [len(text).to_bytes(8, "little"), text, *(a.tobytes() for a in tensors.values())]
    path.write_bytes(b"".join(parts))


def write_model(folder: Path, seed: int = 3) -> Path:
    random = numpy.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tensors = {
        name: (random.standard_normal(shape) * (0.3 if len(shape) > 1 else 1)).astype("f4")
        for name, shape in shapes(CONFIG).items()
    }
    write_tensors(folder / "model.safetensors", tensors)
    return folder


def write_tasks(folder: Path, count: int = 6) -> Path:
    random = numpy.random.default_rng(5)
    folder.mkdir(parents=True)
    for kind in ("needle", "copy"):
        lines = []
        for i in range(count):
            length = (96, 160)[i % 2]
            text = "".join(chr(c) for c in random.integers(32, 127, length))
            item = {"id": f"{kind}-{i}", "kind": kind, "length": length}
            item |= {"prompt": text[:-4], "answer": text[-4:]}
            if kind == "needle":
                item |= {"depth": i / count, "needles": 1 + i % 2, "value_at": 3}
            else:
                item |= {"segment": 4, "segment_kind": "random"}
            lines.append(json.dumps(item))
        (folder / f"{kind}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "heldout_text.txt").write_bytes(bytes(random.integers(32, 127, 900).tolist()))
    return folder
