#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detector `hidden` says nothing of a busy guest, and names processes, modules and sockets that someone hides.

    hidden.py KERNEL --gpusentinel PATH --detector PATH --links PATH --poke PATH [--long] [--outside] [--lab PATH]

What the detector counts must equal what the guest itself shows. Then the guest forks, loads modules and opens
connections as fast as it can: no finding. Then the lab's rootkit takes a process off the list of tasks and out of the
tree of numbers, and itself off the list of modules: the guest no longer shows them, the detector does, until they are
back. What the rootkit cannot do is done from outside, while the guest is frozen: a child, a kernel object, a socket, an
open file are taken off their lists, and the rootkit off all of them.
"""

import argparse
import contextlib
import json
import os
import pathlib
import queue
import re
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
PERIOD_MS = 250
# Seconds for what must be in every run of two seconds, on a machine that is busy.
PATIENCE = 60

# A socket that listens, both ends of a connection, and one of UDP.
SOCKETS = """
ip link set lo up
httpd -p 8080 -h /
(sleep 1000 | nc -l -p 9000 >/dev/null 2>&1) &
sleep 1
(sleep 1000 | nc 127.0.0.1 9000 >/dev/null 2>&1) &
syslogd -R 127.0.0.1:514
logger lab
sleep 1
"""

BUSY = """
for i in 1 2 3; do
    timeout $SECONDS sh -c 'while :; do busybox true; (sleep 0.01 &); done' >/dev/null 2>&1 &
done
timeout $SECONDS sh -c 'while :; do rmmod loop; insmod /modules/loop.ko; done' >/dev/null 2>&1 &
timeout $SECONDS sh -c 'while :; do wget -qO /dev/null http://127.0.0.1:8080/etc/passwd; done' >/dev/null 2>&1 &
"""


class Failed(Exception):
    """Something is not as it should be."""


def command(*argv, timeout=300):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          timeout=timeout, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv[:4]))}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Watch:
    """The detector, watching: the last rows, and what it found."""

    def __init__(self, args, guest):
        self.process = subprocess.Popen(
            [args.gpusentinel, "-t", f"qemu:{guest}", "-e", "cpu", "run", "--json", "--rows", "--period",
             str(PERIOD_MS), args.detector],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        self.rows = {}
        self.findings = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def take(self, seconds=PATIENCE):
        """The next record."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise Failed(f"the detector has not run for {seconds} s") from None
        if line is None:
            raise Failed("gpusentinel has ended")
        record = json.loads(line)
        if record["kind"] == "row":
            self.rows[next(iter(record["values"]))] = record["values"]
        else:
            self.findings.append(f"{record['state']} {record['severity']} {record['message']}")
        return record

    def quiet(self, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.take()
        if self.findings:
            raise Failed(f"{what}: " + "; ".join(self.findings[:10]))

    def expect(self, *patterns):
        """One finding for each pattern, in any order, and no other one."""
        end = time.monotonic() + PATIENCE
        while len(self.findings) < len(patterns) and time.monotonic() < end:
            self.take()
        found, self.findings = self.findings, []
        for pattern in patterns:
            if sum(bool(re.fullmatch(pattern, line)) for line in found) != 1:
                raise Failed(f"not found, or not once: {pattern}; found: " + "; ".join(found))
        if len(found) != len(patterns):
            raise Failed("more was found: " + "; ".join(found))

    def equals(self, name, values, what):
        """A row comes that has these values."""
        end = time.monotonic() + PATIENCE
        row = {}
        while time.monotonic() < end:
            record = self.take()
            row = self.rows.get(name, {})
            if record["kind"] == "row" and all(row.get(key) == value for key, value in values.items()):
                return
        raise Failed(f"{what}: {values} in the guest, {row} found")

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Guest:
    def __init__(self, args):
        self.name = f"hidden-{args.kernel.replace('.', '-')}-{os.getpid()}"
        self.args = args
        self.ram = pathlib.Path(os.environ.get("GPUSENTINEL_LAB_RAM", "/dev/shm"), f"gpusentinel-lab-{self.name}.ram")
        command(args.lab, "boot", self.name, "--kernel", args.kernel, "--procs", "100", "--timeout", "1200")

    def sh(self, text):
        return command(self.args.lab, "sh", self.name, "--timeout", "250", text)

    def trick(self, name):
        return command(self.args.lab, "fault", self.name, "rootkit", "--trick", name)

    def poke(self, address, value):
        """Write a word, and return the one that was there."""
        was = command(self.args.poke, f"qemu:{self.name}", self.ram, f"{address:#x}",
                      value.to_bytes(8, "little").hex()).strip()
        return int.from_bytes(bytes.fromhex(was), "little")

    @contextlib.contextmanager
    def frozen(self):
        command(self.args.lab, "freeze", self.name)
        yield
        command(self.args.lab, "thaw", self.name)

    def links(self):
        """The rows of hidden_links.c: [(what, numbers), ...]."""
        out = command(self.args.gpusentinel, "-t", f"qemu:{self.name}", "-e", "cpu", "run", "--once", "--rows",
                      "--json", self.args.links)
        rows = [json.loads(line)["values"] for line in out.splitlines()]
        return [(row["what"], [int(str(row[key]), 0) for key in row if key != "what"]) for row in rows]


def equal(guest, watch):
    """What /proc shows; the shell that looks is a task more."""
    tasks = int(guest.sh("set -- /proc/[0-9]*/task/[0-9]*; echo $#")) - 1
    watch.equals("tasks", {"list": tasks, "pid": tasks, "cgroup": tasks, "suspects": 0, "lost": 0}, "tasks")
    count = len(guest.sh("cat /proc/modules").splitlines())
    watch.equals("modules", {name: count for name in ("modules", "list", "sysfs", "tree", "bugs")}, "modules")
    lines = [line.split() for line in guest.sh("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6")
             .splitlines() if "local_address" not in line]
    tcp = [line for line in lines if line[3] in ("01", "0A") and line[9] != "0"]
    # Of UDP, those of files have an inode, as well.
    udp = [line for line in lines if line[3] == "07" and line[9] != "0"]
    if len(tcp) != 3 or not udp:
        raise Failed(f"the sockets of the guest are not as they should be: {lines}")
    watch.equals("sockets", {"sockets": len(tcp) + len(udp), "table": len(tcp) + len(udp), "ports": len(tcp)}, "sockets")


def rootkit(guest, watch):
    pid = int(re.search(r"pid=(\d+)", guest.trick("hide-task")).group(1))
    victim = rf"process is hidden: pid={pid} tid={pid} comm=lab-victim uid=1000"
    watch.expect(rf"open critical {victim} missing_in=list seen_in=pid,children,cgroup")
    guest.trick("hide-pid")
    guest.trick("hide-module")
    if guest.sh(f"ls -d /proc/[0-9]* | grep -cx /proc/{pid} || true; lsmod | grep -c rootkit || true").split() != ["0"] * 2:
        raise Failed("the guest still shows what is to be hidden")
    watch.expect(rf"open critical {victim} missing_in=list,pid seen_in=children,cgroup",
                 rf"closed critical {victim} missing_in=list seen_in=.*",
                 r"open critical module is hidden: module=lab_rootkit at=0x\w+ missing_in=list "
                 r"seen_in=sysfs,tree,bugs,ftrace")
    guest.trick("heal")
    watch.expect(rf"closed critical {victim} missing_in=list,pid .*", r"closed critical module is hidden: .*")


def unlink(guest):
    """Take off lists. Return what was written over, and where the files of the server are."""
    was, now = [], {}
    files = None

    def put(address, value):
        was.append((address, guest.poke(address, value)))
        now[address] = value

    for what, numbers in guest.links():
        if what == "file":
            files = numbers
        elif what == "module-tree":
            put(numbers[0], 0)
        elif what in ("table", "ports"):
            at, following, before = numbers
            put(before, following)
            # The end of a list is an odd value or NULL.
            if following and not following & 1:
                put(following + 8, before)
            put(at + 8, 0)
        else:
            # A neighbour may have gone before it.
            at, following, before = numbers
            following, before = now.get(at, following), now.get(at + 8, before)
            put(before, following)
            put(following + 8, before)
    return was, files


def from_outside(guest, watch):
    pid = int(guest.sh("grep -lx proc-00001 /proc/[0-9]*/comm").split("/")[2])
    server = int(guest.sh("pidof httpd"))
    guest.sh("[ -d /sys/module/loop ] || insmod /modules/loop.ko")
    with guest.frozen():
        was, (files, fd, open_fds) = unlink(guest)
    found = [rf"process is hidden: pid={pid} tid={pid} comm=proc-00001 uid=\d+ missing_in=children "
             r"seen_in=list,pid,cgroup",
             r"module is hidden: module=loop at=0x\w+ missing_in=sysfs seen_in=list,tree,bugs,ftrace",
             rf"socket is hidden: pid={server} comm=httpd protocol=tcp port=8080 peer=\S+ peer_port=0 state=10 "
             r"missing_in=table,ports seen_in=file"]
    if not guest.args.outside:
        found.append(r"code of a module that is nowhere else: at=0x\w+ functions=\d+")
    watch.expect(*("open critical " + line for line in found))
    with guest.frozen():
        for address, value in reversed(was):
            guest.poke(address, value)
        # The file is no longer in the files of its process.
        guest.poke(files, open_fds & ~(1 << fd))
    watch.expect(r"open warning socket listens that is in no process's files: protocol=tcp port=8080 "
                 r"ready=sock_def_readable\+0x0/.*", *("closed critical " + line + ".*" for line in found))
    with guest.frozen():
        guest.poke(files, open_fds)
    watch.expect(r"closed warning socket listens .*")


def check(args, guest, watch):
    guest.sh(SOCKETS)
    equal(guest, watch)
    seconds = 60 if args.long else 6
    guest.sh(BUSY.replace("$SECONDS", str(seconds)))
    watch.quiet(seconds + 1, "a busy guest")
    if not args.outside:
        rootkit(guest, watch)
    from_outside(guest, watch)
    guest.sh("true")
    watch.quiet(1, "all is back")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("kernel")
    parser.add_argument("--gpusentinel", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--links", required=True)
    parser.add_argument("--poke", required=True)
    parser.add_argument("--lab", default=str(HERE.parent.parent / "lab" / "guest"))
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--outside", action="store_true", help="no rootkit, for kernels that no module can be built for")
    args = parser.parse_args()

    guest = watch = None
    try:
        guest = Guest(args)
        watch = Watch(args, guest.name)
        check(args, guest, watch)
        print(f"hidden {args.kernel}: {watch.rows}")
        return 0
    except Failed as error:
        print(f"hidden {args.kernel}: {error}")
        return 1
    finally:
        if watch:
            watch.end()
        if guest:
            subprocess.run([args.lab, "stop", guest.name], stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    sys.exit(main())
