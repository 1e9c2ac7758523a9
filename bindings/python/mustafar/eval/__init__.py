# SPDX-License-Identifier: Apache-2.0
"""What a recipe does to a model's answers: a Llama decoder that runs on compressed caches.

    python -m mustafar.eval --help

The parts can be used alone:

    model = Llama(Path("tests/data/models/tiny-llama-d64"))
    attention = CacheAttention([cache], [len(tokens)])
    logits = model.logits(model.forward(tokens, positions, attention))
"""

from __future__ import annotations

from .attention import CacheAttention, DenseAttention
from .errors import EvaluationError
from .model import Attention, Config, Llama

__all__ = [
    "Attention",
    "CacheAttention",
    "Config",
    "DenseAttention",
    "EvaluationError",
    "Llama",
]
