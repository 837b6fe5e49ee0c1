#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
guest.py PROGRAM [GUEST]: each command on a guest of the lab, which is frozen for the time; without a name one is
booted and stopped. That the values are right is the business of tests/lab; here it is their form.
"""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from terminal import Terminal

PROGRAM = sys.argv.pop(1)
GUEST = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
LAB = pathlib.Path(__file__).resolve().parents[2] / "lab" / "guest"

PS_COLUMNS = ["pid", "tgid", "ppid", "uid", "state", "comm", "threads", "rss_kb", "utime_ns",
              "stime_ns", "start_ns", "kthread"]
LOG_COLUMNS = {"seq", "ts_ns", "level", "facility", "cont", "text"}


def lab(*args):
    return subprocess.run([LAB, *args], check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=400).stdout


def run(*args, target=None, **options):
    command = [PROGRAM, "-t", target or f"qemu:{GUEST}", *args]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False, **options)


class Case(unittest.TestCase):
    maxDiff = 2000

    def output(self, *args, **options):
        result = run(*args, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def json(self, *args, **options):
        return json.loads(self.output(*args, "--json", **options))


class Form(Case):
    def test_info(self):
        info = self.json("info")
        release = lab_release
        self.assertEqual(info["release"], release)
        self.assertEqual(info["target"], f"qemu:{GUEST}")
        self.assertIn(info["page_table_levels"], (4, 5))
        self.assertGreater(info["symbols"], 50000)
        self.assertGreater(info["memory_bytes"], info["present_pages"] * 4096)
        self.assertEqual(info["system"]["release"], release)
        self.assertRegex(self.output("info"), rf"(?m)^release +{release}$")

    def test_ps(self):
        processes = self.json("ps")
        self.assertEqual(list(processes[0]), PS_COLUMNS)
        self.assertEqual(processes[0]["pid"], 1)
        lines = self.output("ps").splitlines()
        self.assertEqual(lines[0].split(),
                         ["PID", "PPID", "UID", "STATE", "THREADS", "RSS", "TIME", "START", "COMM"])
        self.assertEqual(len(lines), len(processes) + 1)
        # Columns are aligned: the names all begin where their heading does.
        place = lines[0].index("COMM")
        for line, process in zip(lines[1:], processes):
            name = f"[{process['comm']}]" if process["kthread"] else process["comm"]
            self.assertEqual(line[place:], name)

    def test_ps_long(self):
        lines = self.output("ps", "--long").splitlines()
        self.assertEqual(lines[0].split(), PS_COLUMNS)

    def test_ps_sort(self):
        for column, key in (("pid", lambda p: p["pid"]), ("-rss", lambda p: -p["rss_kb"]),
                            ("-time", lambda p: -p["utime_ns"] - p["stime_ns"]),
                            ("comm", lambda p: p["comm"]), ("-start_ns", lambda p: -p["start_ns"])):
            keys = [key(process) for process in self.json("ps", "--sort", column)]
            self.assertEqual(keys, sorted(keys), column)
        result = run("ps", "--sort", "nothing")
        self.assertEqual((result.returncode, result.stdout), (2, ""))

    def test_mem(self):
        memory = self.json("mem")
        lines = self.output("mem").splitlines()
        self.assertEqual([line.split(":")[0] for line in lines], list(memory))
        for line, (name, value) in zip(lines, memory.items()):
            unit = "" if name.startswith("HugePages_") else " kB"
            self.assertEqual(line, f"{name + ':':16}{value:>8}{unit}")
        # The very lines of the guest for what does not change.
        for name in ("MemTotal", "SwapTotal"):
            self.assertIn(next(line for line in guest_meminfo if line.startswith(name)), lines)

    def test_dmesg(self):
        messages = self.json("dmesg")
        self.assertLessEqual(LOG_COLUMNS, set(messages[0]))
        lines = self.output("dmesg").splitlines()
        self.assertEqual(len(lines), sum(1 + m["text"].count("\n") for m in messages))
        self.assertRegex(lines[0], r"^\[    0\.000000\] Linux version ")
        self.assertEqual(self.json("dmesg", "--tail", "3"), messages[-3:])
        self.assertEqual(self.json("dmesg", "-n", "0"), [])
        severe = [m for m in messages if m["level"] <= 4 or m["level"] == 7]
        self.assertEqual(self.json("dmesg", "-l", "debug,warn+"), severe)
        first = self.output("dmesg", "-x").splitlines()[0]
        self.assertRegex(first, r"^kern  :(notice|info  |warn  ): \[    0\.000000\] ")
        first = self.output("dmesg", "-c").splitlines()[0]
        self.assertRegex(first, r"^\[    0\.000000\]\[ *[TC]\d+\] ")

    def test_list(self):
        for detector in self.json("list"):
            self.assertIs(detector["fits"], True, detector)
            self.assertIsNone(detector["lacks"])
        self.assertRegex(self.output("list"), r"(?m)^processes +\d+ ms +\d+ +\d+ yes +\S")
        self.assertEqual([d["name"] for d in self.json("list", "memory", "log")], ["memory", "log"])
        self.assertRegex(self.output("list", "memory"), r"(?m)^memory\.warn_percent +10 percent of ")
        self.assertIn({"name": "warn_percent", "default": 10,
                       "description": "percent of MemTotal: less MemAvailable is a warning"},
                      self.json("list", "memory")[0]["params"])
        # Not known unless a GPU is asked.
        self.assertIsNone(self.json("-e", "cpu", "list", "--residency", "log")[0]["registers"])
        self.assertRegex(self.output("-e", "cpu", "list", "--residency", "log"),
                         r"(?m)^log +\S+ ms +\d+ +\d+( +-){4} yes +\S")


# Where the tests may not protect the process that watches, it says so first.
UNPROTECTED = r"(gpusentinel: when memory runs out here, [^\n]*\n)?"


class Run(Case):
    def test_colours(self):
        command = [PROGRAM, "-t", f"qemu:{GUEST}", "-e", "cpu", "run", "--once", "memory", "-p", "memory.warn_percent=100"]
        with Terminal(command, columns=300) as terminal:
            line = terminal.until(lambda lines: re.search("memory: memory is short: .* pid=.* rss_kb=", lines[0]),
                                  "the finding")[0]
            self.assertEqual(terminal.wait(), 0)
            styles = terminal.screen.styles[0]
            self.assertEqual({styles[line.index(word)] for word in ("memory", "available_kb", "rss_kb")}, {frozenset()})
            self.assertEqual(styles[line.index("WARNING")], {33})
            self.assertEqual({styles[line.index(word)] for word in ("pid=", "comm=")}, {frozenset({1})})
        with Terminal(command, columns=300, NO_COLOR="1") as terminal:
            self.assertEqual(terminal.wait(), 0)
            self.assertEqual({style for line in terminal.screen.styles for style in line}, {frozenset()})

    def test_parameters(self):
        args = ("-e", "cpu", "run", "--once", "memory")
        self.assertEqual(self.output(*args), "")
        self.assertRegex(self.output(*args, "-p", "memory.warn_percent=100"),
                         r"\A\S+ \S+ WARNING  memory: memory is short: [^\n]*\n\Z")
        found = json.loads(self.output(*args, "--json", "-p", "memory.warn_percent=0x64",
                                       "-p", "memory.critical_percent=100"))
        self.assertEqual((found["severity"], found["state"], found["alarm"], found["key"], found["lasted_ns"]),
                         ("critical", "open", "shortage", 0, 0))
        for says, param in (("detector memory has no parameter foo", "memory.foo=1"),
                            ("no detector log is run", "log.foo=1")):
            result = run(*args, "-p", param)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertRegex(result.stderr, rf"\Agpusentinel: [^\n]*{says}\n\Z")

    def test_once(self):
        result = run("-e", "cpu", "run", "--once", "--rows", "--json", "processes")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual({(row["kind"], row["detector"], row["run"]) for row in rows},
                         {("row", "processes", 0)})
        self.assertEqual([row["values"] for row in rows], self.json("ps"))

    def test_for_so_long(self):
        start = time.monotonic()
        result = run("-e", "cpu", "run", "--for", "1.5", "--period", "100", "system")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(1.4 < time.monotonic() - start < 10)
        runs = int(re.search(r"(\d+) runs", result.stderr)[1])
        self.assertTrue(2 <= runs <= 16, result.stderr)
        self.assertRegex(result.stderr, rf"\A{UNPROTECTED}system: \d+ runs, last [\d.]+ ms, .* faults, [^\n]*\n\Z")

    def start(self, *args, **options):
        process = subprocess.Popen([PROGRAM, "-t", f"qemu:{GUEST}", "-e", "cpu", "run", *args], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_signals_end_it_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start("--rows", "system")
            self.assertIn(" ROW      system: ", process.stdout.readline())
            process.send_signal(number)
            _, errors = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 0)
            self.assertRegex(errors, rf"\A{UNPROTECTED}system: \d+ runs")

    def test_reader_that_leaves_ends_it(self):
        process = self.start("--rows", "--json", "system")
        json.loads(process.stdout.readline())
        process.stdout.close()
        self.assertEqual(process.wait(timeout=20), 0)
        self.assertRegex(process.stderr.read(), rf"\A{UNPROTECTED}system: \d+ runs")

    def test_quiet_reader_that_leaves_ends_it_too(self):
        process = self.start("processes")
        time.sleep(1)
        process.stdout.close()
        self.assertEqual(process.wait(timeout=20), 0)


class Dump(Case):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.vmcore = str(self.directory / "vmcore")

    def test_the_copy_says_what_the_guest_says(self):
        result = self.json("dump", "-o", self.vmcore)
        stat = os.stat(self.vmcore)
        self.assertEqual((result["file"], result["size"]), (self.vmcore, stat.st_size))
        self.assertEqual(stat.st_mode & 0o777, 0o600)
        # Sparse: blocks for what was written, give or take the file system's own.
        self.assertLess(stat.st_blocks * 512, result["written"] + (1 << 20))
        self.assertEqual(os.listdir(self.directory), ["vmcore"])
        core = f"core:{self.vmcore}"
        for command in (["ps"], ["ps", "--json"], ["ps", "--long"], ["mem"], ["mem", "--json"],
                        ["dmesg", "-x"], ["dmesg", "--json"]):
            self.assertEqual(self.output(*command, target=core), self.output(*command))
        there, here = self.json("info", target=core), self.json("info")
        self.assertEqual(there.pop("target"), core)
        here.pop("target")
        self.assertEqual(there, here)

    def test_a_copy_of_the_copy_is_equal(self):
        self.output("dump", "-o", self.vmcore)
        self.output("dump", "-o", self.vmcore + "2", target=f"core:{self.vmcore}")
        subprocess.run(["cmp", self.vmcore, self.vmcore + "2"], check=True)

    def test_drgn_opens_it(self):
        self.output("dump", "-o", self.vmcore)
        if subprocess.run(["/usr/bin/python3", "-c", "import drgn"], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest("drgn is not installed")
        # init_uts_ns by its address in the kernel image, a module's text by the page tables.
        script = """
import re, sys, drgn
program = drgn.Program()
program.set_core_dump(sys.argv[1])
head = open(sys.argv[1], "rb").read(1 << 16)
address = int(re.search(rb"SYMBOL\\(init_uts_ns\\)=([0-9a-f]+)", head)[1], 16)
assert program.flags & drgn.ProgramFlags.IS_LINUX_KERNEL
assert sys.argv[2].encode() + b"\\0" in program.read(address, 400)
program.read(int(sys.argv[3], 16), 16)
"""
        subprocess.run(["/usr/bin/python3", "-c", script, self.vmcore, lab_release, module_address],
                       check=True)

    def fails(self, says, *args, **options):
        result = run("dump", *args, **options)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result.stderr)
        self.assertIn(says, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)

    def test_overwrites_only_when_told(self):
        pathlib.Path(self.vmcore).write_text("precious", encoding="utf-8")
        self.fails("exists", "-o", self.vmcore)
        self.assertEqual(pathlib.Path(self.vmcore).read_text(encoding="utf-8"), "precious")
        self.output("dump", "--force", "-o", self.vmcore)
        self.assertGreater(os.stat(self.vmcore).st_size, 1 << 20)

    def test_leaves_nothing_when_it_cannot_finish(self):
        limit = 8 << 20
        self.fails("File too large", "-o", self.vmcore,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(os.listdir(self.directory), [])
        self.fails("No such file", "-o", str(self.directory / "nowhere" / "vmcore"))

    def test_sees_before_that_the_disk_is_too_small(self):
        mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=4m tmpfs "$1" && shift && '
                 '"$@"; status=$?; ls -A "$0"; exit $status', str(self.directory), str(self.directory)]
        if subprocess.run([*mount, "true"], check=False, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no permission to mount")
        result = subprocess.run([*mount, PROGRAM, "-t", f"qemu:{GUEST}", "dump", "-o", self.vmcore],
                                check=False, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result.stderr)
        self.assertRegex(result.stderr, r"needs [\d.]+ MiB, but its file system has only [\d.]+ MiB free")


if __name__ == "__main__":
    booted = not GUEST
    GUEST = GUEST or f"cli-{os.getpid()}"
    if booted:
        lab("boot", GUEST, "--procs", "20")
    try:
        lab_release = lab("sh", GUEST, "uname -r").strip()
        guest_meminfo = lab("sh", GUEST, "cat /proc/meminfo").splitlines()
        module_address = lab("sh", GUEST, "grep -m 1 . /proc/modules").split()[5]
        lab("freeze", GUEST)
        try:
            program = unittest.main(exit=False, verbosity=2)
        finally:
            lab("thaw", GUEST)
    finally:
        if booted:
            lab("stop", GUEST)
    sys.exit(not program.result.wasSuccessful())
