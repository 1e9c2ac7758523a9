#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The final check: every runner ran every case of the manifest, and only what is expected failed.

    check_ran.py FOLDER RUNNER...

FOLDER/RUNNER.txt is what a runner wrote: `ran ID` or `failed ID why` per case.
expected_failures/RUNNER.txt (may be absent) lists `ID why`: these must fail.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


def first_words(path: pathlib.Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def problems_of(ran: str, manifest: list[str], expected: list[str]) -> list[str]:
    """What is wrong with the lines of a runner."""
    good: list[str] = []
    bad: dict[str, str] = {}
    for line in ran.splitlines():
        verdict, name, *why = line.split(" ", 2)
        if verdict == "ran":
            good.append(name)
        else:
            bad[name] = " ".join(why)
    seen = [*good, *bad]
    known = set(manifest)
    problems = [f"{name}: not run" for name in manifest if name not in set(seen)]
    problems += [f"{name}: not in the manifest" for name in seen if name not in known]
    problems += [f"{name}: run twice" for name in sorted(set(good)) if seen.count(name) > 1]
    problems += [f"{name}: {why}" for name, why in bad.items() if name not in expected]
    problems += [f"{name}: expected to fail, but passed" for name in expected if name in good]
    return problems + [
        f"{name}: expected to fail, but no case" for name in expected if name not in known
    ]


def check(folder: pathlib.Path, runner: str, manifest: list[str]) -> bool:
    path = folder / f"{runner}.txt"
    expected = first_words(HERE / "expected_failures" / f"{runner}.txt")
    ran = path.read_text(encoding="utf-8") if path.exists() else ""
    problems = problems_of(ran, manifest, expected)
    lines = ran.splitlines()
    failed = sum(1 for line in lines if line.startswith("failed "))
    verdict = f"{len(problems)} problems" if problems else "complete"
    counts = f"{len(lines) - failed:6} {failed:7} {len(expected):9} {len(manifest):9}"
    print(f"{runner:12} {counts}  {verdict}")
    for problem in problems[:20]:
        print(f"  {runner}: {problem}")
    return not problems


def self_test(manifest: list[str]) -> bool:
    """The check sees what it is for."""
    lines = [f"ran {name}" for name in manifest]
    first = manifest[0]

    def sees(changed: list[str], expected: list[str]) -> bool:
        return bool(problems_of("\n".join(changed), manifest, expected))

    failed = [f"failed {first} why it did", *lines[1:]]
    seen = {
        "nothing where all ran": not sees(lines, []),
        "an id that nobody ran": sees(lines[1:], []),
        "an id run twice": sees([*lines, lines[3]], []),
        "an id that is no case": sees([*lines, "ran no/such-case"], []),
        "a failure": sees(failed, []),
        "nothing where a failure was expected": not sees(failed, [first]),
        "an expected failure that passes": sees(lines, [first]),
        "an expected failure that is no case": sees(lines, ["no/such-case"]),
        "an empty file": sees([], []),
    }
    for what, yes in seen.items():
        print("sees" if yes else "DOES NOT SEE", what)
    return all(seen.values())


def main(words: list[str]) -> int:
    manifest = first_words(HERE / "manifest.txt")
    if words == ["--self-test"]:
        return 0 if self_test(manifest) else 1
    if len(words) < 2 or not manifest:
        print(__doc__)
        return 2
    print(f"{'runner':12} {'ran':>6} {'failed':>7} {'expected':>9} {'manifest':>9}")
    good = [check(pathlib.Path(words[0]), runner, manifest) for runner in words[1:]]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
