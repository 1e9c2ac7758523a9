#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what the public headers say into api.json, for bindings to compare themselves with.

    python3 capi/abi/api.py --check      compare api.json with the headers; status 1: they differ
    python3 capi/abi/api.py --update     write api.json anew (`./dev abi --update` does so, too)

Functions and struct fields are read from the text of the headers; values, sizes and offsets come
from a C program that includes those headers, so that a compiler has the last word on them.
"""

import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parent / "include"
API = HERE / "api.json"
# mustafar.h names the others in the order they are to be read; dlpack.h is optional and comes last.
ORDER = ["types", "info", "context", "recipe", "cache", "attend", "snapshot", "dlpack"]


def read_headers(folder: Path) -> dict[str, str]:
    """Header name -> text without comments, continuation lines and attributes."""
    names = {path.stem for path in folder.glob("mustafar/*.h")} - {"mustafar"}
    if names != set(ORDER):
        sys.exit(
            f"headers {sorted(names ^ set(ORDER))} are not in ORDER of api.py, or gone"
        )
    found = {}
    for name in ORDER:
        text = (folder / "mustafar" / f"{name}.h").read_text(encoding="ascii")
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S).replace("\\\n", " ")
        found[f"{name}.h"] = re.sub(r"\bMUSTAFAR_MUST_USE\b", " ", text)
    return found


def split_declaration(text: str) -> tuple[str, str]:
    """`const float *x` -> ("const float *", "x"), `int64_t shape[4]` -> ("int64_t[4]", "shape")."""
    text = " ".join(text.split())
    pointer = re.fullmatch(r"(.*?)\(\s*\*\s*(\w+)\s*\)\s*(\(.*\))", text)
    if pointer:
        result, name, arguments = (part.strip() for part in pointer.groups())
        return f"{result} (*){arguments}", name
    match = re.fullmatch(r"(.*?)(\w+)\s*((?:\[[^\]]*\])*)", text)
    if not match:
        sys.exit(f"cannot read the declaration `{text}`")
    kind, name, array = match.groups()
    return kind.strip() + array.replace(" ", ""), name


def split_arguments(text: str) -> list[dict[str, str]]:
    if text.strip() in ("", "void"):
        return []
    pairs = (split_declaration(part) for part in text.split(","))
    return [{"name": name, "type": kind} for kind, name in pairs]


def functions_of(headers: dict[str, str], pattern: str) -> list[dict[str, object]]:
    found = []
    for header, text in headers.items():
        for result, name, arguments in re.findall(pattern, text, re.S):
            found.append(
                {
                    "name": name,
                    "header": header,
                    "returns": " ".join(result.split()),
                    "arguments": split_arguments(arguments),
                }
            )
    return found


def callbacks_of(headers: dict[str, str]) -> list[dict[str, object]]:
    pattern = r"\btypedef\s+([\w ]+?)\(\s*\*\s*(mustafar_\w+)\s*\)\s*\(([^)]*)\)\s*;"
    return functions_of(headers, pattern)


def structs_of(headers: dict[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Struct name -> (field, type) in order."""
    found = {}
    for text in headers.values():
        for name, body in re.findall(
            r"\btypedef struct (mustafar_\w+) \{(.*?)\n\} \1;", text, re.S
        ):
            fields = [split_declaration(part) for part in body.split(";") if part.strip()]
            found[name] = [(field, kind) for kind, field in fields]
    return found


def constants_of(headers: dict[str, str]) -> list[str]:
    """Names of enumerators and of macros that have one value, in order."""
    found = []
    for text in headers.values():
        pattern = r"^[ \t]*#[ \t]*define[ \t]+(MUSTAFAR_\w+)[ \t]+([^\n]+)$|\benum\b[^{;]*\{(.*?)\}"
        for macro, value, body in re.findall(pattern, text, re.M | re.S):
            if body:
                found += [part.split("=")[0].strip() for part in body.split(",") if part.strip()]
            elif not re.search(r"__attribute__|\{", value):
                found.append(macro)
    return found


def defaults_of(headers: dict[str, str]) -> dict[str, str]:
    """Struct name -> macro that initializes it."""
    names = re.findall(r"\bdefine\s+(MUSTAFAR_(\w+)_INIT)\b", "\n".join(headers.values()))
    return {f"mustafar_{stem.lower()}": macro for macro, stem in names}


def scalar(kind: str) -> bool:
    return "*" not in kind and "[" not in kind


def measure(
    compiler: str,
    constants: list[str],
    structs: dict[str, list[tuple[str, str]]],
    defaults: dict[str, str],
) -> dict[str, str]:
    """`kind name` -> number or text, as a program compiled with `compiler` prints it."""
    lines = [
        "#include <stdio.h>",
        "#include <mustafar/mustafar.h>",
        "#include <mustafar/dlpack.h>",
        '#define TEXT(x) _Generic((x), char *: "text", default: "number")',
        "int main(void) {",
    ]
    for name in constants:
        lines.append(
            f'    if (TEXT({name})[0] == \'t\') printf("constant {name}\\t\\"%s\\"\\n", '
            f'_Generic(({name}), char *: ({name}), default: ""));'
        )
        lines.append(
            f'    else printf("constant {name}\\t%lld\\n", '
            f"(long long)_Generic(({name}), char *: 0, default: ({name})));"
        )
    for name, fields in structs.items():
        lines.append(f'    printf("size {name}\\t%zu\\n", sizeof({name}));')
        for field, _ in fields:
            lines.append(
                f'    printf("offset {name}.{field}\\t%zu\\n", offsetof({name}, {field}));'
            )
            lines.append(
                f'    printf("bytes {name}.{field}\\t%zu\\n", sizeof((({name} *)0)->{field}));'
            )
    for name, macro in defaults.items():
        lines.append(f"    {name} {name}_value = {macro};")
        lines += [
            f'    printf("default {name}.{field}\\t%.9g\\n", (double){name}_value.{field});'
            for field, kind in structs[name]
            if scalar(kind)
        ]
    lines.append("    return 0;\n}")
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "api.c", Path(folder) / "api"
        source.write_text("\n".join(lines) + "\n", encoding="ascii")
        for command in (
            [compiler, "-std=c11", "-w", f"-I{INCLUDE}", str(source), "-o", str(program)],
            [str(program)],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{command[0]} failed:\n{done.stderr.strip()}")
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


def describe(compiler: str) -> dict[str, object]:
    headers = read_headers(INCLUDE)
    constants, structs, defaults = constants_of(headers), structs_of(headers), defaults_of(headers)
    measured = measure(compiler, constants, structs, defaults)
    layouts = {}
    for name, fields in structs.items():
        layouts[name] = {
            "size": int(measured[f"size {name}"]),
            "fields": [
                {
                    "name": field,
                    "type": kind,
                    "offset": int(measured[f"offset {name}.{field}"]),
                    "bytes": int(measured[f"bytes {name}.{field}"]),
                }
                for field, kind in fields
            ],
        }
    return {
        "about": "Written by capi/abi/api.py from capi/include; layouts are those of LP64.",
        "functions": functions_of(
            headers, r"\bMUSTAFAR_API\b\s+([\w\s*]*?[\s*])(mustafar_\w+)\s*\(([^;]*?)\)\s*;"
        ),
        "inline": functions_of(
            headers, r"\bstatic inline\b\s+([\w\s*]*?[\s*])(mustafar_\w+)\s*\(([^;{]*?)\)\s*\{"
        ),
        "callbacks": callbacks_of(headers),
        "constants": {name: json.loads(measured[f"constant {name}"]) for name in constants},
        "structs": layouts,
        "defaults": {
            name: {
                field: json.loads(measured[f"default {name}.{field}"])
                for field, kind in structs[name]
                if scalar(kind)
            }
            for name in defaults
        },
    }


def text_of(api: dict[str, object]) -> str:
    """JSON with one function, constant or field per line, so that a diff reads well."""
    parts = []
    for key, value in api.items():
        if isinstance(value, list):
            body = ",\n".join("    " + json.dumps(item) for item in value)
            parts.append(f'  "{key}": [\n{body}\n  ]')
        elif key == "structs":
            structs = []
            for name, layout in value.items():
                fields = ",\n".join("      " + json.dumps(field) for field in layout["fields"])
                structs.append(
                    f'    "{name}": {{"size": {layout["size"]}, "fields": [\n{fields}\n    ]}}'
                )
            parts.append(f'  "{key}": {{\n' + ",\n".join(structs) + "\n  }")
        elif isinstance(value, dict):
            body = ",\n".join(
                f"    {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items()
            )
            parts.append(f'  "{key}": {{\n{body}\n  }}')
        else:
            parts.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--compiler", default=os.environ.get("CC", "cc"), help="C compiler (default: $CC, cc)"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="compare api.json with the headers")
    what.add_argument("--update", action="store_true", help="write api.json anew")
    options = parser.parse_args()

    api = describe(options.compiler)
    text = text_of(api)
    if json.loads(text) != api:
        sys.exit("api.py does not write what it read; a bug of its own")
    if options.update:
        API.write_text(text, encoding="ascii")
        print(f"wrote {API.name}")
        return 0
    old = API.read_text(encoding="ascii") if API.exists() else ""
    lines = list(
        difflib.unified_diff(
            old.splitlines(), text.splitlines(), "api.json", "headers", lineterm="", n=0
        )
    )
    if lines:
        print("\n".join(line for line in lines if not line.startswith("@@")))
        print(
            "\nthe headers moved: ./dev abi --update writes api.json; then look at each binding"
        )
        return 1
    print(
        f"api.json is what the headers say: {len(api['functions'])} functions, "
        f"{len(api['constants'])} constants, {len(api['structs'])} structs"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
