# SPDX-License-Identifier: Apache-2.0
"""What llview refuses: each file of refuse/ says which messages are expected, and where."""
import glob
import os
import re
import unittest

from support import HERE, Case, llview


def expectations(path):
    with open(os.path.join(HERE, path)) as f:
        text = f.read()
    warnings = re.search(r"^// warnings: (.*)$", text, re.M)
    expected = re.findall(r"^// expect: (.*)$", text, re.M)
    assert expected, path
    return expected, warnings.group(1).split() if warnings else []


class Refused(Case):
    def refuse(self, path):
        expected, warnings = expectations(path)
        out = self.out("refused.so")
        done = llview(path, "-o", out, *warnings, cwd=HERE)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertFalse(os.path.exists(out))
        errors = [line for line in done.stderr.splitlines() if "error: " in line]
        self.assertEqual(len(errors), len(expected), done.stderr)
        for line, error in zip(expected, sorted(errors, key=self.place)):
            place, colon, text = re.match(r"((?:\d+:)*)( ?)(.*)", line).groups()
            start = f"{path}:{place}" + (" " if place else " ") + "error: "
            self.assertTrue(error.startswith(start), f"{start!r} does not begin {error!r}")
            self.assertIn(text, error)
            # clang shows the source in its own way.
            if "clang" not in path:
                self.check_caret(done.stderr, path, place)

    @staticmethod
    def place(error):
        numbers = re.search(r":(\d+)(?::(\d+))?: error", error)
        return [int(n or 0) for n in numbers.groups()] if numbers else [0, 0]

    def check_caret(self, stderr, path, place):
        """The author's line, and below it a caret at the column."""
        numbers = [int(n) for n in place.split(":") if n]
        if not numbers:
            return
        with open(os.path.join(HERE, path)) as f:
            line = f.read().splitlines()[numbers[0] - 1]
        shown = stderr.splitlines()
        at = next(i for i, text in enumerate(shown) if text.endswith("| " + line))
        if len(numbers) == 2:
            caret = shown[at + 1].split("| ", 1)[1]
            self.assertEqual(caret.index("^"), numbers[1] - 1, stderr)


def make(path):
    return lambda self: self.refuse(path)


for name in sorted(glob.glob(os.path.join(HERE, "refuse", "*.c"))):
    relative = os.path.relpath(name, HERE)
    setattr(Refused, "test_" + os.path.basename(name)[:-2], make(relative))


class CommandLine(Case):
    def test_defined_twice(self):
        with open(self.out("copy.c"), "w") as f:
            f.write('#include "run/list.c"\n')
        done = llview("run/list.c", self.out("copy.c"), "-I", HERE, "-o", self.out("x.so"), cwd=HERE)
        self.assertEqual(done.returncode, 5)
        self.assertIn("run/list.c:4: error: detector list is defined twice; the other one is at run/list.c:4",
                      done.stderr)

    def test_usage(self):
        for args in (), ("a.c",), ("-o", "x.so"), ("--dump", "x.so", "a.c"), ("--nonsense",):
            done = llview(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn("llview", done.stderr)
        self.assertEqual(llview("--help").returncode, 0)

    def test_missing_files(self):
        done = llview("nowhere.c", "-o", self.out("x.so"))
        self.assertEqual(done.returncode, 5)
        self.assertIn("no such file or directory: 'nowhere.c'", done.stderr)
        done = llview(os.path.join(HERE, "run", "list.c"), "-o", "/nowhere/x.so")
        self.assertEqual(done.returncode, 1)
        done = llview(os.path.join(HERE, "run", "list.c"), "-o", self.out("x.so"), "--runtime", "/nowhere")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/rt.nvptx64.bc", done.stderr)

    def test_a_failed_run_keeps_the_old_file(self):
        out = self.out("old.so")
        with open(out, "w") as f:
            f.write("old")
        llview("refuse/recursion.c", "-o", out, cwd=HERE)
        with open(out) as f:
            self.assertEqual(f.read(), "old")
        self.assertEqual([n for n in os.listdir(self.scratch.name) if n.endswith(".tmp")], [])

    def test_warnings_are_clangs(self):
        done, _ = self.source('DETECTOR(test)\n{\n\tint unused;\n\trow("x");\n}\n')
        self.assertEqual(done.returncode, 0)
        self.assertIn("test.c:4:6: warning: unused variable 'unused'", done.stderr)
        done, _ = self.source('DETECTOR(test)\n{\n\tint unused;\n\trow("x");\n}\n', args=("-Werror",))
        self.assertEqual(done.returncode, 5)
        done, _ = self.source('DETECTOR(test)\n{\n\trow(TEXT);\n}\n', args=("-DTEXT=\"x\"",))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done, _ = self.source('DETECTOR(test)\n{\n\trow("%d", (int)sizeof(struct list_head));\n}\n',
                              args=("-include", "tasks.h", "-I", os.path.join(HERE, "run")))
        self.assertEqual((done.returncode, done.stderr), (0, ""))


    def test_parameters_that_differ(self):
        for name, value in (("a.h", 1), ("b.h", 2)):
            with open(self.out(name), "w") as f:
                f.write(f'PARAM(limit, {value}, "what is too much");\n')
        with open(self.out("other.c"), "w") as f:
            f.write('#include <gpusentinel/detector.h>\n#include OTHER\n'
                    'u64 other(void);\nu64 other(void) { return limit; }\n')
        text = '#include "a.h"\nu64 other(void);\nDETECTOR(test)\n{\n\trow("%llu %llu", limit, other());\n}\n'
        done, _ = self.source(text, args=("other.c", '-DOTHER="a.h"'))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done, _ = self.source(text, args=("other.c", '-DOTHER="b.h"'))
        self.assertEqual(done.returncode, 5)
        self.assertIn("b.h:1: error: there are two parameters limit that differ", done.stderr)


class Dump(Case):
    def test_dump(self):
        detector = self.build("local.c")
        text = llview("--dump", detector.path).stdout
        for line in (
                "detector mixed: every 1000 ms, at run/local.c:",
                "symbol       init_task; run/local.c:",
                "offset       struct task_struct.pid, here 0, 4 bytes, scalar; run/local.c:",
                'row      "%llu %llu %u", 3 items; run/local.c:',
                "load      4 bytes: kernel memory; run/local.c:",
                "mixed     1 bytes: local or kernel memory, known at run time; run/local.c:",
                "copy     any bytes: kernel memory; run/local.c:",
                "local     4 bytes: static variable history; run/local.c:",
                "local     4 bytes: stack object counts; run/local.c:",
                "store     8 bytes: static variable total; run/local.c:"):
            self.assertIn(line, text)

    def test_files_that_are_none(self):
        with open(self.build("list.c").path, "rb") as f:
            good = f.read()
        header = good.index(b"GSFAT\r\n\x1a")
        cases = {
            "empty": b"", "text": b"hello\n", "short": good[:200], "cut": good[:header + 100],
            "magic": good[:header] + b"X" + good[header + 1:],
            "version": good[:header + 8] + b"\x09" + good[header + 9:],
            "size": good[:header + 12] + b"\xff\xff\xff\x7f" + good[header + 16:],
            "table": good[:header + 24] + b"\xf8\xff\xff\xff" + good[header + 28:],
            "strings": good[:header + 60] + b"\xff\xff\xff\xff" + good[header + 64:],
        }
        for name, data in cases.items():
            with open(self.out(name), "wb") as f:
                f.write(data)
            done = llview("--dump", self.out(name))
            self.assertEqual(done.returncode, 5, (name, done.stdout, done.stderr))
            self.assertEqual(len(done.stderr.splitlines()), 1, name)
        self.assertEqual(llview("--dump", "/nowhere").returncode, 1)


if __name__ == "__main__":
    unittest.main()
