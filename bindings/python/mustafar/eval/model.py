# SPDX-License-Identifier: Apache-2.0
"""A Llama decoder of a folder in Hugging Face layout: config.json and model.safetensors.

Everything is float32 and batched over tokens of many sequences, laid end to end: row i of an array
is one token. Only attention needs to know which sequence a token belongs to, so it is given from
outside: `attention.py` has the dense one and the one that runs on caches.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy
import numpy.typing

from .._arrays import Float32
from ..types import Geometry
from .errors import DATA, EvaluationError
from .safetensors import Tensors

__all__ = ["Attention", "Config", "Ints", "Llama"]

Ints = numpy.typing.NDArray[numpy.int64]


class Attention(Protocol):
    """Attention of one layer: q [n, q_heads, d], k and v [n, kv_heads, d] -> [n, q_heads, d]."""

    def keep(self, layer: int, k: Float32, v: Float32) -> None:
        """Stores the keys (after RoPE) and values of new tokens."""

    def attend(self, layer: int, q: Float32) -> Float32:
        """What the same tokens read, themselves included."""


@dataclass(frozen=True)
class Config:
    """What config.json says."""

    layers: int
    hidden: int
    mlp: int
    q_heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    epsilon: float
    theta: float
    tied: bool

    @property
    def geometry(self) -> Geometry:
        """Of the caches."""
        return Geometry(self.layers, self.q_heads, self.kv_heads, self.head_dim)

    @classmethod
    def read(cls, path: Path) -> Config:
        """From a file; what this decoder does not do is refused by name."""
        try:
            content = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise EvaluationError(
                DATA, f"{path}: cannot be read: {error.strerror or error}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise EvaluationError(DATA, f"{path}: not JSON: {error}") from error
        if not isinstance(content, dict):
            raise EvaluationError(DATA, f"{path}: not a JSON object")
        _refuse(path, content)
        count = _Counts(path, content)
        hidden, q_heads = count("hidden_size"), count("num_attention_heads")
        kv_heads = count("num_key_value_heads", q_heads)
        if q_heads % kv_heads:
            raise EvaluationError(
                DATA, f"{path}: num_attention_heads = {q_heads} is no multiple of {kv_heads}"
            )
        rope = content.get("rope_parameters") or {}
        return cls(
            layers=count("num_hidden_layers"),
            hidden=hidden,
            mlp=count("intermediate_size"),
            q_heads=q_heads,
            kv_heads=kv_heads,
            head_dim=count("head_dim", hidden // q_heads),
            vocab=count("vocab_size"),
            context=count("max_position_embeddings"),
            epsilon=float(content.get("rms_norm_eps", 1e-6)),
            theta=float(rope.get("rope_theta", content.get("rope_theta", 10000.0))),
            tied=bool(content.get("tie_word_embeddings", False)),
        )


class _Counts:
    """Positive integers of config.json."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path, self._content = path, content

    def __call__(self, key: str, default: int | None = None) -> int:
        value = self._content.get(key)
        if value is None:
            value = default
        if type(value) is not int or not 0 < value < 2**24:
            raise EvaluationError(
                DATA, f"{self._path}: {key} = {value!r}; a positive integer is needed"
            )
        return value


def _refuse(path: Path, content: dict[str, Any]) -> None:
    """Settings under which this decoder would compute something else than the model."""
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    wrong = [
        (content.get("model_type") != "llama", "model_type", "only llama is decoded here"),
        (content.get("hidden_act", "silu") != "silu", "hidden_act", "only silu is"),
        (bool(content.get("attention_bias")), "attention_bias", "only false is"),
        (bool(content.get("mlp_bias")), "mlp_bias", "only false is"),
        (content.get("vocab_size") != 256, "vocab_size", "a token is a byte here: 256"),
    ]
    for found, key, text in wrong:
        if found:
            raise EvaluationError(DATA, f"{path}: {key} = {content.get(key)!r}; {text}")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise EvaluationError(DATA, f"{path}: rope_type = {kind!r}; only default is computed here")


@dataclass(frozen=True)
class _Block:
    """Weights of one layer, [in, out], those that read the same input side by side."""

    before_attention: Float32  # [hidden]
    qkv: Float32  # [hidden, (q_heads + 2 kv_heads) * d]
    out: Float32  # [q_heads * d, hidden]
    before_mlp: Float32  # [hidden]
    gate_up: Float32  # [hidden, 2 mlp]
    down: Float32  # [mlp, hidden]


class Llama:
    """The decoder: RMSNorm, RoPE (rotate-half), grouped queries, SwiGLU, no biases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.config = Config.read(folder / "config.json")
        weights = folder / "model.safetensors"
        if not weights.exists() and (folder / "model.safetensors.index.json").exists():
            raise EvaluationError(
                DATA, f"{folder}: weights in several files are not read; join them"
            )
        tensors = Tensors(weights)
        self.digest = _digest(folder / "config.json", weights)
        c = self.config
        self._embedding = tensors.read("model.embed_tokens.weight", (c.vocab, c.hidden))
        self._blocks = [_block(tensors, c, layer) for layer in range(c.layers)]
        self._norm = tensors.read("model.norm.weight", (c.hidden,))
        head = self._embedding
        if not c.tied:
            head = tensors.read("lm_head.weight", (c.vocab, c.hidden))
        self._head = numpy.ascontiguousarray(head.T)
        half = numpy.arange(0, c.head_dim, 2, dtype=numpy.float64) / c.head_dim
        angles = numpy.outer(numpy.arange(c.context), c.theta**-half)  # [context, d / 2]
        self._cos = numpy.cos(angles).astype(numpy.float32)[:, None, :]
        self._sin = numpy.sin(angles).astype(numpy.float32)[:, None, :]

    def forward(self, tokens: Ints, positions: Ints, attention: Attention) -> Float32:
        """Hidden states [n, hidden] behind the last norm; `positions` count within sequences."""
        x: Float32 = self._embedding[tokens]
        for layer, block in enumerate(self._blocks):
            q, k, v = self._qkv(block, x, positions)
            attention.keep(layer, k, v)
            mixed = attention.attend(layer, q)
            x += mixed.reshape(len(x), -1) @ block.out
            x += self._mlp(block, x)
        return _rms(x, self._norm, self.config.epsilon)

    def prefill(self, tokens: Ints, positions: Ints, attention: Attention) -> None:
        """Keys and values of all layers, and nothing that only logits would need."""
        x: Float32 = self._embedding[tokens]
        for layer, block in enumerate(self._blocks):
            q, k, v = self._qkv(block, x, positions)
            attention.keep(layer, k, v)
            if layer + 1 == len(self._blocks):
                return
            mixed = attention.attend(layer, q)
            x += mixed.reshape(len(x), -1) @ block.out
            x += self._mlp(block, x)

    def logits(self, hidden: Float32) -> Float32:
        """[n, vocab] of hidden states."""
        return hidden @ self._head

    def _qkv(self, block: _Block, x: Float32, positions: Ints) -> tuple[Float32, Float32, Float32]:
        c = self.config
        rows = _rms(x, block.before_attention, c.epsilon) @ block.qkv
        heads = rows.reshape(len(x), c.q_heads + 2 * c.kv_heads, c.head_dim)
        turned = self._rotate(heads[:, : c.q_heads + c.kv_heads], positions)
        return turned[:, : c.q_heads], turned[:, c.q_heads :], heads[:, c.q_heads + c.kv_heads :]

    def _rotate(self, x: Float32, positions: Ints) -> Float32:
        """RoPE: channels (c, c + d/2) are turned by position * theta^(-2c/d)."""
        cos, sin = self._cos[positions], self._sin[positions]
        half = x.shape[-1] // 2
        low, high = x[..., :half], x[..., half:]
        out = numpy.empty(x.shape, numpy.float32)
        out[..., :half] = low * cos - high * sin
        out[..., half:] = high * cos + low * sin
        return out

    def _mlp(self, block: _Block, x: Float32) -> Float32:
        both = _rms(x, block.before_mlp, self.config.epsilon) @ block.gate_up
        gate, up = both[:, : self.config.mlp], both[:, self.config.mlp :]
        with numpy.errstate(over="ignore"):  # exp of a large number is inf, and the quotient 0
            up *= gate / (1 + numpy.exp(-gate))
        return up @ block.down


def _rms(x: Float32, weight: Float32, epsilon: float) -> Float32:
    square = numpy.einsum("nc,nc->n", x, x) / numpy.float32(x.shape[1])
    scale = 1 / numpy.sqrt(square + numpy.float32(epsilon))
    normed: Float32 = x * scale[:, None]
    normed *= weight
    return normed


def _block(tensors: Tensors, c: Config, layer: int) -> _Block:
    def matrix(name: str, out: int, into: int) -> Float32:
        return tensors.read(f"model.layers.{layer}.{name}.weight", (out, into)).T

    def vector(name: str) -> Float32:
        return tensors.read(f"model.layers.{layer}.{name}.weight", (c.hidden,))

    q, kv = c.q_heads * c.head_dim, c.kv_heads * c.head_dim
    sides = [
        matrix(f"self_attn.{n}_proj", w, c.hidden) for n, w in zip("qkv", (q, kv, kv), strict=True)
    ]
    halves = [matrix(f"mlp.{name}_proj", c.mlp, c.hidden) for name in ("gate", "up")]
    return _Block(
        before_attention=vector("input_layernorm"),
        qkv=numpy.hstack(sides),
        out=numpy.ascontiguousarray(matrix("self_attn.o_proj", c.hidden, q)),
        before_mlp=vector("post_attention_layernorm"),
        gate_up=numpy.hstack(halves),
        down=numpy.ascontiguousarray(matrix("mlp.down_proj", c.hidden, c.mlp)),
    )


def _digest(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()
