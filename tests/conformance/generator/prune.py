# SPDX-License-Identifier: Apache-2.0
"""Which elements survive: docs/format.md 2.1; DESIGN, "Prune methods".

token_topk: Mustafar, arXiv 2505.22913, section 2 (per-token magnitude; rule "paper" is what the
authors' code keeps). channels: ThinK, arXiv 2407.21018, 3.2 (here by energy of the keys alone).
Scores are binary32: the magnitude, times the channel's weight, times the token's.
"""

import numpy as np
import numpy.typing as npt

from bits import Floats
from recipe import SideSpec

Bools = npt.NDArray[np.bool_]


def scores_of(rows: Floats, channel: "Floats | None", token: "Floats | None") -> Floats:
    scores = np.abs(rows)
    if channel is not None:
        scores = scores * channel[None, :]
    if token is not None:
        scores = scores * token[:, None]
    return scores.astype(np.float32)


def best(scores: "Floats | npt.NDArray[np.float64]", count: int) -> "list[int]":
    """Indices of the `count` highest, equal ones in index order."""
    return sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))[:count]


def token_topk(scores: Floats, keep: int, paper: bool) -> Bools:
    kept = np.zeros(scores.shape, bool)
    for row, own in zip(kept, scores):
        order = best(own, keep)
        row[order] = True
        if paper:  # everything as large as the k-th
            row |= own >= own[order[-1]]
    return kept


def n_m(scores: Floats, n: int, m: int) -> Bools:
    kept = np.zeros(scores.shape, bool)
    for row, own in zip(kept, scores):
        for first in range(0, len(own), m):
            row[[first + c for c in best(own[first : first + m], n)]] = True
    return kept


def channels(scores: Floats, keep: int) -> Bools:
    energy = np.zeros(scores.shape[1])
    for row in scores.astype(np.float64):  # in row order: the sum's rounding is part of the rule
        energy = energy + row * row
    kept = np.zeros(scores.shape, bool)
    kept[:, best(energy, keep)] = True
    return kept


def channel_topk(scores: Floats, keep: int) -> Bools:
    rows = len(scores)
    count = rows - rows * (32 - keep) // 32
    kept = np.zeros(scores.shape, bool)
    for c in range(scores.shape[1]):
        kept[best(scores[:, c], count), c] = True
    return kept


def survivors(
    spec: SideSpec, rows: Floats, channel: "Floats | None" = None, token: "Floats | None" = None
) -> Bools:
    scores = scores_of(rows, channel, token)
    if spec.method == "token_topk":
        return token_topk(scores, spec.keep, spec.paper)
    if spec.method == "n_m":
        return n_m(scores, spec.keep, spec.of)
    if spec.method == "channels":
        return channels(scores, spec.keep)
    if spec.method == "channel_topk":
        return channel_topk(scores, spec.keep)
    if spec.method == "threshold":
        return scores >= np.float32(spec.threshold)
    return np.ones(scores.shape, bool)


def bitmap(kept: Bools) -> bytes:
    """Channel c is bit c mod 8 of byte c / 8."""
    return bytes(np.packbits(kept, bitorder="little"))
