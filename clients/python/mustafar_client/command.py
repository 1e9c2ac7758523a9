# SPDX-License-Identifier: Apache-2.0
"""mustafar-client: ask a mustafard from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

from ._schemas import Job, JobRequest, PlanRequest
from .client import Client
from .errors import ClientError
from .output import Progress, print_table, row_line, size_text

ABOUT = """Asks a mustafard, the HTTP service of libmustafar, from the command line: what would recipes save
(plan), what do they cost on real or generated data (run), and what is there (results, caches).

  mustafar-client plan --layers 32 --kv-heads 8 --head-dim 128 --recipes lean mustafar-70 --lengths 4096 32768
      bytes of a cache, before there is any data
  mustafar-client run --synthetic 1,8,128,8192 --recipes dense lean --label "first try"
      an experiment on generated data of 1 layer, 8 kv heads, head_dim 128, 8192 tokens; follows it to its end
  mustafar-client run --traces tiny-llama-d128-text-2048 --recipes dense lean leaner
      the same on recorded keys and values that the server holds
  mustafar-client results --csv result-1-ab12 > result.csv

A recipe is a name (lean), a shorthand (k64i4/v128i2: 64 of the channels of K at 4 bits, 128 of V at 2) or a file with
JSON (@mine.json). Status: 0 done; 1 refused, failed or no answer; 2 wrong command line; 130 Ctrl-C."""

SYNTHETIC = ("layers", "kv_heads", "head_dim", "tokens")


def read_token(file: Path) -> str:
    """The first token of a file: alone on a line, or as `SCOPE TOKEN`, as mustafard's own file has them."""
    for line in file.read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            return words[-1]
    raise ClientError(f"{file}: there is no token in it")


def recipe(text: str) -> str | dict[str, Any]:
    if not text.startswith("@"):
        return text
    try:
        return cast("dict[str, Any]", json.loads(Path(text[1:]).read_text()))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text[1:]}: {error}") from error


def synthetic(text: str) -> dict[str, int]:
    parts = text.split(",")
    if len(parts) != len(SYNTHETIC) or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: LAYERS,KV_HEADS,HEAD_DIM,TOKENS is expected")
    return dict(zip(SYNTHETIC, map(int, parts), strict=True))


def plan(client: Client, options: argparse.Namespace) -> int:
    geometry = {"layers": options.layers, "kv_heads": options.kv_heads, "head_dim": options.head_dim}
    body = {"geometry": geometry, "recipes": options.recipes, "lengths": options.lengths}
    plans = client.post_plans(cast("PlanRequest", body))
    if options.json:
        print(json.dumps(plans, indent=1))
        return 0
    rows = [["recipe", "tokens", "bytes", "of dense", "smaller from"]]
    for one in plans["plans"]:
        even = one["break_even_tokens"]
        for row in one["rows"]:
            total, dense = row["bytes"]["total"], row["dense_bytes"]
            share = f"{100 * total / dense:.1f} %" if dense else "-"
            name = one["recipe"] or one["digest"][:12]
            rows.append(
                [name, str(row["tokens"]), size_text(total), share, "never" if even is None else f"{even} tokens"]
            )
    print_table(rows)
    return 0


def run(client: Client, options: argparse.Namespace) -> int:
    body: dict[str, Any] = {"recipes": options.recipes, "timing": not options.no_timing}
    if options.traces:
        body["traces"] = options.traces
    else:
        shape = dict(options.synthetic)
        tokens = shape.pop("tokens")
        body["synthetic"] = {"geometry": shape, "tokens": tokens}
    for name in ("label", "lengths", "threads", "repeats", "seed", "budget_seconds"):
        if getattr(options, name) is not None:
            body[name] = getattr(options, name)
    job = client.post_jobs(cast("JobRequest", body), idempotency_key=options.key)
    print(f"{job['id']} {job['state']}", file=sys.stderr)
    if options.detach:
        print(job["id"])
        return 0
    return follow(client, options, job["id"])


def follow(client: Client, options: argparse.Namespace, id: str) -> int:
    """Shows a job until it has ended. Ctrl-C ends the watching, not the job."""
    progress = Progress(sys.stderr)
    job: Job | None = None
    waiting: dict[tuple[str, ...], str] = {}  # rows that come once more, with their times
    try:
        timing = client.get_job(id)["request"].get("timing", True)
        for event in client.watch_job(id):
            if event.kind == "progress":
                progress.show(event.data)
            elif event.kind == "row":
                row = event.data["row"]
                key = tuple(str(row.get(name)) for name in ("trace", "recipe", "threads"))
                waiting[key] = row_line(row)
                if not timing or row.get("attend_ns_per_token") is not None:
                    progress.line(waiting.pop(key))
            elif event.kind == "done":
                job = cast("Job", event.data)
        for line in waiting.values():
            progress.line(line)
    except KeyboardInterrupt:
        progress.end()
        at = where(options)
        print(f"{id} goes on. To see the rest:  mustafar-client{at} watch {id}", file=sys.stderr)
        print(f"             To end it:       mustafar-client{at} cancel {id}", file=sys.stderr)
        return 130
    finally:
        progress.end()
    if job is None:
        raise ClientError(f"{id}: no end was told")
    return report(job, where(options))


def report(job: Job, at: str) -> int:
    text = f"{job['id']} {job['state']}, {job['rows']} rows"
    if job["error"] is not None:
        text += f": {job['error']['detail']}"
    if job["contended"]:
        text += "; other requests computed meanwhile: times are not to be trusted"
    print(text, file=sys.stderr)
    for result in job["results"]:
        print(f"  mustafar-client{at} results --csv {result}", file=sys.stderr)
    return 0 if job["state"] == "done" else 1


def watch(client: Client, options: argparse.Namespace) -> int:
    return follow(client, options, options.job)


def cancel(client: Client, options: argparse.Namespace) -> int:
    client.cancel_job(options.job)
    print(f"{options.job} ends; what it has found stays", file=sys.stderr)
    return 0


def results(client: Client, options: argparse.Namespace) -> int:
    if options.result is not None:
        if options.csv:
            sys.stdout.write(client.get_result_csv(options.result))
        else:
            print(json.dumps(client.get_result(options.result), indent=1))
        return 0
    rows = [["result", "job", "created", "threads", "rows", "recipes", "label"]]
    found = client.list_results(job=options.job, limit=options.limit)["results"]
    for one in found:
        recipes = " ".join(one["recipes"])
        rows.append(
            [one["id"], one["job"], one["created"], str(one["threads"]), str(one["rows"]), recipes, one["label"]]
        )
    print_table(rows)
    return 0


def jobs(client: Client, options: argparse.Namespace) -> int:
    rows = [["job", "state", "progress", "rows", "created", "label"]]
    for one in client.list_jobs(limit=options.limit)["jobs"]:
        rows.append([one["id"], one["state"], f"{100 * one['progress']:.0f} %", str(one["rows"]), one["created"],
                     one["label"]])  # fmt: skip
    print_table(rows)
    return 0


def caches(client: Client, options: argparse.Namespace) -> int:
    rows = [["cache", "recipe", "layers", "tokens", "bytes", "of dense"]]
    after = None
    while True:
        page = client.list_caches(after=after)
        for one in page["caches"]:
            share = f"{100 * one['bytes'] / one['dense_bytes']:.1f} %" if one["dense_bytes"] else "-"
            name = one["recipe"]["name"] or one["recipe"]["digest"][:12]
            tokens = max(one["lengths"])
            rows.append([one["id"], name, str(one["geometry"]["layers"]), str(tokens), size_text(one["bytes"]), share])
        after = page["next"]
        if after is None:
            break
    print_table(rows)
    return 0


def where(options: argparse.Namespace) -> str:
    """The options that a further command needs to find the same server."""
    pairs = (("url", options.url), ("unix", options.unix), ("token-file", options.token_file))
    return "".join(f" --{name} {value}" for name, value in pairs if value is not None)


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="mustafar-client", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument("--url", metavar="URL", help="http://127.0.0.1:8642 unless given")
    out.add_argument("--unix", metavar="PATH", help="a UNIX socket instead")
    out.add_argument("--token-file", metavar="FILE", type=Path, help="holds the token that the server asks for")
    out.add_argument("--timeout", metavar="S", type=float, default=60.0, help="seconds for one answer (60)")
    commands = out.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = commands.add_parser("plan", help="bytes of a cache, before there is data")
    for name in ("--layers", "--kv-heads", "--head-dim"):
        one.add_argument(name, type=int, required=True, metavar="N")
    one.add_argument("--recipes", type=recipe, nargs="+", required=True, metavar="RECIPE")
    one.add_argument("--lengths", type=int, nargs="+", required=True, metavar="TOKENS")
    one.add_argument("--json", action="store_true", help="all parts of the bytes")
    one.set_defaults(call=plan)

    one = commands.add_parser("run", help="an experiment: what recipes cost")
    data = one.add_mutually_exclusive_group(required=True)
    data.add_argument("--traces", nargs="+", metavar="NAME", help="recorded data that the server holds")
    data.add_argument("--synthetic", type=synthetic, metavar="LAYERS,KV_HEADS,HEAD_DIM,TOKENS", help="generated data")
    one.add_argument("--recipes", type=recipe, nargs="+", required=True, metavar="RECIPE")
    one.add_argument("--label", metavar="TEXT", help="to find it again")
    one.add_argument("--lengths", type=int, nargs="+", metavar="TOKENS", help="where attention is timed")
    one.add_argument("--threads", type=int, nargs="+", metavar="N", help="one run each (1)")
    one.add_argument("--repeats", type=int, metavar="N", help="rounds of timing")
    one.add_argument("--seed", type=int, metavar="N")
    one.add_argument("--budget", dest="budget_seconds", type=float, metavar="S", help="seconds it may take")
    one.add_argument("--no-timing", action="store_true", help="bytes and errors only")
    one.add_argument("--key", metavar="TEXT", help="the same key starts the same job once")
    one.add_argument("--detach", action="store_true", help="print the id of the job and leave")
    one.set_defaults(call=run)

    one = commands.add_parser("watch", help="follow a job to its end")
    one.add_argument("job", metavar="JOB")
    one.set_defaults(call=watch)
    one = commands.add_parser("cancel", help="end a job; what it has found stays")
    one.add_argument("job", metavar="JOB")
    one.set_defaults(call=cancel)
    one = commands.add_parser("jobs", help="jobs, newest first")
    one.add_argument("--limit", type=int, default=20, metavar="N")
    one.set_defaults(call=jobs)

    one = commands.add_parser("results", help="results, newest first; or one as JSON or CSV")
    one.add_argument("result", nargs="?", metavar="RESULT")
    one.add_argument("--csv", action="store_true", help="a table, one line per recipe and trace")
    one.add_argument("--job", metavar="JOB", help="only those of this job")
    one.add_argument("--limit", type=int, default=20, metavar="N")
    one.set_defaults(call=results)
    one = commands.add_parser("caches", help="caches that the server holds")
    one.set_defaults(call=caches)
    return out


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if getattr(options, "csv", False) and options.result is None:
        parser().error("--csv: of which result?  mustafar-client results lists them")
    try:
        token = None if options.token_file is None else read_token(options.token_file)
        url = options.url or "http://127.0.0.1:8642"
        with Client(url, unix=options.unix, token=token, timeout=options.timeout) as client:
            return int(options.call(client, options))
    except (ClientError, OSError) as error:
        print(f"mustafar-client: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
