# SPDX-License-Identifier: Apache-2.0
"""/metrics, held against the rules of Prometheus: by ourselves, and by promtool where it is here."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from service import Service, floats

PROMTOOL = os.environ.get("MUSTAFAR_PROMTOOL", "")
SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')


@pytest.fixture(scope="module")
def page(service: Service) -> str:
    """After some of everything, refusals included."""
    service.make_cache("metrics")
    service.append("metrics", floats(40 * 2 * 2 * 64), 40, 0)
    service.attend("metrics", floats(4 * 64), 1)
    service.ask("PUT", "/v1/snapshots/metrics", {"cache": "metrics"})
    for path in ("/v1/caches/none", "/no/such/path", "/v1/caches?limit=0"):
        service.ask("GET", path)
    service.ask("POST", "/v1/plans", b"{", {"Content-Type": "text/plain"})
    reply = service.ask("GET", "/metrics")
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode()


def families(page: str) -> dict[str, tuple[str, list[tuple[str, str, float]]]]:
    """name: (type, samples), in the order of the page: HELP, TYPE, then all samples of it."""
    found: dict[str, tuple[str, list[tuple[str, str, float]]]] = {}
    lines = page.splitlines()
    assert page.endswith("\n")
    name = ""
    for i, line in enumerate(lines):
        if line.startswith("# HELP "):
            name, text = line.split(" ", 3)[2:]
            assert name not in found and text.endswith("."), line
            kind = lines[i + 1].split(" ")
            assert kind[:3] == ["#", "TYPE", name] and kind[3] in ("counter", "gauge", "histogram")
            found[name] = kind[3], []
        elif not line.startswith("# TYPE "):
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            stem = sample[1]
            if found[name][0] == "histogram":
                stem = re.sub(r"_(bucket|sum|count)$", "", stem)
            assert stem == name, f"{line}: not below its HELP"
            found[name][1].append((sample[1], sample[2] or "", float(sample[3])))
    return found


def test_names_types_and_units(page: str) -> None:
    for name, (kind, samples) in families(page).items():
        assert name.startswith(("mustafard_", "process_")) and ":" not in name
        assert (kind == "counter") == name.endswith("_total"), name
        assert samples, f"{name} has no sample"
        if "seconds" in name or "bytes" in name:
            assert name.endswith(("_seconds", "_bytes", "_total")), name
        places = [(sample, labels) for sample, labels, _ in samples]
        assert len(places) == len(set(places)), f"{name}: a series twice"
        for _, labels, value in samples:
            assert "metrics" not in re.findall(r'"([^"]*)"', labels), "no names of clients in labels"
            assert kind != "counter" or value >= 0


def test_histograms_add_up(page: str) -> None:
    seen = 0
    for name, (kind, samples) in families(page).items():
        if kind != "histogram":
            continue
        series: dict[str, list[tuple[float, float]]] = {}
        counts = {labels: value for sample, labels, value in samples if sample.endswith("_count")}
        for sample, labels, value in samples:
            if sample.endswith("_bucket"):
                bound = re.search(r'le="([^"]*)"', labels)
                assert bound, labels
                rest = re.sub(r',?le="[^"]*"', "", labels)
                series.setdefault(rest, []).append((float(bound[1]), value))
        for rest, buckets in series.items():
            bounds, values = [one for one, _ in buckets], [one for _, one in buckets]
            assert bounds == sorted(bounds) and bounds[-1] == float("inf")
            assert values == sorted(values) and values[-1] == counts[rest], (name, rest)
            seen += 1
    assert seen > 0


def test_counters_count(service: Service, page: str) -> None:
    def requests() -> float:
        text = service.ask("GET", "/metrics").body.decode()
        return sum(value for _, _, value in families(text)["mustafard_http_requests_total"][1])

    before = requests()
    for _ in range(10):
        service.ask("GET", "/healthz")
    assert requests() == before + 11


@pytest.mark.skipif(not os.access(PROMTOOL, os.X_OK), reason="promtool is not here (./dev test unpacks it)")
def test_promtool_has_nothing_to_say(page: str) -> None:
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    spoiled = page.replace("# HELP mustafard_caches ", "# HELP mustafard_cachez ")
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=spoiled, capture_output=True, text=True, check=False)
    assert done.returncode != 0  # and it does look
