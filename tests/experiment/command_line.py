# SPDX-License-Identifier: Apache-2.0
"""mustafar-experiment as its user meets it: results, messages, exit statuses. Standard library only.

usage: command_line.py PROGRAM [unittest arguments]"""
import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import trace_file  # noqa: E402

PROGRAM = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "mustafar-experiment"
ROW_KEYS = """recipe trace tokens bytes_per_token row_bytes_k row_bytes_v ratio_to_dense_f16 k_error v_error
out_error out_error_max out_error_worst_layer kl pack_ns_per_token attend_ns_per_token p10 p90 break_even_f16
break_even_int8 break_even_int4 window_bytes layers samples""".split()


class Experiment(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.at = Path(cls.folder.name)
        (cls.at / "t.safetensors").write_bytes(trace_file.trace())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_program(self, *arguments, status=0, env=None):
        done = subprocess.run([PROGRAM, *map(str, arguments)], cwd=self.at, capture_output=True, text=True,
                              timeout=120, env={**os.environ, **(env or {})})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def measure(self, *arguments):
        done = self.run_program("--trace", "t.safetensors", "--no-html", "--json", "-", *arguments)
        return json.loads(done.stdout)

    def fails(self, status, *arguments, says="", env=None):
        """One line on standard error, nothing on standard output, that status, and no file left behind."""
        before = sorted(os.listdir(self.at))
        done = self.run_program(*arguments, status=status, env=env)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Amustafar-experiment: [^\n]*\n\Z")
        self.assertIn(says, done.stderr)
        self.assertEqual(sorted(os.listdir(self.at)), before)
        return done.stderr

    # ---- results ------------------------------------------------------------------------------

    def test_rows(self):
        report = self.measure("--recipes", "dense,int8,int4,int2,mustafar-50", "--lengths", "64,160,400",
                              "--repeats", "4")
        self.assertEqual((report["schema"], report["version"], report["complete"]), ("mustafar.experiment", 1, True))
        for key in ("command", "seed", "machine", "library", "kernels", "commit", "settings", "traces"):
            self.assertIn(key, report)
        rows = {row["recipe"]: row for row in report["rows"]}
        self.assertEqual(len(rows), 5)
        for row in rows.values():
            self.assertLessEqual(set(ROW_KEYS), set(row))
            for key, value in row.items():
                if key in ("recipe", "trace", "digest"):
                    self.assertIsInstance(value, str)
                elif key in ("layers", "samples"):
                    self.assertIsInstance(value, list)
                elif value is not None:
                    self.assertIsInstance(value, (int, float), key)
                    self.assertGreaterEqual(value, 0)
            self.assertEqual(row["tokens"], 160)
            self.assertLessEqual(row["p10"], row["attend_ns_per_token"])
            self.assertLessEqual(row["attend_ns_per_token"], row["p90"])
            self.assertEqual([s["tokens"] for s in row["samples"]], [64, 160, 400])
            self.assertEqual([len(s["ns"]) for s in row["samples"]], [4, 4, 4])
            self.assertEqual(len(row["layers"]), 2)
            worst = max(layer["out_error"] for layer in row["layers"])
            self.assertEqual(row["out_error_worst_layer"], worst)
        exact = {"ref": 1e-6, "avx512fp16": 5e-3}  # tests/common/budget.h
        bound = exact.get(os.environ.get("MUSTAFAR_FORCE_BACKEND") or "avx512fp16", 1e-5)
        self.assertLess(rows["dense"]["out_error"], bound)
        self.assertEqual(rows["dense"]["k_error"], 0)
        self.assertLess(rows["int8"]["out_error"], rows["int4"]["out_error"])
        self.assertLess(rows["int4"]["out_error"], rows["int2"]["out_error"])
        self.assertLess(rows["int8"]["kl"], rows["int2"]["kl"])
        self.assertIsNone(rows["dense"]["break_even_f16"])
        # d 32, 2 layers, 2 kv heads: dense rows 64, int8 32 + 4, keep 16 of 32 at 16 bits 4 + 32
        self.assertEqual((rows["dense"]["row_bytes_k"], rows["dense"]["bytes_per_token"]), (64, 512))
        self.assertEqual((rows["int8"]["row_bytes_v"], rows["mustafar-50"]["row_bytes_k"]), (36, 36))

    def test_baselines_are_timed_though_nobody_asked(self):
        report = self.measure("--recipes", "mustafar-50", "--lengths", "64,128", "--repeats", "3")
        self.assertEqual([row["recipe"] for row in report["rows"]], ["mustafar-50"])

    def test_csv_says_what_json_says(self):
        arguments = ["--trace", "t.safetensors", "--no-html", "--no-timing", "--recipes", "dense,int4"]
        self.run_program(*arguments, "--csv", "o.csv", "--json", "o.json")
        rows = json.loads((self.at / "o.json").read_text())["rows"]
        with open(self.at / "o.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        self.assertEqual(len(lines), 2)
        for line, row in zip(lines, rows):
            for key, text in line.items():
                expected = row[key]
                if expected is None:
                    self.assertEqual(text, "")
                elif isinstance(expected, str):
                    self.assertEqual(text, expected)
                else:
                    self.assertEqual(float(text), expected)
        os.unlink(self.at / "o.csv"), os.unlink(self.at / "o.json")

    def test_csv_on_standard_output(self):
        done = self.run_program("--trace", "t.safetensors", "--no-html", "--no-timing", "--recipes", "dense",
                                "--csv", "-")
        self.assertEqual(len(list(csv.reader(io.StringIO(done.stdout)))), 2)
        self.assertIn("recipe", done.stderr)  # the table moved there

    def test_same_again_without_timing(self):
        first, second = (self.measure("--no-timing", "--recipes", "int4,lean", "--threads", n) for n in (1, 2))
        self.assertEqual(first["rows"], second["rows"])
        self.assertIsNone(first["rows"][0]["attend_ns_per_token"])
        self.assertIsNone(first["rows"][0]["pack_ns_per_token"])

    def test_measure_and_sides(self):
        rows = {}
        for how in (("decode", "both"), ("window", "both"), ("none", "both"), ("window", "k"), ("window", "v")):
            report = self.measure("--no-timing", "--recipes", "int4", "--measure", how[0], "--sides", how[1])
            rows[how] = report["rows"][0]
        self.assertEqual(rows["window", "both"]["body_tokens"], 128)
        self.assertEqual(rows["none", "both"]["body_tokens"], 160)
        self.assertEqual(rows["window", "k"]["v_error"], 0)
        self.assertEqual(rows["window", "v"]["k_error"], 0)
        self.assertGreater(rows["window", "k"]["k_error"], 0)
        self.assertEqual((rows["window", "k"]["row_bytes_k"], rows["window", "k"]["row_bytes_v"]), (20, 64))
        self.assertLess(rows["window", "k"]["out_error"], rows["window", "both"]["out_error"])
        self.assertLess(rows["window", "both"]["out_error"], rows["none", "both"]["out_error"])

    def test_parts_of_a_trace(self):
        report = self.measure("--no-timing", "--recipes", "int4", "--tokens", "100", "--queries", "3",
                              "--layers", "1")
        row = report["rows"][0]
        self.assertEqual((row["tokens"], [layer["layer"] for layer in row["layers"]]), (100, [1]))
        self.assertEqual(row["bytes_per_token"], 2 * 2 * 20)

    def test_recipes_by_file_shorthand_and_text(self):
        recipe = {"schema": "mustafar.recipe", "version": 1, "name": "mine", "k": {"keep": 8}, "v": {"bits": 8}}
        (self.at / "r.json").write_text(json.dumps(recipe))
        (self.at / "short").write_text("k16i4/vdi8\n")
        report = self.measure("--no-timing", "--recipes", "r.json,short,k16/v16,./short", "--recipes",
                              json.dumps({**recipe, "name": "other", "k": {"keep": 24}}))
        names = [row["recipe"] for row in report["rows"]]
        self.assertEqual(names, ["mine", "k16i4/vdi8", "k16/v16", "other"])
        self.assertEqual(report["rows"][0]["row_bytes_k"], 4 + 16)

    def test_html_needs_nothing_else(self):
        self.run_program("--trace", "t.safetensors", "--recipes", "dense,int4,lean", "--repeats", "3", "--lengths",
                         "64,160", "--html", "r.html")
        text = (self.at / "r.html").read_text()
        self.assertEqual(text.count("<svg"), 3)
        self.assertEqual(text.count("<svg"), text.count("</svg>"))
        for outside in ("http:", "https:", "<script", "<link", "<img", "@import", "url("):
            self.assertNotIn(outside, text)
        self.assertNotRegex(text, r"\bnan\b|\binf\b")
        os.unlink(self.at / "r.html")

    def test_html_goes_into_build_where_there_is_one(self):
        with tempfile.TemporaryDirectory(dir=self.at) as folder:
            arguments = [PROGRAM, "--trace", self.at / "t.safetensors", "--no-timing", "--recipes", "int8"]
            subprocess.run(arguments, cwd=folder, check=True, capture_output=True, timeout=120)
            os.mkdir(Path(folder) / "build")
            subprocess.run(arguments, cwd=folder, check=True, capture_output=True, timeout=120)
            self.assertEqual(sorted(os.listdir(folder)), ["build", "mustafar-report.html"])
            self.assertEqual(os.listdir(Path(folder) / "build"), ["report.html"])

    def test_table_fits(self):
        done = self.run_program("--trace", "t.safetensors", "--no-html", "--repeats", "3", "--recipes",
                                "dense,k16i4m/vdi2/w64/s4,mustafar-70-int8")
        lines = done.stdout.splitlines()
        table = [line for line in lines if not line.startswith(("machine", "library", "measure"))]
        self.assertLessEqual(max(map(len, table)), 100)
        self.assertEqual(done.stderr, "")  # no progress bar where there is no terminal

    def test_progress_on_a_terminal(self):
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # a container without /dev/pts
            self.skipTest(f"no pseudo-terminal: {error}")
        done = subprocess.Popen([PROGRAM, "--trace", "t.safetensors", "--no-html", "--repeats", "40", "--lengths",
                                 "2000"], cwd=self.at, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        seen = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        os.close(ours)
        done.communicate(timeout=120)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(seen.decode(), r"\r\[#*\.*\] +\d+ %")
        self.assertTrue(seen.endswith(b"\r\x1b[K"))

    def test_verify(self):
        self.assertIn("ok", self.run_program("--verify", "--trace", "t.safetensors").stdout)
        little = 1.00001 if os.environ.get("MUSTAFAR_FORCE_BACKEND") == "ref" else 1.05
        for name in ("layers.1.out", "layers.0.lse"):
            wrong = trace_file.trace(damage=lambda n, v, name=name: [x * little for x in v] if n == name else v)
            (self.at / "wrong.safetensors").write_bytes(wrong)
            done = self.run_program("--verify", "--trace", "wrong.safetensors", status=4)
            self.assertIn("DIFFERS", done.stdout)
        (self.at / "wrong.safetensors").write_bytes(trace_file.trace(drop=["layers.1.lse"]))
        self.fails(3, "--verify", "--trace", "wrong.safetensors", says="layers.1.lse")
        os.unlink(self.at / "wrong.safetensors")
        self.fails(2, "--verify", "--trace", "t.safetensors", "--tokens", "90", says="--tokens")

    def test_questions(self):
        self.assertIn("Examples", self.run_program("--help").stdout)
        self.assertIn("lean", self.run_program("--list-recipes").stdout)
        self.assertRegex(self.run_program("--backends").stdout, r"attend +ref +attend_ref +yes")
        self.assertIn("ABI", self.run_program("--version").stdout)

    # ---- refusals -----------------------------------------------------------------------------

    def test_wrong_command_lines(self):
        trace = ("--trace", "t.safetensors", "--no-html")
        for arguments, says in (
                (("--frobnicate",), "--frobnicate"), (("stray",), "stray"), (("--lengths", "12,x"), "--lengths"),
                (("--lengths", "0"), "--lengths"), (("--lengths", ""), "--lengths"),
                (("--layers", "7"), "layers 0 to 1"), (("--layers", "1-0"), "--layers"),
                (("--threads", "-1"), "--threads"), (("--repeats", "0"), "--repeats"),
                (("--seed", "x"), "--seed"), (("--drop-mass", "2"), "--drop-mass"),
                (("--measure", "some"), "--measure"), (("--sides", "q"), "--sides"),
                (("--recipes", "mustafar-51"), "mustafar-50"), (("--recipes", "dense,,int4"), "empty name"),
                (("--recipes", "{\"schema\":\"mustafar.recipe\",\"version\":1,\"kk\":{}}"), "kk"),
                (("--json", "-", "--csv", "-"), "standard output"), (("--html", "x.html"), "exclude"),
                (("--trace", "t.safetensors"), "two traces"), (("--tokens", "4"), "--tokens")):
            with self.subTest(arguments=arguments):
                self.fails(2, *trace, *arguments, says=says)

    def test_missing_and_damaged_traces(self):
        good = (self.at / "t.safetensors").read_bytes()
        cases = {"empty": (b"", "no room"), "cut": (good[:-1], "truncated"), "header": (good[:50], "truncated"),
                 "text": (b"hello, this is no trace at all", "above the limit"),
                 "no-q": (trace_file.trace(drop=["layers.1.q"]), "\"layers.1.q\" is missing"),
                 "no-T": (trace_file.trace(metadata={"T": None}), "\"T\" is missing"),
                 "heads": (trace_file.trace(metadata={"kv_heads": "4"}), "layers.0.k"),
                 "nan": (trace_file.trace(damage=lambda n, v: [float("nan")] + v[1:] if n == "layers.0.v" else v),
                         "not finite")}
        for name, (data, says) in cases.items():
            with self.subTest(name):
                path = self.at / f"{name}.bad"
                path.write_bytes(data)
                try:
                    self.fails(3, "--trace", path, "--no-html", says=says)
                finally:
                    path.unlink()
        self.fails(3, "--trace", "none.safetensors", "--no-html", says="No such file")
        self.fails(3, "--trace", ".", "--no-html", says=".")

    def test_wrong_recipe_files(self):
        base = ("--trace", "t.safetensors", "--no-html", "--recipes")
        self.fails(3, *base, "none.json", says="No such file")
        for name, text in (("half.json", "{\"schema\":"), ("key.json", "{\"schema\":\"mustafar.recipe\",\"version\":1,"
                                                                      "\"v\":{\"kep\":3}}")):
            (self.at / name).write_text(text)
            self.fails(3, *base, name, says=name)
            (self.at / name).unlink()

    def test_what_the_library_refuses(self):
        base = ("--trace", "t.safetensors", "--no-html")
        self.fails(4, *base, "--recipes", "dense,k64/v64", says="k64/v64 on t")
        self.fails(4, *base, "--backend", "abacus", says="abacus", env={"MUSTAFAR_FORCE_BACKEND": ""})
        self.fails(4, *base, says="abacus", env={"MUSTAFAR_FORCE_BACKEND": "abacus"})
        (self.at / "odd.trace").write_bytes(trace_file.trace(d=36))
        self.fails(4, "--trace", "odd.trace", "--no-html", says="36")
        (self.at / "odd.trace").unlink()

    def test_outputs_that_cannot_be_written(self):
        base = ("--trace", "t.safetensors", "--no-timing", "--recipes", "dense")
        self.fails(5, *base, "--no-html", "--json", "none/o.json", says="none/o.json")
        self.fails(5, *base, "--no-html", "--csv", ".", says="directory")
        self.fails(5, *base, "--html", "none/r.html", says="none/r.html")
        if os.path.exists("/dev/full"):
            done = self.run_program(*base, "--no-html", "--json", "/dev/full", status=5)
            self.assertIn("No space left", done.stderr)
            with open("/dev/full", "w") as full:
                done = subprocess.run([PROGRAM, *base, "--no-html"], cwd=self.at, stdout=full, timeout=120,
                                      stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 5)
            self.assertIn("No space left", done.stderr)

    def interrupt(self, sign, pause):
        """Output and errors of a run that was ended by a signal after so many seconds."""
        running = subprocess.Popen([PROGRAM, "--trace", "t.safetensors", "--recipes", "dense,int8", "--repeats",
                                    "1000000", "--budget-seconds", "600", "--lengths", "160", "--json", "i.json",
                                    "--html", "i.html"], cwd=self.at, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        time.sleep(pause)
        running.send_signal(sign)
        out, err = running.communicate(timeout=60)  # not the ten minutes that it was given
        self.assertEqual(running.returncode, 130, err)
        self.assertFalse([name for name in os.listdir(self.at) if name.startswith(("i.", ".i."))])
        return out, err

    def test_interrupt(self):
        for sign in (signal.SIGINT, signal.SIGTERM):
            for pause in (2.5, 10, 40):  # a busy machine takes longer to measure both
                out, err = self.interrupt(sign, pause)
                if "interrupted; 2 rows were complete" in err:
                    break
            self.assertIn("interrupted; 2 rows were complete", err)
            self.assertTrue(re.search(r"^int8 ", out, re.M))


if __name__ == "__main__":
    unittest.main(verbosity=0)
