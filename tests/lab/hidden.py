#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detector `hidden` says nothing of a busy guest, and names processes, modules and sockets that someone hides.

    hidden.py KERNEL --gpusentinel PATH --detector PATH --links PATH --poke PATH [--long]

What the detector counts must equal what the guest itself shows. Then the guest forks, loads modules and opens
connections as fast as it can: no finding. Then the lab's rootkit takes a process off the list of tasks and out of the
tree of numbers, and itself off the list of modules: the guest no longer shows them, the detector does, until they are
back. What the rootkit cannot do is done from outside, while the guest is frozen: a child, a kernel object, a socket, an
open file are taken off their lists, and the rootkit off all of them. The latter is all where no headers are to be had.
"""

import re
import sys
import time

from watched import PATIENCE, Failed, Records, command, rows, run_test, without_module

PERIOD_MS = 250

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


class Watch(Records):
    """The detector, watching: the last rows, and what it found."""

    def __init__(self, args, guest):
        self.rows = {}
        self.findings = []
        super().__init__(args.gpusentinel, guest, "--rows", "--period", str(PERIOD_MS), args.detector)

    def next(self):
        record = super().next()
        if record["kind"] == "row":
            self.rows[next(iter(record["values"]))] = record["values"]
        else:
            self.findings.append(f"{record['state']} {record['severity']} {record['message']}")
        return record

    def quiet(self, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.next()
        if self.findings:
            raise Failed(f"{what}: " + "; ".join(self.findings[:10]))

    def expect(self, *patterns):
        """One finding for each pattern, in any order, and no other one."""
        end = time.monotonic() + PATIENCE
        while len(self.findings) < len(patterns) and time.monotonic() < end:
            self.next()
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
            record = self.next()
            row = self.rows.get(name, {})
            if record["kind"] == "row" and all(row.get(key) == value for key, value in values.items()):
                return
        raise Failed(f"{what}: {values} in the guest, {row} found")


def trick(guest, name):
    return guest.lab("fault", "rootkit", "--trick", name)


def poke(args, guest, address, value):
    """Write a word, and return the one that was there."""
    was = command(args.poke, f"qemu:{guest.name}", guest.ram, f"{address:#x}", value.to_bytes(8, "little").hex()).strip()
    return int.from_bytes(bytes.fromhex(was), "little")


def links(args, guest):
    """The rows of hidden_links.c: [(what, numbers), ...]."""
    found = rows(args.gpusentinel, guest, args.links)
    return [(row["what"], [int(str(row[key]), 0) for key in row if key != "what"]) for row in found]


def equal(guest, watch):
    """What /proc shows; the shell that looks is a task more."""
    tasks = int(guest.sh("set -- /proc/[0-9]*/task/[0-9]*; echo $#")) - 1
    watch.equals("tasks", {"list": tasks, "pid": tasks, "cgroup": tasks, "suspects": 0, "lost": 0}, "tasks")
    count = len(guest.sh("cat /proc/modules").splitlines())
    watch.equals("modules", {name: count for name in ("modules", "list", "sysfs", "tree", "bugs")}, "modules")
    end = time.monotonic() + PATIENCE
    tcp = udp = ()
    while len(tcp) != 3 or not udp:
        if time.monotonic() > end:
            raise Failed(f"the sockets of the guest are not as they should be: {tcp} and {udp}")
        # Those of files have an inode.
        lines = [line.split() for line in guest.sh("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6")
                 .splitlines() if "local_address" not in line]
        tcp = [line for line in lines if line[3] in ("01", "0A") and line[9] != "0"]
        udp = [line for line in lines if line[3] == "07" and line[9] != "0"]
    watch.equals("sockets", {"sockets": len(tcp) + len(udp), "table": len(tcp) + len(udp), "ports": len(tcp)}, "sockets")


def rootkit(guest, watch):
    pid = int(re.search(r"pid=(\d+)", trick(guest, "hide-task")).group(1))
    victim = rf"process is hidden: pid={pid} tid={pid} comm=lab-victim uid=1000"
    watch.expect(rf"open critical {victim} missing_in=list seen_in=pid,children,cgroup")
    trick(guest, "hide-pid")
    trick(guest, "hide-module")
    if guest.sh(f"ls -d /proc/[0-9]* | grep -cx /proc/{pid} || true; lsmod | grep -c rootkit || true").split() != ["0"] * 2:
        raise Failed("the guest still shows what is to be hidden")
    watch.expect(rf"open critical {victim} missing_in=list,pid seen_in=children,cgroup",
                 rf"closed critical {victim} missing_in=list seen_in=.*",
                 r"open critical module is hidden: module=lab_rootkit at=0x\w+ missing_in=list "
                 r"seen_in=sysfs,tree,bugs,ftrace")
    trick(guest, "heal")
    watch.expect(rf"closed critical {victim} missing_in=list,pid .*", r"closed critical module is hidden: .*")


def unlink(args, guest):
    """Take off lists. Return what was written over, and where the files of the server are."""
    was, now = [], {}
    files = None

    def put(address, value):
        was.append((address, poke(args, guest, address, value)))
        now[address] = value

    for what, numbers in links(args, guest):
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


def from_outside(args, guest, watch, built):
    pid = int(guest.sh("grep -lx proc-00001 /proc/[0-9]*/comm").split("/")[2])
    server = int(guest.sh("pidof httpd"))
    guest.sh("[ -d /sys/module/loop ] || insmod /modules/loop.ko")
    with guest.frozen():
        was, (files, fd, open_fds) = unlink(args, guest)
    found = [rf"process is hidden: pid={pid} tid={pid} comm=proc-00001 uid=\d+ missing_in=children "
             r"seen_in=list,pid,cgroup",
             r"module is hidden: module=loop at=0x\w+ missing_in=sysfs seen_in=list,tree,bugs,ftrace",
             rf"socket is hidden: pid={server} comm=httpd protocol=tcp port=8080 peer=\S+ peer_port=0 state=10 "
             r"missing_in=table,ports seen_in=file"]
    if built:
        found.append(r"code of a module that is nowhere else: at=0x\w+ functions=\d+")
    watch.expect(*("open critical " + line for line in found))
    with guest.frozen():
        for address, value in reversed(was):
            poke(args, guest, address, value)
        # The file is no longer in the files of its process.
        poke(args, guest, files, open_fds & ~(1 << fd))
    watch.expect(r"open warning socket listens that is in no process's files: protocol=tcp port=8080 "
                 r"ready=sock_def_readable\+0x0/.*", *("closed critical " + line + ".*" for line in found))
    with guest.frozen():
        poke(args, guest, files, open_fds)
    watch.expect(r"closed warning socket listens .*")


def check(args, guest):
    missing = without_module(args.kernel, "lab_rootkit")
    if missing:
        print(f"no rootkit: {missing}")
    guest.sh(SOCKETS)
    with Watch(args, guest) as watch:
        equal(guest, watch)
        seconds = 60 if args.long else 6
        guest.sh(BUSY.replace("$SECONDS", str(seconds)))
        watch.quiet(seconds + 1, "a busy guest")
        if not missing:
            rootkit(guest, watch)
        from_outside(args, guest, watch, not missing)
        guest.sh("true")
        watch.quiet(1, "all is back")
        print(watch.rows)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detector", "--links", "--poke", flags=["--long"], boot=["--procs", "100"]))
