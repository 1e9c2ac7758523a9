# SPDX-License-Identifier: Apache-2.0
"""Experiments as jobs: from the request to the result, and everything that may come between."""

from __future__ import annotations

import csv
import http.client
import io
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_client import ENDLESS, NEEDLE, SMALL, TINY, TRACES, Events, cancel, finish, get, submit, trace_file, wait
from service import BINARY, Service, floats

EXPERIMENT = Path(BINARY).with_name("mustafar-experiment")
ROW = 2 * 2 * 64


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("jobs")
    one = Service("--data-dir", str(folder / "data"), "--trace-dir", str(TRACES), "--max-jobs", "4", "--workers", "2",
                  "--write-timeout", "1.5", "--memory-quota", "512m", folder=folder)
    yield one
    assert one.stop() == 0


def test_life_of_a_job(jobs: Service) -> None:
    sent = submit(jobs, {**SMALL, "label": "first", "threads": [2, 1]})
    assert (sent["state"], sent["items"], sent["request"]["threads"]) == ("queued", 2, [1, 2])
    done = wait(jobs, sent["id"])
    assert (done["state"], done["items_done"], done["rows"], done["progress"]) == ("done", 2, 4, 1)
    assert done["error"] is None and done["created"] <= done["started"] <= done["finished"]
    first, second = (jobs.ask("GET", f"/v1/results/{one}").json for one in done["results"])
    assert (first["settings"]["threads"], second["settings"]["threads"]) == (1, 2)
    assert first["complete"] and first["synthetic"] is None and first["label"] == "first"
    for a, b in zip(first["rows"], second["rows"], strict=True):  # threads change times only
        assert a == b
    assert jobs.ask("GET", "/v1/jobs?limit=1").json["jobs"][0] == done
    assert [one["id"] for one in jobs.ask("GET", f"/v1/results?job={done['id']}").json["results"]] == done["results"][::-1]
    assert jobs.ask("DELETE", f"/v1/results/{done['results'][0]}").status == 204
    assert jobs.ask("GET", f"/v1/results/{done['results'][0]}").problem == "not-found"
    assert jobs.ask("DELETE", f"/v1/jobs/{done['id']}").status == 204
    for path in (f"/v1/jobs/{done['id']}", f"/v1/jobs/{done['id']}/events", f"/v1/results/{done['results'][1]}"):
        assert jobs.ask("GET", path).problem == "not-found"
    assert jobs.ask("DELETE", f"/v1/jobs/{done['id']}").problem == "not-found"


def test_the_result_is_what_the_program_gives(jobs: Service, tmp_path: Path) -> None:
    job = finish(jobs, {**SMALL, "recipes": ["dense", "lean", "kivi-4", "k32i4/vdi2"], "measure": "window", "sides": "k"})
    ours = jobs.ask("GET", f"/v1/results/{job['results'][0]}")
    subprocess.run(
        [EXPERIMENT, "--no-timing", "--no-html", "--trace", TRACES / f"{NEEDLE}.safetensors", "--recipes",
         "dense,lean,kivi-4,k32i4/vdi2", "--tokens", "96", "--queries", "4", "--layers", "0,3", "--threads", "1",
         "--measure", "window", "--sides", "k", "--json", tmp_path / "out.json", "--csv", tmp_path / "out.csv"],
        check=True, capture_output=True, timeout=60)
    theirs = json.loads((tmp_path / "out.json").read_text())
    for name, value in theirs.items():
        if name not in ("command", "seconds", "commit"):
            assert ours.json[name] == value, name
    table = jobs.ask("GET", f"/v1/results/{job['results'][0]}", headers={"Accept": "text/csv;q=0.9, image/*"})
    assert table.headers["Content-Type"].startswith("text/csv")
    assert table.body == (tmp_path / "out.csv").read_bytes()
    for line, row in zip(csv.DictReader(io.StringIO(table.body.decode())), ours.json["rows"], strict=True):
        assert line["recipe"] == row["recipe"] and float(line["out_error"]) == row["out_error"]
        assert set(line) == set(row) - {"layers", "samples"}
    refused = jobs.ask("GET", f"/v1/results/{job['results'][0]}", headers={"Accept": "image/png"})
    assert (refused.status, refused.problem) == (406, "not-acceptable")


def test_times_come_last(jobs: Service) -> None:
    job = submit(jobs, {**TINY, "timing": True, "lengths": [64, 32], "repeats": 3, "recipes": ["int8", "lean"]})
    rows = [data["row"] for _, event, data in Events(jobs, job["id"]).rest() if event == "row"]
    assert [row["recipe"] for row in rows] == ["int8", "lean"] * 2
    assert [row["attend_ns_per_token"] is None for row in rows] == [True, True, False, False]
    done = get(jobs, job["id"])
    kept = jobs.ask("GET", f"/v1/results/{done['results'][0]}").json["rows"]
    assert done["rows"] == 2 and [len(row["samples"]) for row in kept] == [2, 2]
    assert kept[0]["attend_ns_per_token"] == rows[2]["attend_ns_per_token"] > 0


def test_generated_data_say_so_and_are_repeatable(jobs: Service) -> None:
    geometry = {"layers": 2, "kv_heads": 2, "q_heads": 4, "head_dim": 64, "dtype": "bf16"}
    errors = []
    for seed in (7, 7, 8):
        body = {"synthetic": {"geometry": geometry, "tokens": 80, "seed": seed}, "recipes": ["lean", "int4"], "timing": False}
        job = finish(jobs, body)
        result = jobs.ask("GET", f"/v1/results/{job['results'][0]}").json
        assert result["synthetic"]["seed"] == seed and result["traces"][0]["kind"] == "synthetic"
        errors.append([row["out_error"] for row in result["rows"]])
    assert errors[0] == errors[1] != errors[2]
    lean, int4 = errors[0]
    assert 0.01 < int4 < lean < 1  # what such recipes do to real data, too


def test_recipes_of_clients_are_kept_as_they_were(jobs: Service) -> None:
    recipe = {"schema": "mustafar.recipe", "version": 1, "k": {"keep": "1/2"}, "v": {"bits": 4}}
    assert jobs.ask("PUT", "/v1/recipes/mine", recipe).status == 201
    slow = submit(jobs, ENDLESS)["id"]
    job = submit(jobs, {**TINY, "recipes": ["mine", {**recipe, "v": {"bits": 8}}, recipe, "/etc/hostname.json"][:3]})["id"]
    assert jobs.ask("PUT", "/v1/recipes/mine", {**recipe, "k": {"keep": "1/4"}}).status == 200
    cancel(jobs, slow)
    done = wait(jobs, job)
    rows = jobs.ask("GET", f"/v1/results/{done['results'][0]}").json["rows"]
    assert [row["recipe"] for row in rows] == ["mine", "json", "json#2"]
    assert rows[0]["digest"] == rows[2]["digest"] != rows[1]["digest"]
    for path in ("/etc/hostname", "./x.json", "../x.json", str(TRACES / "README.md")):  # names are never files
        refused = jobs.ask("POST", "/v1/jobs", {**TINY, "recipes": [path]})
        assert (refused.status, refused.problem) == (422, "invalid-argument"), path


@pytest.mark.parametrize(("change", "problem"), [
    ({"recipes": []}, "bad-body"), ({"recipes": ["dense"] * 33}, "bad-body"), ({"recipes": [1]}, "bad-body"),
    ({"recipes": ["no-such-recipe"]}, "invalid-argument"), ({"threads": []}, "bad-body"), ({"threads": [1025]}, "bad-body"),
    ({"threads": ["1"]}, "bad-body"), ({"traces": [NEEDLE]}, "bad-body"), ({"label": "x" * 201}, "bad-body"),
    ({"measure": "sideways"}, "bad-body"), ({"timing": 1}, "bad-body"), ({"drop_mass": 1.5}, "bad-body"),
    ({"lengths": [0]}, "bad-body"), ({"repeats": 0}, "bad-body"), ({"nonsense": 1}, "bad-body"),
    ({"layers": [1]}, "invalid-argument"), ({"tokens": 2}, "invalid-argument"), ({"seed": -1}, "bad-body"),
    ({"recipes": ["k64i4/v128i2"]}, "unsupported"),
    ({"synthetic": {"geometry": {"layers": 1, "kv_heads": 2, "q_heads": 3, "head_dim": 32}, "tokens": 4}}, "bad-body"),
    ({"synthetic": {"geometry": {"layers": 1, "kv_heads": 1, "head_dim_k": 32, "head_dim_v": 64}, "tokens": 4}}, "bad-body"),
    ({"synthetic": {"geometry": {"layers": 1048576, "kv_heads": 1048576, "head_dim": 32}, "tokens": 16777216}}, None),
    ({"synthetic": {"geometry": {"layers": 32, "kv_heads": 8, "head_dim": 128}, "tokens": 1000000}}, "quota-exceeded")])
def test_what_cannot_run_is_refused_at_once(jobs: Service, change: dict[str, Any], problem: str | None) -> None:
    before = jobs.ask("GET", "/v1/jobs?limit=1").json
    reply = jobs.ask("POST", "/v1/jobs", {**TINY, **change})
    assert reply.status in (422, 507), reply.body
    assert problem in (None, reply.problem), reply.body
    assert jobs.ask("GET", "/v1/jobs?limit=1").json == before


def test_requests_that_name_what_is_not_there(jobs: Service) -> None:
    assert jobs.ask("POST", "/v1/jobs", {**SMALL, "traces": ["none"]}).problem == "not-found"
    assert jobs.ask("POST", "/v1/jobs", {"recipes": ["dense"]}).problem == "bad-body"
    for method, path in (("GET", "/v1/jobs/job-1-0000"), ("GET", "/v1/jobs/x/events"), ("DELETE", "/v1/jobs/x"),
                         ("GET", "/v1/results/x"), ("DELETE", "/v1/results/result-1-0000"), ("GET", "/v1/traces/x"),
                         ("DELETE", "/v1/traces/x")):
        assert jobs.ask(method, path).problem == "not-found"
    assert jobs.ask("POST", "/v1/jobs/x/cancel", {}).problem == "not-found"
    for path in ("/v1/jobs?after=x", "/v1/jobs?state=lost", "/v1/jobs?limit=0", "/v1/results?after=job-1-0000",
                 "/v1/jobs/x?wait=61", "/v1/jobs/x?version=-1"):
        assert jobs.ask("GET", path).problem == "bad-parameter", path
    assert jobs.ask("GET", "/v1/results?job=none").json == {"results": [], "next": None}


def test_pages_of_jobs_and_results(jobs: Service) -> None:
    made = [finish(jobs, TINY) for _ in range(3)]
    for path, name, wanted in (("/v1/jobs", "jobs", [job["id"] for job in made]),
                               ("/v1/results", "results", [job["results"][0] for job in made])):
        found: list[str] = []
        after = ""
        while len(found) < 3:
            page = jobs.ask("GET", f"{path}?limit=1{after}").json
            found.append(page[name][0]["id"])
            after = f"&after={page['next']}"
        assert found == wanted[::-1]
    states = {job["state"] for job in jobs.ask("GET", "/v1/jobs?state=done").json["jobs"]}
    assert states == {"done"}


def test_cancel(jobs: Service) -> None:
    running, waiting = submit(jobs, {**ENDLESS, "threads": [1, 2]}), submit(jobs, TINY)
    wait(jobs, running["id"], rows=1)
    assert get(jobs, waiting["id"])["state"] == "queued"
    assert jobs.ask("DELETE", f"/v1/jobs/{running['id']}").problem == "job-state"
    ended = cancel(jobs, waiting["id"])
    assert (ended["state"], ended["rows"], ended["started"]) == ("cancelled", 0, None)
    ended = cancel(jobs, running["id"])
    assert (ended["state"], ended["items_done"], ended["rows"], len(ended["results"])) == ("cancelled", 0, 1, 1)
    result = jobs.ask("GET", f"/v1/results/{ended['results'][0]}").json
    assert result["complete"] is False and result["rows"][0]["recipe"] == "dense"
    for job in (running, waiting):
        assert jobs.ask("POST", f"/v1/jobs/{job['id']}/cancel", {}).problem == "job-state"
        assert jobs.ask("DELETE", f"/v1/jobs/{job['id']}").status == 204
    running, waiting = submit(jobs, ENDLESS), submit(jobs, TINY)
    assert jobs.ask("DELETE", f"/v1/jobs/{waiting['id']}").status == 204  # one that waits is cancelled with it
    assert jobs.ask("GET", f"/v1/jobs/{waiting['id']}").status == 404
    cancel(jobs, running["id"])


def test_the_queue_is_bounded(jobs: Service) -> None:
    running = submit(jobs, ENDLESS)["id"]
    wait(jobs, running, state="running")
    waiting = [submit(jobs, TINY)["id"] for _ in range(4)]
    full = jobs.ask("POST", "/v1/jobs", TINY)
    assert (full.status, full.problem, full.json["limit_jobs"]) == (503, "queue-full", 4)
    assert full.headers["Retry-After"] == "1"
    assert jobs.metric('mustafard_jobs{state="queued"}') == 4 and jobs.metric('mustafard_jobs{state="running"}') == 1
    cancel(jobs, running)
    ended = [wait(jobs, job) for job in waiting]
    assert [job["state"] for job in ended] == ["done"] * 4
    assert [job["started"] for job in ended] == sorted(job["started"] for job in ended)  # in order, one at a time


def test_idempotency_key(jobs: Service) -> None:
    first = submit(jobs, TINY, Idempotency_Key='"abc-1"')
    again = submit(jobs, dict(reversed(TINY.items())), Idempotency_Key="abc-1")
    assert first["id"] == again["id"]
    other = jobs.ask("POST", "/v1/jobs", {**TINY, "label": "other"}, {"Idempotency-Key": '"abc-1"'})
    assert (other.status, other.problem, other.json["job"]) == (422, "idempotency-mismatch", first["id"])
    assert submit(jobs, TINY, Idempotency_Key='"abc-2"')["id"] != first["id"]
    for key in ('""', "a b", "x" * 256, '"a\\"b"'):
        assert jobs.ask("POST", "/v1/jobs", TINY, {"Idempotency-Key": key}).problem == "bad-parameter", key
    wait(jobs, first["id"])


def test_traces_of_clients(jobs: Service) -> None:
    data = trace_file()
    made = jobs.ask("PUT", "/v1/traces/mine", data)
    assert made.status == 201 and made.headers["Location"] == "/v1/traces/mine"
    assert made.json | {"modified": ""} == {
        "name": "mine", "bytes": len(data), "builtin": False, "modified": "", "model": "made up", "kind": "test", "tokens": 8,
        "queries": 2, "layers": 1, "q_heads": 2, "kv_heads": 1, "head_dim": 32, "dtype": "f16", "state": "good"}
    assert jobs.ask("PUT", "/v1/traces/mine", data).status == 200
    assert jobs.ask("GET", "/v1/traces/mine").json == [
        one for one in jobs.ask("GET", "/v1/traces").json["traces"] if one["name"] == "mine"][0]
    job = finish(jobs, {"traces": ["mine", NEEDLE], "recipes": ["int4"], "timing": False, "tokens": 64, "queries": 2})
    rows = jobs.ask("GET", f"/v1/results/{job['results'][0]}").json["rows"]
    assert [row["trace"] for row in rows] == ["mine", NEEDLE]
    slow = submit(jobs, ENDLESS)["id"]
    uses = submit(jobs, {"traces": ["mine"], "recipes": ["int4"], "timing": False})["id"]
    assert jobs.ask("PUT", "/v1/traces/mine", data).problem == "job-state"
    assert jobs.ask("DELETE", "/v1/traces/mine").problem == "job-state"
    cancel(jobs, slow)
    wait(jobs, uses)
    assert jobs.ask("DELETE", "/v1/traces/mine").status == 204
    assert jobs.ask("DELETE", "/v1/traces/mine").problem == "not-found"
    assert jobs.ask("DELETE", f"/v1/traces/{NEEDLE}").problem == "forbidden"
    assert jobs.ask("PUT", f"/v1/traces/{NEEDLE}", data).problem == "forbidden"


def test_bad_traces_are_refused_and_not_kept(jobs: Service) -> None:
    good = trace_file()
    names = {one["name"] for one in jobs.ask("GET", "/v1/traces").json["traces"]}
    bad = {"truncated": good[:-1], "longer": good + b"\0", "short": good[:7], "no-header": b"\xff" * 64,
           "header-too-long": (1 << 40).to_bytes(8, "little") + good[8:],
           "tokens-lie": trace_file(change={"T": "9"}), "queries-lie": trace_file(change={"Tq": "9"}),
           "layers-lie": trace_file(change={"layers": "2"}), "layers-huge": trace_file(change={"layers": "4097"}),
           "heads-lie": trace_file(change={"q_heads": "3"}), "scale": trace_file(change={"scale": "nan"}),
           "not-finite": trace_file(bad_value=True), "zero": trace_file(change={"kv_heads": "0"})}
    for name, data in bad.items():
        reply = jobs.ask("PUT", f"/v1/traces/{name}", data)
        assert (reply.status, reply.problem) == (422, "bad-trace"), name
        assert name in reply.json["detail"] and str(jobs.folder) not in reply.json["detail"]
        assert jobs.ask("GET", f"/v1/traces/{name}").status == 404
    assert {one["name"] for one in jobs.ask("GET", "/v1/traces").json["traces"]} == names
    assert {path.name for path in (jobs.folder / "data" / "traces").iterdir()} == {".lock"}
    (jobs.folder / "data" / "traces" / "rotten.safetensors").write_bytes(good[:-1])  # not by us
    listed = jobs.ask("GET", "/v1/traces/rotten").json
    assert listed["state"] == "corrupt" and "truncated" in listed["reason"]
    assert jobs.ask("POST", "/v1/jobs", {**TINY, "synthetic": None} | {"traces": ["rotten"]}).problem == "bad-body"
    assert jobs.ask("POST", "/v1/jobs", {"traces": ["rotten"], "recipes": ["dense"]}).problem == "bad-trace"
    assert jobs.ask("DELETE", "/v1/traces/rotten").status == 204


def test_a_disturbed_job_says_so(jobs: Service) -> None:
    assert finish(jobs, TINY)["contended"] is False
    jobs.make_cache("busy")
    jobs.append("busy", floats(32 * ROW), 32, 0)
    job = submit(jobs, ENDLESS)["id"]
    wait(jobs, job, rows=1)
    assert jobs.attend("busy", floats(256), 1).status == 200
    ended = cancel(jobs, job)
    assert ended["contended"] is True
    assert jobs.ask("GET", f"/v1/results/{ended['results'][0]}").json["contended"] is True
    jobs.ask("DELETE", "/v1/caches/busy")


def test_a_job_that_needs_too_much_fails_and_gives_it_back(tmp_path: Path) -> None:
    with Service("--memory-quota", "2m", "--job-memory", "2m", folder=tmp_path) as small:
        refused = small.ask("POST", "/v1/jobs", {**TINY, "synthetic": {**TINY["synthetic"], "tokens": 1000000}})
        assert (refused.status, refused.problem, refused.json["limit_bytes"]) == (507, "quota-exceeded", 2 << 20)
        job = wait(small, submit(small, ENDLESS)["id"])
        assert job["state"] == "failed" and job["error"]["type"] == "urn:mustafar:problem:quota-exceeded"
        assert job["rows"] == 1 and small.metric("mustafard_memory_used_bytes") == 0
        assert finish(small, TINY)["rows"] == 1
        assert small.ask("PUT", "/v1/traces/a", trace_file()).problem == "not-found"  # no data folder
        assert small.ask("GET", "/version").json["history"] is False


def test_activity(jobs: Service) -> None:
    before = jobs.ask("GET", "/v1/activity").json
    assert jobs.ask("GET", "/v1/jobs/none", headers={"X-Request-Id": "look-at-me"}).status == 404
    jobs.ask("GET", "/no/such/path")
    after = jobs.ask("GET", "/v1/activity").json
    assert after["requests_total"] == before["requests_total"] + 3
    assert after["rejected"]["not-found"] == before["rejected"].get("not-found", 0) + 1
    newest = after["recent_errors"][1]
    assert (newest["id"], newest["route"], newest["status"], newest["problem"]) == ("look-at-me", "get_job", 404, "not-found")


def test_a_giant_job_that_is_checked_holds_up_no_other(jobs: Service) -> None:
    """What the library says of 32 recipes for four million heads takes a while; who asks for less is answered meanwhile."""
    geometry = {"layers": 4096, "kv_heads": 1024, "head_dim": 32}
    giant = {"synthetic": {"geometry": geometry, "tokens": 1}, "timing": False,
             "recipes": [f"k{keep}/v32" for keep in range(1, 33)]}  # fmt: skip
    ended: list[str] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", jobs.port, timeout=300)
        connection.request("POST", "/v1/jobs", json.dumps(giant), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 507  # more than --job-memory
        ended.append("giant")

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    small = submit(jobs, TINY)
    ended.append("small")
    thread.join()
    assert ended == ["small", "giant"]
    assert wait(jobs, small["id"])["state"] == "done"
