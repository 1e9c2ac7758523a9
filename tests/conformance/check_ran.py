#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The final check: every runner ran every case of the manifest, and only what is expected failed.

    check_ran.py FOLDER RUNNER...

FOLDER/RUNNER.txt is what a runner wrote: `ran ID`, `failed ID why` or `cannot ID why` per case.
expected_failures/RUNNER.txt (may be absent) lists `ID why`: these must fail.
cannot/RUNNER.txt (may be absent) lists `PATTERN why`: the runner cannot say these, and says so.
"""

import fnmatch
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


def first_words(path: pathlib.Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def problems_of(
    ran: str, manifest: list[str], expected: list[str], unsaid: list[str] | None = None
) -> list[str]:
    """What is wrong with the lines of a runner; `unsaid` are patterns of what it cannot say."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for line in ran.splitlines():
        verdict, name, *why = line.split(" ", 2)
        seen.setdefault(name, []).append((verdict, " ".join(why)))
    known = set(manifest)
    problems = [f"{name}: not run" for name in manifest if name not in seen]
    problems += [f"{name}: not in the manifest" for name in seen if name not in known]
    problems += [f"{name}: expected to fail, but no case" for name in expected if name not in known]
    used: set[str] = set()
    for name, lines in seen.items():
        if len(lines) > 1:
            problems.append(f"{name}: run twice")
        verdict, why = lines[0]
        patterns = {one for one in unsaid or [] if fnmatch.fnmatchcase(name, one)}
        used |= patterns
        if verdict == "cannot" and not patterns:
            problems.append(f"{name}: left out, and no reason is listed: {why}")
        elif verdict != "cannot" and patterns:
            problems.append(f"{name}: listed as {min(patterns)}, but it could be run")
        elif verdict == "failed" and name not in expected:
            problems.append(f"{name}: {why}")
        elif verdict == "ran" and name in expected:
            problems.append(f"{name}: expected to fail, but passed")
    return problems + [f"{one}: listed, but no case" for one in unsaid or [] if one not in used]


def check(folder: pathlib.Path, runner: str, manifest: list[str]) -> bool:
    path = folder / f"{runner}.txt"
    expected = first_words(HERE / "expected_failures" / f"{runner}.txt")
    unsaid = first_words(HERE / "cannot" / f"{runner}.txt")
    ran = path.read_text(encoding="utf-8") if path.exists() else ""
    problems = problems_of(ran, manifest, expected, unsaid)
    verdicts = [line.split(" ", 1)[0] for line in ran.splitlines()]
    counts = [verdicts.count(one) for one in ("ran", "failed", "cannot")]
    verdict = f"{len(problems)} problems" if problems else "complete"
    numbers = "".join(f"{one:8}" for one in (*counts, len(manifest)))
    print(f"{runner:12} {numbers}  {verdict}")
    for problem in problems[:20]:
        print(f"  {runner}: {problem}")
    return not problems


def self_test(manifest: list[str]) -> bool:
    """The check sees what it is for."""
    lines = [f"ran {name}" for name in manifest]
    first = manifest[0]

    def sees(changed: list[str], expected: list[str], *unsaid: str) -> bool:
        return bool(problems_of("\n".join(changed), manifest, expected, list(unsaid)))

    failed = [f"failed {first} why it did", *lines[1:]]
    unsaid = [f"cannot {first} for want of words", *lines[1:]]
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
        "nothing where one cannot be said and is listed": not sees(unsaid, [], first[:-1] + "*"),
        "one that cannot be said and is not listed": sees(unsaid, []),
        "a listed one that could be run": sees(lines, [], first),
        "a listed one that failed": sees(failed, [first], first),
        "a listed one that nobody looked at": sees(lines[1:], [], first),
        "a pattern without a case": sees(lines, [], "no/such-*"),
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
    print(f"{'runner':12} " + "".join(f"{one:>8}" for one in ("ran", "failed", "cannot", "cases")))
    good = [check(pathlib.Path(words[0]), runner, manifest) for runner in words[1:]]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
