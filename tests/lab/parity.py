#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What gpusentinel reads out of a frozen guest equals what the guest itself shows in /proc.

    parity.py GUEST [--gpusentinel PATH] [--lab PATH] [--panic] [--inside] [--only ps,mem,dmesg,info]

The guest's /proc is read, the guest is frozen and watched, thawed, and its /proc is read again. What cannot change
must be equal; what only grows must lie between the two readings; anything else must equal one of the two, or lie
between them if it is a number. With --panic the guest is panicked in place of being frozen, and there is no second
reading: its /proc died with it. With --inside the guest watches itself (-t host), so it cannot be frozen meanwhile, and the
memory that gpusentinel takes is in what it says.

Exit status: 0 equal, 1 different (with a line for each difference), 2 the comparison could not be made.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TICK_NS = 10_000_000  # /proc counts in USER_HZ = 100
PAGE_KB = 4
# Of gpusentinel, more than it takes.
OWN_KB = 48 << 10
# Read, freeze, watch, thaw, read: a tick or a kernel thread in between may hit one attempt, not all.
ATTEMPTS = 3

# One process in the guest makes both readings and stays in between, so that what it takes itself is in all three views.
# It waits for leave to go on at a FIFO.
READER = r"""
function line(f,  l) { l = ""; getline l < f; close(f); return l }
function dump(f,  l) { while ((getline l < f) > 0) print f " " l > out; close(f) }
function run(mark, command,  l) { while ((command | getline l) > 0) print mark " " l > out; close(command) }
BEGIN {
    for (round = 1; round <= 2; round++) {
        out = "/tmp/parity." round
        tasks = ""
        "echo /proc/[0-9]*" | getline tasks
        close("echo /proc/[0-9]*")
        run("@dmesg", "dmesg -r")
        run("@machine", "uname -m")
        print "@self " line("/proc/self/stat") > out
        print "@uptime " line("/proc/uptime") > out
        for (n = split("osrelease version hostname tainted", name, " "); n; n--)
            print "@sys " name[n] " " line("/proc/sys/kernel/" name[n]) > out
        print "@sys online " line("/sys/devices/system/cpu/online") > out
        print "@sys possible " line("/sys/devices/system/cpu/possible") > out
        print "@loadavg " line("/proc/loadavg") > out
        n = split(tasks, task, " ")
        for (i = 1; i <= n; i++) {
            dump(task[i] "/status")
            dump(task[i] "/stat")
        }
        fflush(out)
        dump("/proc/meminfo")
        print "@uptime " line("/proc/uptime") > out
        print "@end" > out
        close(out)
        line("/tmp/parity.go")
    }
}
"""
START = """cd /tmp && rm -f parity.1 parity.2 parity.go && cat >parity.awk && mkfifo parity.go &&
{ awk -f parity.awk </dev/null >/dev/null 2>&1 & }"""
GO = "echo go >/tmp/parity.go"


class Unable(Exception):
    """The comparison could not be made."""


def command(*argv, given=b"", timeout=120):
    try:
        done = subprocess.run(argv, input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unable(f"{' '.join(map(str, argv[:4]))}: {error}") from error
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise Unable(f"{' '.join(map(str, argv[:6]))}: {message}")
    return done.stdout


class Process:
    """A process as /proc shows it, under the names of gpusentinel's columns."""

    def __init__(self, stat, status):
        # The name may hold anything, parentheses too.
        match = re.match(r"(\d+) \((.*)\) (\S) (.*)$", stat, re.DOTALL)
        rest = match[4].split()
        fields = dict(line.split(":", 1) for line in status if ":" in line)
        self.value = {
            "pid": int(match[1]),
            "tgid": int(fields["Tgid"]),
            "ppid": int(rest[0]),
            "uid": int(fields["Uid"].split()[0]),
            "state": match[3],
            "comm": match[2],
            "threads": int(rest[16]),
            "rss_kb": int(fields["VmRSS"].split()[0]) if "VmRSS" in fields else 0,
            "utime": int(rest[10]),
            "stime": int(rest[11]),
            "start": int(rest[18]),
            "kthread": int(bool(int(rest[5]) & 0x00200000)),  # PF_KTHREAD
        }


class Snapshot:
    """The guest's own view of itself."""

    def __init__(self, text):
        self.self_pid = 0
        self.uptime = []
        self.dmesg = []
        self.meminfo = {}
        self.system = {}
        self.loadavg = []
        stats, statuses = {}, {}
        for raw in text.split(b"\n"):
            key, _, text = raw.decode("utf-8", "surrogateescape").partition(" ")
            if key == "@self":
                self.self_pid = int(text.split()[0])
            elif key == "@uptime":
                self.uptime.append(float(text.split()[0]))
            elif key == "@dmesg":
                self.dmesg.append(text)
            elif key == "@machine":
                self.system["machine"] = text
            elif key == "@sys":
                name, _, value = text.partition(" ")
                self.system[name] = value
            elif key == "@loadavg":
                self.loadavg = text.split()[:3]
            elif key == "/proc/meminfo":
                name, _, value = text.partition(":")
                self.meminfo[name] = int(value.split()[0])
            elif match := re.fullmatch(r"/proc/(\d+)/(stat|status)", key):
                if match[2] == "stat":
                    stats[int(match[1])] = text
                else:
                    statuses.setdefault(int(match[1]), []).append(text)
        if not stats or not self.meminfo or len(self.uptime) != 2:
            raise Unable("the guest's /proc could not be read")
        self.processes = {pid: Process(stats[pid], statuses[pid]).value for pid in stats.keys() & statuses.keys()}
        # The reader runs while it reads, and who started it may.
        self.awake = set()
        pid = self.self_pid
        while pid in self.processes and pid not in self.awake:
            self.awake.add(pid)
            pid = self.processes[pid]["ppid"]
        if not self.processes or not self.meminfo or len(self.uptime) != 2:
            raise Unable("the guest's /proc could not be read")


def cpus(listing):
    """Number of CPUs in a list such as 0-1,4."""
    total = 0
    for part in listing.split(","):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def between(value, *bounds):
    return min(bounds) <= value <= max(bounds)


class Comparison:
    """Differences between what gpusentinel says and one or two readings of /proc."""

    def __init__(self, before, after, own_kb):
        self.before = before
        self.after = after
        self.own_kb = own_kb
        self.readings = [before] + ([after] if after else [])
        self.differences = []
        self.compared = 0

    def differ(self, text):
        self.differences.append(text)

    def expect(self, holds, what, got, *wanted):
        self.compared += 1
        if not holds:
            self.differ(f"{what}: gpusentinel {got!r}, /proc {' then '.join(repr(w) for w in wanted)}")

    # -- processes

    def process_fields(self, got, readings):
        who = f"pid {got['pid']} ({readings[0]['comm']})"
        for name in ("pid", "tgid", "uid", "kthread"):
            wanted = [r[name] for r in readings]
            self.expect(got[name] in wanted, f"{who} {name}", got[name], *wanted)
        self.expect(got["start_ns"] // TICK_NS == readings[0]["start"], f"{who} start_ns", got["start_ns"],
                    readings[0]["start"])
        for name in ("ppid", "threads", "state"):
            if name == "state" and got["pid"] in self.before.awake:
                continue
            wanted = [r[name] for r in readings]
            # A timer may wake a thread of the kernel at any moment.
            woken = name == "state" and got["kthread"] and got["state"] in "RIS" and "R" in (got["state"], *wanted)
            self.expect(got[name] in wanted or woken, f"{who} {name}", got[name], *wanted)
        # A worker also names the workqueue that it served last, which any timer changes.
        wanted = [r["comm"] for r in readings]
        if wanted[0].startswith("kworker/"):
            self.expect(re.split("[-+]", got["comm"])[0] == re.split("[-+]", wanted[0])[0], f"{who} comm",
                        got["comm"], *wanted)
        else:
            self.expect(got["comm"] in wanted, f"{who} comm", got["comm"], *wanted)
        wanted = [r["rss_kb"] for r in readings]
        # The reader has grown since it read about itself.
        if self.after or got["pid"] != self.before.self_pid:
            self.expect(between(got["rss_kb"], *wanted), f"{who} rss_kb", got["rss_kb"], *wanted)
        for name in ("utime", "stime"):
            ticks = got[name + "_ns"] // TICK_NS
            wanted = [r[name] for r in readings]
            if self.after:
                holds = between(ticks, *wanted)
            else:
                # The panic itself may run in the context of a process; a second is more than it takes.
                holds = wanted[0] <= ticks <= wanted[0] + 1000
            self.expect(holds, f"{who} {name}", ticks, *wanted)

    def processes(self, rows):
        found = {}
        for row in rows:
            if row["pid"] in found:
                self.differ(f"pid {row['pid']}: listed twice")
            found[row["pid"]] = row
        first = self.before.processes
        last = self.after.processes if self.after else {}
        born = int(self.before.uptime[0] * 1e9)
        for pid, wanted in first.items():
            same = last.get(pid)
            if same and same["start"] != wanted["start"]:
                same = None
            got = found.pop(pid, None)
            if got and got["start_ns"] // TICK_NS != wanted["start"]:
                got = None
            if got:
                self.process_fields(got, [wanted] + ([same] if same else []))
            elif same or not self.after:
                self.differ(f"pid {pid} ({wanted['comm']}): in /proc, not found by gpusentinel")
        for pid, got in found.items():
            if got["start_ns"] < born - TICK_NS:
                self.differ(f"pid {pid} ({got['comm']}): found by gpusentinel, not in /proc")
        for pid, wanted in last.items():
            if pid not in first and wanted["start"] * TICK_NS < born and pid not in found:
                self.differ(f"pid {pid} ({wanted['comm']}): in /proc, not found by gpusentinel")

    # -- meminfo

    # Set at boot, or by nobody here.
    FIXED = re.compile(r"MemTotal|Swap(Total|Free|Cached)|CommitLimit|VmallocTotal|Hugepagesize|HugePages_.*|Hugetlb|"
                       r"CmaTotal|DirectMap.*|HardwareCorrupted|Unaccepted|Balloon|GPU.*")
    # Always 0, or, as for zswap, kept in private lists of a driver.
    LEFT_OUT = {"NFS_Unstable", "VmallocChunk", "Bounce", "WritebackTmp", "Zswap", "Zswapped"}

    def meminfo(self, got):
        for name, value in self.before.meminfo.items():
            if name not in got:
                if name not in self.LEFT_OUT or value:
                    self.differ(f"{name}: in /proc/meminfo ({value} kB), not in gpusentinel's")
                continue
            wanted = [r.meminfo[name] for r in self.readings]
            slack = 0 if self.FIXED.fullmatch(name) else max(max(wanted) // 100, 64 * PAGE_KB, self.own_kb)
            if not self.after and not self.FIXED.fullmatch(name):
                # The panic's own work: pages that were freed or taken after the reading.
                slack = max(slack, 256 * PAGE_KB)
            self.expect(min(wanted) - slack <= got[name] <= max(wanted) + slack, name, got[name], *wanted)
        for name in got.keys() - self.before.meminfo.keys():
            self.differ(f"{name}: not in /proc/meminfo")

    # -- log

    @staticmethod
    def lines(records):
        """As syslog(2) gives them: every line of a record with the record's prefix."""
        out = []
        for record in records:
            prefix = record["facility"] << 3 | record["level"]
            seconds, rest = divmod(record["ts_ns"], 10**9)
            for line in record["text"].split("\n"):
                out.append(f"<{prefix}>[{seconds:5d}.{rest // 1000:06d}] {line}")
        return out

    def log(self, records):
        got = self.lines(records)
        numbers = [record["seq"] for record in records]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True:
            self.differ("log: sequence numbers have gaps")
        for wanted, is_last in [(self.before.dmesg, False)] + ([(self.after.dmesg, True)] if self.after else []):
            if not wanted:
                self.differ("log: the guest shows none")
                continue
            # Old records may have been overwritten between the two.
            if wanted[0] in got:
                ours, theirs = got[got.index(wanted[0]):], wanted
            elif got and got[0] in wanted:
                ours, theirs = got, wanted[wanted.index(got[0]):]
            else:
                self.differ("log: nothing in common with the guest's dmesg")
                continue
            if (len(ours) > len(theirs)) if is_last else (len(ours) < len(theirs)):
                self.differ(f"log: {len(ours)} lines, the guest has {len(theirs)}")
            for index, (mine, other) in enumerate(zip(ours, theirs)):
                self.expect(mine == other, f"log line {index}", mine, other)

    # -- system

    def system(self, got, panicked):
        first = self.before
        self.expect(got["release"] == first.system["osrelease"], "release", got["release"], first.system["osrelease"])
        for name in ("version", "hostname", "machine"):
            self.expect(got[name] == first.system[name], name, got[name], first.system[name])
        self.expect(panicked or got["tainted"] == int(first.system["tainted"]), "tainted", got["tainted"],
                    first.system["tainted"])
        self.expect(got["cpus_possible"] == cpus(first.system["possible"]), "cpus_possible", got["cpus_possible"],
                    first.system["possible"])
        self.expect(panicked or got["cpus_online"] == cpus(first.system["online"]), "cpus_online", got["cpus_online"],
                    first.system["online"])
        # Memory holds the time of the last tick.
        low, high = first.uptime[0] - 4, (self.after.uptime[0] if self.after else first.uptime[1] + 60)
        self.expect(low <= got["uptime_ns"] / 1e9 <= high, "uptime_ns", got["uptime_ns"], first.uptime[1], high)
        for index, name in enumerate(("load1", "load5", "load15")):
            wanted = [float(r.loadavg[index]) for r in self.readings]
            # One update of the kernel's, every five seconds, moves the first by up to 1/12 of the tasks that run.
            self.expect(min(wanted) - 0.2 <= got[name] <= max(wanted) + 0.2, name, got[name], *wanted)
        self.expect((got["panic_cpu"] != -1) == panicked, "panic_cpu", got["panic_cpu"], panicked)


def fetch(args, number):
    """A reading, when it is complete. Nothing is asked of the guest while it is being made: that would be in it."""
    for wait in (1, 2, 4, 8, 16, 32):
        time.sleep(wait)
        text = command(args.lab, "sh", args.guest, f"cat /tmp/parity.{number}")
        if b"\n@end\n" in text:
            return Snapshot(text)
    raise Unable("the guest does not finish reading its own /proc")


def watch(args, name):
    if args.inside:
        text = command(args.lab, "sh", args.guest, f"gpusentinel -t host -e cpu {name} --json")
    else:
        text = command(args.gpusentinel, "-t", f"qemu:{args.guest}", name, "--json")
    text = text.decode("utf-8", "surrogateescape")
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unable(f"gpusentinel {name} --json: {error}") from error


def attempt(args):
    command(args.lab, "sh", args.guest, "-i", START, given=READER.encode())
    before = fetch(args, 1)
    if args.panic:
        command(args.lab, "fault", args.guest, "panic")
        time.sleep(2)
    elif not args.inside:
        command(args.lab, "freeze", args.guest)
    try:
        got = {name: watch(args, name) for name in args.only}
    finally:
        if not args.panic and not args.inside:
            command(args.lab, "thaw", args.guest)
    after = None
    if not args.panic:
        command(args.lab, "sh", args.guest, GO)
        after = fetch(args, 2)
        command(args.lab, "sh", args.guest, GO)
    comparison = Comparison(before, after, OWN_KB if args.inside else 0)
    if "ps" in got:
        comparison.processes(got["ps"])
    if "mem" in got:
        comparison.meminfo(got["mem"])
    if "dmesg" in got:
        comparison.log(got["dmesg"])
    if "info" in got:
        comparison.system(got["info"]["system"], args.panic)
    return comparison, got


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("guest")
    parser.add_argument("--gpusentinel", default="gpusentinel", help="program under test")
    parser.add_argument("--lab", default=str(HERE.parent.parent / "lab" / "guest"), help="lab/guest")
    parser.add_argument("--panic", action="store_true", help="panic the guest in place of freezing it")
    parser.add_argument("--inside", action="store_true", help="gpusentinel runs in the guest")
    parser.add_argument("--only", default="ps,mem,dmesg,info", type=lambda text: text.split(","))
    args = parser.parse_args()

    try:
        for number in range(1 if args.panic else ATTEMPTS):
            comparison, got = attempt(args)
            if not comparison.differences:
                break
            if number + 1 < ATTEMPTS and not args.panic:
                print(f"parity {args.guest}: attempt {number + 1}: {len(comparison.differences)} differences, "
                      f"the first: {comparison.differences[0]}", file=sys.stderr)
    except Unable as error:
        print(f"parity {args.guest}: {error}", file=sys.stderr)
        return 2
    for line in comparison.differences:
        print(f"parity {args.guest}: {line}")
    sizes = ", ".join(f"{name} {len(value)}" for name, value in got.items())
    print(f"parity {args.guest}{' after panic' if args.panic else ''}: {comparison.compared} values compared "
          f"({sizes}), {len(comparison.differences)} differ")
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
