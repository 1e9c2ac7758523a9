# SPDX-License-Identifier: Apache-2.0
"""The decoder of mustafar.eval against the same weights in float64, and what it refuses to read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
from eval_files import CONFIG, DATA, write_model

from mustafar.eval import Config, DenseAttention, EvaluationError, Llama
from mustafar.eval.safetensors import Tensors

FOLDER = DATA / "models/tiny-llama-d64"


def weights(folder: Path) -> dict[str, numpy.ndarray]:
    """The bf16 tensors in float64, by another way of reading than the package's."""
    raw = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    found = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            halves = numpy.frombuffer(raw[begin:end], "<u2")
            wide = numpy.zeros((len(halves), 2), "<u2")
            wide[:, 1] = halves
            found[name] = wide.view("<f4").reshape(entry["shape"]).astype(numpy.float64)
    return found


def norm(x: numpy.ndarray, weight: numpy.ndarray) -> numpy.ndarray:
    return x / numpy.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5) * weight


def rope(x: numpy.ndarray) -> numpy.ndarray:
    """Each pair (c, c + d/2) as a complex number, turned by its angle; x [tokens, heads, d]."""
    tokens, _, d = x.shape
    angles = numpy.arange(tokens)[:, None] / 10000.0 ** (2 * numpy.arange(d // 2) / d)
    turned = (x[..., : d // 2] + 1j * x[..., d // 2 :]) * numpy.exp(1j * angles)[:, None]
    return numpy.concatenate([turned.real, turned.imag], axis=-1)


def logits_f64(folder: Path, tokens: numpy.ndarray) -> numpy.ndarray:
    """Llama as its definition reads, one head after the other."""
    w, config = weights(folder), json.loads((folder / "config.json").read_text())
    heads, kv_heads, d = (
        config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim")
    )
    x = w["model.embed_tokens.weight"][tokens]
    hidden_from = numpy.triu(numpy.ones((len(x), len(x)), bool), 1)
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        y = norm(x, w[at + "input_layernorm.weight"])
        q, k, v = (
            (y @ w[f"{at}self_attn.{n}_proj.weight"].T).reshape(len(x), -1, d) for n in "qkv"
        )
        q, k = rope(q), rope(k)
        mixed = numpy.empty((len(x), heads, d))
        for h in range(heads):
            kv = h // (heads // kv_heads)
            scores = q[:, h] @ k[:, kv].T / numpy.sqrt(d)
            scores[hidden_from] = -numpy.inf
            share = numpy.exp(scores - scores.max(axis=1, keepdims=True))
            mixed[:, h] = share / share.sum(axis=1, keepdims=True) @ v[:, kv]
        x = x + mixed.reshape(len(x), -1) @ w[at + "self_attn.o_proj.weight"].T
        y = norm(x, w[at + "post_attention_layernorm.weight"])
        gate = y @ w[at + "mlp.gate_proj.weight"].T
        up = y @ w[at + "mlp.up_proj.weight"].T
        x = x + (gate / (1 + numpy.exp(-gate)) * up) @ w[at + "mlp.down_proj.weight"].T
    return norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T


def logits(model: Llama, sequences: list[numpy.ndarray]) -> numpy.ndarray:
    attention = DenseAttention(model.config, [len(tokens) for tokens in sequences])
    positions = numpy.concatenate([numpy.arange(len(tokens)) for tokens in sequences])
    return model.logits(model.forward(numpy.concatenate(sequences), positions, attention))


def text(begin: int, count: int) -> numpy.ndarray:
    raw = (DATA / "tasks/heldout_text.txt").read_bytes()[begin : begin + count]
    return numpy.frombuffer(raw, numpy.uint8).astype(numpy.int64)


@pytest.mark.parametrize("name", ["tiny-llama-d64", "tiny-llama-d128"])
def test_dense_logits_equal_those_in_float64(name: str) -> None:
    folder = DATA / "models" / name
    model = Llama(folder)
    sequences = [
        text(0, 300),
        text(7000, 41),
        text(9000, 1),
    ]  # more than a block of queries; ragged
    found = logits(model, sequences)
    expected = numpy.concatenate([logits_f64(folder, tokens) for tokens in sequences])
    assert numpy.abs(found - expected).max() < 1e-4
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_logits_equal_those_of_transformers() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokens = text(3000, 400)
    theirs = transformers.LlamaForCausalLM.from_pretrained(FOLDER, torch_dtype=torch.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(tokens)[None]).logits[0].numpy()
    assert numpy.abs(logits(Llama(FOLDER), [tokens]) - expected).max() < 1e-3


def test_another_model_of_the_layout_is_read(tmp_path: Path) -> None:
    model = Llama(write_model(tmp_path / "mine"))
    assert (model.name, model.config.layers, model.config.geometry.kv_heads) == ("mine", 2, 2)
    assert logits(model, [text(0, 9)]).shape == (9, 256)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "gpt2"}, "model_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"vocab_size": 32000}, "vocab_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_key_value_heads": 3}, "num_attention_heads"),
        ({"head_dim": 16}, "q_proj"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rope_type"),
    ],
)
def test_a_config_that_does_not_fit_is_named(tmp_path: Path, change: dict, named: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(EvaluationError, match=named) as caught:
        Llama(folder)
    assert caught.value.status == 3


def test_a_file_that_lacks_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(EvaluationError, match=r"model\.safetensors: cannot be read: No such file"):
        Llama(folder)
    with pytest.raises(EvaluationError, match="cannot be read"):
        Config.read(tmp_path / "config.json")


def test_every_truncation_of_the_weights_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")
    for size in [0, 1, 7, 8, 9, head - 1, head, head + 1, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(EvaluationError, match="safetensors"):
            Llama(folder)
    path.write_bytes(whole + b"x")
    with pytest.raises(EvaluationError, match="its tensors take"):
        Llama(folder)


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        '{"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}',
        '{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        '{"a": {"dtype": "F32", "shape": [1]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}',
        '["a"]',
        "{",
    ],
)
def test_a_header_that_breaks_a_rule_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(8))
    with pytest.raises(EvaluationError, match="not a whole safetensors file"):
        Tensors(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-4:] = numpy.array([numpy.nan], "<f4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(EvaluationError, match="NaN"):
        Llama(folder)
