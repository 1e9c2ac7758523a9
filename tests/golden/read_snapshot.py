#!/usr/bin/env python3
"""Reads a snapshot from docs/format.md alone and prints its rows, or checks all golden files of a folder.
It trusts its input and skips the checksums (XXH3 is not in the standard library): a reader, no validator."""
import hashlib, json, math, os, struct, sys

def layers_at(text, count):                                      # "0,2-3,-1": section 1.2
    for item in text.split(","):
        a, b = (lambda cut: (item[:cut], item[cut + 1:]) if cut > 0 else (item, item))(item.find("-", 1))
        yield from range(int(a) % count, int(b) % count + 1)

def overlay(base, patch):
    drop = ["keep", "sparsity", "rule", "multiple", "n", "m", "threshold"] if "method" in patch else []
    if not drop and ("keep" in patch or "sparsity" in patch) and base.get("method") == "none": drop = ["method"]
    if "keep" in patch: drop = drop + ["sparsity", "rule"]
    if "sparsity" in patch: drop = drop + ["keep"]
    return {**{key: value for key, value in base.items() if key not in drop}, **patch}

def side_spec(recipe, layer, head, side, d, layers, heads):     # -> encoding, k, bits, group, centred
    if any(layer == p % layers for p in recipe["protect"]): return 1, d, 16, 0, False
    s, here = recipe[side], [e for e in recipe.get("layers", []) if layer in layers_at(e["at"], layers)]
    for entry in here: s = overlay(s, entry.get(side, {}))
    for entry in [h for e in here for h in e.get("heads", []) if head in layers_at(h["at"], heads)]:
        s = overlay(s, entry.get(side, {}))
    method, k, paper = s.get("method", "token_topk"), d, s.get("rule") == "paper"
    if method in ("token_topk", "channels"):
        keep = s.get("keep")
        if paper: k = d - min(d, max(1, math.floor(s["sparsity"] * d))) + 1
        elif keep is None: k = d - min(d - 1, math.floor(s["sparsity"] * d + 1e-9))
        elif isinstance(keep, int): k = keep
        else: k = d if keep == "d" else max(1, d * int(keep.split("/")[0]) // int(keep.split("/")[1]))
        k = k if paper else min(d, -(-k // s.get("multiple", 1)) * s.get("multiple", 1))
    if method == "n_m": k = d // s["m"] * s["n"]
    ragged = method in ("channel_topk", "threshold", "mask") or (paper and k < d)
    tag = 4 if s["axis"] == "channel" else 3 if s["group"] else 2 if ragged else 1
    return tag, k, s["bits"], s["group"], s.get("centre", "none") != "none"

def read(data):
    assert data[:8] == b"MUSTAFAR" and struct.unpack_from("<2I", data, 8) == (1, 0x01020304)
    at, out = 16, []
    def section(tag):
        nonlocal at
        name, _, length, _ = struct.unpack_from("<4sIQQ", data, at)
        assert name == tag, (name, tag)
        at += 24 + length
        return data[at - length:at]
    L, QH, H, *dims, dtype, most, flags = struct.unpack("<8I", section(b"GEOM"))
    text, model = section(b"RECI").decode(), section(b"MODL").decode()
    recipe, evicted = json.loads(text), 0
    half = (lambda b: struct.unpack("<e", b)[0]) if dtype == 2 else (lambda b: struct.unpack("<f", b"\0\0" + b)[0])
    for layer in range(L):
        committed, tentative, *types = struct.unpack("<2I" + 2 * H * "BBH", section(b"LAYR"))
        out.append(f"layer {layer} committed {committed} tentative {tentative}")
        for head in range(H):
            p, i = section(b"HEAD"), 24
            def take(count):
                nonlocal i
                i += count
                return p[i - count:i]
            body, dense, has, pages, gone = struct.unpack("<4IQ", p[:24])
            rows, evicted = body + dense, evicted + gone
            where = struct.unpack(f"<{rows}i", take(4 * rows)) if has & 1 else range(rows)
            specs = [side_spec(recipe, layer, head, "kv"[s], dims[s], L, H) for s in (0, 1)]
            due = [n for tag, k, bits, *_ in specs for n in (tag, bits, 0 if tag == 2 else k)]
            assert types[6 * head:6 * head + 6] == due, (layer, head, types, due)
            mu = [struct.unpack(f"<{dims[0]}f", take(4 * dims[0])) if has & 2 else [0.0] * dims[0], [0.0] * dims[1]]
            for s in (0, 1): take(dims[s] // 8 if has & 4 << s else 0)
            lines = [[], []]
            def put(s, bitmap, values):
                lines[s].append("kv"[s] + " " + bitmap.hex() + " " + "".join(struct.pack(">f", x).hex() for x in values))
            def kept(bitmap): return [c for c in range(8 * len(bitmap)) if bitmap[c // 8] >> c % 8 & 1]
            for _ in range(pages):
                n = bin(struct.unpack("<I", take(4))[0]).count("1")
                for s in (0, 1):
                    (tag, k, bits, group, _), d = specs[s], dims[s]
                    maps = [take(d // 8) if tag == 2 or k < d else b"\xff" * (d // 8) for _ in range(n)]
                    codes = [take((len(kept(m)) * bits + 7) // 8) for m in maps]
                    size = 0 if bits == 16 else 4 * (d // group if tag == 3 else d if tag == 4 else 1)
                    meta = [take(size)] * n if tag == 4 else [take(size) for _ in range(n)]
                    for m, code, pairs in zip(maps, codes, meta):
                        row = list(mu[s])
                        for j, c in enumerate(kept(m)):
                            if bits == 16: row[c] += half(code[2 * j:2 * j + 2])
                            else:
                                scale, zero = struct.unpack_from("<2e", pairs, 4 * (j // group if tag == 3 else j if tag == 4 else 0))
                                row[c] += zero + (code[j * bits // 8] >> j * bits % 8 & (1 << bits) - 1) * scale
                        put(s, m, row)
            values = [[[half(take(2)) for _ in range(dims[s])] for _ in range(dense)] for s in (0, 1)]
            marks = take(dense) if has & 16 else bytes(dense)
            for s in (0, 1):
                for row, mark in zip(values[s], marks):
                    m = take(dims[s] // 8) if mark >> s & 1 else b"\xff" * (dims[s] // 8)
                    put(s, m, [x if c in kept(m) else mu[s][c] for c, x in enumerate(row)])
            sink = min(recipe["window"]["sink"], dense)          # the file has the body first: row order differs
            assert i == len(p)
            out.append(" ".join(map(str, ["head", head, "rows", rows, "body", body, "at", *where])))
            for s in (0, 1): out += lines[s][body:body + sink] + lines[s][:body] + lines[s][body + sink:]
    assert struct.unpack("<Q", section(b"DONE"))[0] == 4 + L + L * H and at == len(data)
    head = [f"geometry {L} {QH} {H} {dims[0]} {dims[1]} {dtype}", f"options {most} {flags}", f"recipe {text}"]
    return "\n".join(head + [f"model {model}", f"evicted {evicted}"] + out) + "\n"

def check(folder):
    load = lambda name: open(os.path.join(folder, name), "rb").read()
    bad = [name for digest, name in (line.split() for line in load("SHA256SUMS").decode().splitlines())
           if hashlib.sha256(load(name)).hexdigest() != digest]
    good = [line.split()[0] for line in load("manifest.txt").decode().splitlines() if line.split()[1] == "OK"]
    bad += [name for name in good if read(load(name)).encode() != load(name[:-5] + ".txt")]
    print(f"{len(good)} snapshots read", *(f"FAILED {name}" for name in bad), sep="\n")
    return 1 if bad or not good else 0

if __name__ == "__main__":
    if os.path.isdir(sys.argv[1]): sys.exit(check(sys.argv[1]))
    print(read(open(sys.argv[1], "rb").read()), end="")
