#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One decode step of attention: ours beside ggml's CPU flash attention, interleaved in one process.

Both get the same K, V and queries; every variant has its own working set, larger than the caches of
the processor, and every round times each variant once over all of its layers. `./dev bench --peers`
installs ggml-python for this and nothing else; no test needs it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import mustafar
import numpy
from ggml_cache import TYPES, GgmlCaches

RECIPES = ["dense", "k64/v64", "k40/v40", "k40i8/v40i8", "k40i4/v40i4", "lean", "leaner"]
HEAD_DIM, Q_HEADS, KV_HEADS = 128, 32, 8


class OurCaches:
    def __init__(
        self,
        recipe: str,
        k: numpy.ndarray,
        v: numpy.ndarray,
        q: numpy.ndarray,
        megabytes: int,
        threads: int,
    ) -> None:
        tokens = k.shape[1]
        self._context = mustafar.Context(threads=threads)
        geometry = mustafar.Geometry(1, Q_HEADS, KV_HEADS, HEAD_DIM)
        first = mustafar.Cache(self._context, geometry, recipe, max_tokens=tokens)
        halves = [numpy.ascontiguousarray(x.transpose(1, 0, 2), numpy.float16) for x in (k, v)]
        first.append(0, *halves)
        self.bytes = first.bytes().total / tokens / KV_HEADS
        copies = max(1, megabytes * 2**20 // first.bytes().total)
        self._caches = [first]
        for _ in range(copies - 1):  # a fork would share the pages
            other = mustafar.Cache(self._context, geometry, recipe, max_tokens=tokens)
            other.append(0, *halves)
            self._caches.append(other)
        self._q = q[None, None]
        self._out = numpy.empty((1, 1, Q_HEADS, HEAD_DIM), numpy.float32)

    def attend(self, layer: int) -> None:
        mustafar.attend([self._caches[layer]], 0, self._q, out=self._out)

    def output(self, layer: int) -> numpy.ndarray:
        self.attend(layer)
        return self._out[0, 0].copy()

    def __len__(self) -> int:
        return len(self._caches)


def exact(k: numpy.ndarray, v: numpy.ndarray, q: numpy.ndarray) -> numpy.ndarray:
    """float64 attention on the halves that both libraries were given."""
    group = Q_HEADS // KV_HEADS
    out = numpy.empty((Q_HEADS, HEAD_DIM))
    for head in range(Q_HEADS):
        keys, values = (x[head // group].astype(numpy.float16).astype(float) for x in (k, v))
        scores = keys @ q[head].astype(float) / HEAD_DIM**0.5
        weights = numpy.exp(scores - scores.max())
        out[head] = weights @ values / weights.sum()
    return out


def measure(
    variants: dict[str, OurCaches | GgmlCaches], tokens: int, rounds: int
) -> dict[str, list[float]]:
    """ns per token and kv head, one figure per round."""
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(rounds + 1):  # the first one warms up
        for name, caches in variants.items():
            start = time.perf_counter_ns()
            for layer in range(len(caches)):
                caches.attend(layer)
            ns = (time.perf_counter_ns() - start) / len(caches) / tokens / KV_HEADS
            if round_:
                spent[name].append(ns)
        if sys.stderr.isatty():
            print(f"\r\033[Kround {round_} of {rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="of ours, comma-separated")
    parser.add_argument("--working-set", type=int, default=288, help="MB per variant")
    parser.add_argument("--json", help="write the rows there")
    arguments = parser.parse_args()
    random = numpy.random.default_rng(1)
    shape = (KV_HEADS, arguments.tokens, HEAD_DIM)
    k, v = (random.standard_normal(shape, numpy.float32) for _ in range(2))
    q = random.standard_normal((Q_HEADS, HEAD_DIM), numpy.float32)
    variants: dict[str, OurCaches | GgmlCaches] = {}
    for recipe in arguments.recipes.split(","):
        variants[recipe] = OurCaches(recipe, k, v, q, arguments.working_set, arguments.threads)
    for kind in TYPES:
        dense = (
            2
            * KV_HEADS
            * arguments.tokens
            * HEAD_DIM
            * {"F16": 2.0, "Q8_0": 1.06, "Q4_0": 0.56}[kind]
        )
        layers = max(1, int(arguments.working_set * 2**20 // dense))
        variants[f"ggml {kind}"] = GgmlCaches(kind, k, v, q, layers, arguments.threads)
    truth = exact(k, v, q)
    spent = measure(variants, arguments.tokens, arguments.rounds)
    report(arguments, variants, truth, spent)
    return 0


def report(
    arguments: argparse.Namespace, variants: dict, truth: numpy.ndarray, spent: dict
) -> None:
    peers = [f"ggml {kind}" for kind in TYPES]
    print(
        f"{arguments.tokens} tokens, {arguments.threads} threads, {Q_HEADS} q heads, {KV_HEADS} kv "
        f"heads, d = {HEAD_DIM}; ns per token and kv head; x: how many times faster, per round"
    )
    print(
        f"{'variant':<14}{'ns':>8}{'p10..p90':>16}"
        + "".join(f"{'x ' + p:>13}" for p in peers)
        + f"{'error':>10}"
    )
    rows = []
    for name, caches in variants.items():
        ns = spent[name]
        low, high = numpy.quantile(ns, [0.1, 0.9])
        ratios = [
            statistics.median(a / b for a, b in zip(spent[p], ns, strict=True)) for p in peers
        ]
        error = numpy.linalg.norm(caches.output(0) - truth) / numpy.linalg.norm(truth)
        print(
            f"{name:<14}{statistics.median(ns):>8.1f}{low:>8.1f}..{high:<6.1f}"
            + "".join(f"{r:>13.2f}" for r in ratios)
            + f"{error:>10.1e}"
        )
        rows.append(
            {
                "variant": name,
                "tokens": arguments.tokens,
                "threads": arguments.threads,
                "ns_per_token_head": statistics.median(ns),
                "p10": low,
                "p90": high,
                "rel_error": error,
                **{f"ratio_to_{p}": r for p, r in zip(peers, ratios, strict=True)},
            }
        )
    print(
        "error: against float64 on the same halves; of pruned recipes, what pruning costs on "
        "random data."
    )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
