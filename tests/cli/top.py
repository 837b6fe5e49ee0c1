#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""top.py PROGRAM: `gpusentinel top` over a guest of the lab that runs out of memory, then panics; as text, and on a
terminal with its keys and sizes."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from terminal import Terminal

PROGRAM = sys.argv.pop(1)
LAB = pathlib.Path(__file__).resolve().parents[2] / "lab" / "guest"
GUEST = f"top-{os.getpid()}"
COMMAND = [PROGRAM, "-t", f"qemu:{GUEST}", "-e", "cpu", "top"]
HEADING = ["PID", "PPID", "UID", "S", "THR", "RSS", "%CPU", "TIME", "COMM"]
PROCESS = re.compile(r" *(\d+) +(\d+) +(\d+) (\S) +(\d+) +(-|[\d.]+ \S+) +(-|[\d.]+) +(\d+:\d\d\.\d\d) (.+)$")


def lab(*args):
    return subprocess.run([LAB, *args], check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=300).stdout


def run(*args, command=None, **options):
    return subprocess.run([*(command or COMMAND), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False, **options)


def processes(lines):
    """What stands below the heading, as (pid, rss, cpu, comm)."""
    start = next((i for i, line in enumerate(lines) if line.split()[:9] == HEADING), len(lines))
    rows = []
    for line in lines[start + 1:]:
        match = PROCESS.match(line)
        if match:
            rows.append((int(match[1]), match[6], match[7], match[9]))
    return rows


def rss_kb(text):
    number, unit = ("0", "KiB") if text == "-" else text.split()
    return float(number) * {"B": 1 / 1024, "KiB": 1, "MiB": 1024, "GiB": 1 << 20}[unit]


class Batch(unittest.TestCase):
    def lines(self, *args, **options):
        result = run(*args, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout.splitlines()

    def test_a_frame(self):
        lines = self.lines("--batch")
        self.assertRegex(lines[0], rf"^\S+ \S+  qemu:{GUEST}  Linux \S+ \S+  engine cpu$")
        self.assertRegex(lines[1], r"^up \S+, load \d+\.\d\d \d+\.\d\d \d+\.\d\d$")
        self.assertRegex("\n".join(lines), r"(?m)^Mem +[\d.]+% \[\|* *\] \S+ MiB of \S+ MiB$")
        self.assertIn("Findings: 0 open, 0 events", lines)
        shown = processes(lines)
        inside = {int(pid) for pid in lab("sh", GUEST, "ls /proc").split() if pid.isdigit()}
        # Those that were there for the whole time; the command itself was not.
        self.assertGreater(len(shown), 50)
        self.assertLessEqual(len({row[0] for row in shown} ^ inside), 3)
        self.assertTrue(all(row[2] != "-" for row in shown))
        self.assertIn((2, "-", "[kthreadd]"), [(pid, rss, comm) for pid, rss, _, comm in shown])

    def test_orders_and_lines(self):
        rows = processes(self.lines("-b", "--sort", "rss", "-n", "10"))
        self.assertEqual(len(rows), 10)
        self.assertEqual(rows, sorted(rows, key=lambda row: (-rss_kb(row[1]), row[0])))
        rows = processes(self.lines("--once", "--sort", "pid", "-n", "3"))
        self.assertEqual([row[0] for row in rows], [1, 2, 3])

    def test_a_core(self):
        with tempfile.TemporaryDirectory() as directory:
            core = os.path.join(directory, "vmcore")
            lab("freeze", GUEST)
            try:
                self.assertEqual(run("dump", "-o", core, command=COMMAND[:-1]).returncode, 0)
            finally:
                lab("thaw", GUEST)
            rows = processes(self.lines("--batch", command=[PROGRAM, "-t", f"core:{core}", "-e", "cpu", "top"]))
            self.assertGreater(len(rows), 50)
            # Nothing runs: there is no time of which a CPU's part could be told.
            self.assertEqual({row[2] for row in rows}, {"-"})

    def test_mistakes(self):
        for says, args in (("needs a terminal", []), ("--delay", ["-d", "0"]), ("--delay", ["-d", "soon"]),
                           ("--sort takes", ["--sort", "size"]), ("--lines", ["-n", "0"]),
                           ("no --json", ["--json"])):
            result = run(*args)
            self.assertEqual((result.returncode, result.stdout), (2, ""), args)
            self.assertRegex(result.stderr, rf"\Agpusentinel: [^\n]*{says}[^\n]*\n\Z")
        with Terminal(COMMAND, TERM="nonsense") as terminal:
            self.assertEqual(terminal.wait(), 2)


class Interactive(unittest.TestCase):
    def test_keys(self):
        greatest = max(row[0] for row in processes(run("--batch").stdout.splitlines()))
        with Terminal(COMMAND) as terminal:
            lines = terminal.until(lambda lines: len(processes(lines)) > 10, "processes")
            self.assertTrue(terminal.screen.alternate)
            heading = next(i for i, line in enumerate(lines) if line.split()[:9] == HEADING)
            self.assertEqual({frozenset({7})}, set(terminal.screen.styles[heading]))
            self.assertIn("by %CPU", lines[heading])
            terminal.press("N")
            terminal.until(lambda lines: [row[0] for row in processes(lines)[:3]] == [1, 2, 3], "sorted by pid")
            terminal.press("\x1bOB")
            terminal.until(lambda lines: [row[0] for row in processes(lines)[:2]] == [2, 3], "scrolled down")
            terminal.press("\x1b[6~")
            page = len(processes(terminal.screen.show()))
            terminal.until(lambda lines: processes(lines)[0][0] > page, "scrolled a page")
            terminal.press("\x1bOF")
            terminal.until(lambda lines: processes(lines)[-1][0] == greatest, "the end")
            terminal.press("\x1bOH")
            terminal.until(lambda lines: processes(lines)[0][0] == 1, "the beginning")
            terminal.press("R")
            terminal.until(lambda lines: processes(lines)[0][0] == greatest, "the greatest pid first")
            terminal.press("M")
            lines = terminal.until(lambda lines: any("by RSS" in line for line in lines), "sorted by memory")
            sizes = [rss_kb(row[1]) for row in processes(lines)]
            self.assertEqual(sizes, sorted(sizes, reverse=True))
            self.assertGreater(sizes[0], 0)
            terminal.press("\x1bOC")
            terminal.until(lambda lines: any("by TIME" in line for line in lines), "the order to the right")
            terminal.press("N")
            terminal.until(lambda lines: any(row[3] == "[kthreadd]" for row in processes(lines)), "kernel threads")
            terminal.press("K")
            terminal.until(lambda lines: not any(row[3].startswith("[") for row in processes(lines)), "none")
            terminal.press("h")
            terminal.until(lambda lines: any("sort by CPU" in line for line in lines), "help")
            terminal.press("x")
            terminal.until(processes, "processes again")
            terminal.press("q")
            self.assertEqual(terminal.wait(), 0)
            self.assertFalse(terminal.screen.alternate)

    def test_sizes(self):
        with Terminal(COMMAND, columns=80, lines=24) as terminal:
            terminal.until(lambda lines: len(processes(lines)) > 5, "processes")
            terminal.resize(30, 24)
            terminal.until(lambda lines: lines[0] == "The terminal is too small: 40 "[:30].rstrip(), "too narrow")
            terminal.resize(80, 5)
            terminal.until(lambda lines: lines[0] == "The terminal is too small: 40 columns, 10 lines", "too low")
            terminal.resize(40, 10)
            terminal.until(lambda lines: any(line.split()[:3] == HEADING[:3] for line in lines), "just large enough")
            terminal.resize(200, 60)
            terminal.until(lambda lines: len(processes(lines)) > 30, "a large one")
            os.kill(terminal.pid, signal.SIGTERM)
            self.assertEqual(terminal.wait(), 0)
            self.assertFalse(terminal.screen.alternate)

    def test_colours_are_not_for_all(self):
        with Terminal(COMMAND, NO_COLOR="1") as terminal:
            terminal.until(lambda lines: len(processes(lines)) > 10, "processes")
            terminal.press("q")
            self.assertEqual(terminal.wait(), 0)

    # The guest does not survive this: it is the last one.
    def test_z_findings(self):
        with Terminal([*COMMAND, "-d", "0.5"], columns=150) as terminal:
            def finding(pattern):
                return lambda lines: any(re.search(pattern, line) for line in lines)

            terminal.until(finding("^Findings: 0 open, 0 events$"), "no findings")
            lab("fault", GUEST, "oom")
            lines = terminal.until(finding(r"^CRITICAL +\S+ memory: out of memory: .*comm=hog"), "the kill")
            number = next(i for i, line in enumerate(lines) if line.startswith("CRITICAL"))
            self.assertLessEqual({1, 31}, terminal.screen.styles[number][0])
            terminal.until(finding("^Findings: 0 open, [1-9]"), "memory is no longer short")
            lab("fault", GUEST, "panic")
            terminal.until(finding(r"^CRITICAL +\S+ panic: kernel panic"), "the panic")
            terminal.until(finding("the kernel has panicked"), "the panic in the title")
            terminal.press("q")
            self.assertEqual(terminal.wait(), 0)


def main():
    lab("boot", GUEST, "--procs", "30")
    try:
        program = unittest.main(exit=False)
    finally:
        lab("stop", GUEST)
    sys.exit(not program.result.wasSuccessful())


if __name__ == "__main__":
    main()
