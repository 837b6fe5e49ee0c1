#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tutorial.py BUILD: docs/writing-detectors.md says the truth: its programs compile, find what it says, in its words."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
LAB = ROOT / "lab" / "guest"
GUEST = f"tutorial-{os.getpid()}"
TEXT = (ROOT / "docs" / "writing-detectors.md").read_text(encoding="utf-8")
PROGRAMS = [block for block in re.findall(r"^```c\n(.*?)^```$", TEXT, re.M | re.S) if block.startswith("// SPDX")]


def call(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120, **options).stdout


def lab(*args):
    return call(LAB, *args)


def gpusentinel(*args):
    return call(BUILD / "src" / "cli" / "gpusentinel", "-t", f"qemu:{GUEST}", "-e", "cpu", *args)


def said(begin):
    """What the page shows below the command that begins so, up to the next one."""
    block = TEXT[TEXT.index("    $ " + begin):].splitlines()[1:]
    end = next(i for i, line in enumerate(block) if line.startswith("    $ ") or (line and line[0] != " "))
    return [line.strip() for line in block[:end] if line.strip()]


def form(lines):
    """Without what differs from one time to the next."""
    return [re.sub(r"[0-9.:-]+", "N", line) for line in lines]


class Tutorial(unittest.TestCase):
    def setUp(self):
        lab("sh", GUEST, "killall sleep 2>/dev/null; sleep 0.2")

    def compile(self, program, directory):
        source = pathlib.Path(directory) / "zombies.c"
        source.write_text(program, encoding="utf-8")
        out = source.with_suffix(".so")
        self.assertEqual(call(BUILD / "llview" / "llview", source, "-o", out,
                              env={**os.environ, "GPUSENTINEL_RUNTIME": str(BUILD / "device")}), "")
        return out

    def leave_zombies(self):
        command = re.search(r"lab/guest sh a '(.* exec sleep 60.*)'$", TEXT, re.M)[1]
        lab("sh", GUEST, command)
        lab("sh", GUEST, "sleep 0.2")

    def test_both_programs_are_found(self):
        self.assertEqual(len(PROGRAMS), 2)

    def test_the_table(self):
        with tempfile.TemporaryDirectory() as directory:
            detector = self.compile(PROGRAMS[0], directory)
            self.assertEqual(gpusentinel("run", "--once", "--rows", detector), "")
            self.leave_zombies()
            shown = gpusentinel("run", "--once", "--rows", detector).splitlines()
            self.assertEqual(form(shown), form(said("gpusentinel -t qemu:a run --once --rows")))

    def test_the_condition(self):
        with tempfile.TemporaryDirectory() as directory:
            detector = self.compile(PROGRAMS[1], directory)
            listed = call(BUILD / "src" / "cli" / "gpusentinel", "list", detector)
            self.assertEqual([line for line in listed.splitlines() if line], said("gpusentinel list ./zombies.so"))
            # As many as there may be.
            self.leave_zombies()
            self.assertEqual(gpusentinel("run", "--for", "2", detector), "")

            command = [BUILD / "src" / "cli" / "gpusentinel", "-t", f"qemu:{GUEST}", "-e", "cpu", "run", "--for", "5",
                       "-p", "zombies.max_zombies=2"]
            with subprocess.Popen([*command, detector], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as text, \
                    subprocess.Popen([*command, "--json", detector], text=True, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL) as objects:
                # Both must have seen them.
                first, first_object = text.stdout.readline(), objects.stdout.readline()
                lab("sh", GUEST, "killall sleep")
                shown = [first, *text.stdout]
                found = [json.loads(line) for line in (first_object, *objects.stdout)]
            self.assertEqual(form(line.strip() for line in shown),
                             form(said("gpusentinel -t qemu:a run -p zombies.max_zombies=2")))
            self.assertEqual([f["state"] for f in found], ["open", "closed"])
            self.assertEqual((found[0]["values"]["zombies"], found[0]["values"]["comm"]), (3, "sleep"))
            self.assertEqual({f["key"] for f in found}, {found[0]["values"]["pid"]})
            self.assertEqual({f["alarm"] for f in found}, {"not_waited_for"})


def main():
    lab("boot", GUEST)
    try:
        program = unittest.main(exit=False)
    finally:
        lab("stop", GUEST)
    sys.exit(not program.result.wasSuccessful())


if __name__ == "__main__":
    main()
