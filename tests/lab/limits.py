#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detectors tasks and files find what runs out before it has, and who has it, and nothing in a healthy guest.

    limits.py KERNEL --gpusentinel PATH --detectors DIRECTORY

Processes fork until there are 1000, and threads, files, inodes and descriptors come near what there may be. What the
detectors show is compared with /proc.
"""

import re
import sys

from watched import Failed, Watch, rows, run_test

BUSY = """
for i in $(seq 100); do /bin/true; done
for i in 1 2 3; do (sleep 1 & sleep 1 & wait); done
mkdir -p /run/some; mount -t tmpfs -o nr_inodes=100 some /run/some; for i in $(seq 50); do : >/run/some/$i; done
true
"""

# Descriptors of each process, and its limit.
FDS = r"""
for p in /proc/[0-9]*; do
    [ -e $p/exe ] || continue
    set -- $(ls $p/fd 2>/dev/null)
    echo ${p#/proc/} $# $(sed -n 's/^Max open files *\([0-9]*\) .*/\1/p' $p/limits)
done
"""


# Some with more of them than others.
OPEN = """
for i in 1 2 3; do
    (exec 5</dev/null 6</dev/null; ulimit -n $((100 * i)); exec sleep 30) >/dev/null 2>&1 &
done
(exec 7</dev/null; exec sleep 30) >/dev/null 2>&1 &
sleep 0.3
"""


def equal_files(args, guest):
    guest.sh(OPEN)
    lines = [line.split() for line in guest.sh(FDS).splitlines()]
    theirs = {int(pid): (int(files), int(limit)) for pid, files, limit in lines}
    ours = {row["pid"]: (row["files"], row["limit"])
            for row in rows(args.gpusentinel, guest, f"{args.detectors}/files.so")}
    # The shell that looked has gone, and with it what init had open for it.
    differ = {pid: (ours[pid], theirs.get(pid)) for pid in ours if ours[pid] != theirs.get(pid) and pid != 1}
    if differ or len(ours) < 5 or len(set(ours.values())) < 4:
        raise Failed(f"files differ from /proc: {differ}, {len(ours)} processes")


def equal_tasks(args, guest):
    row = rows(args.gpusentinel, guest, f"{args.detectors}/tasks.so")[0]
    sysctl = [int(word) for word in guest.sh("cd /proc/sys/kernel; cat threads-max pid_max").split()]
    threads = int(guest.sh("cut -d' ' -f4 /proc/loadavg").split("/")[1])
    if [row["threads_max"], row["pid_max"]] != sysctl or abs(row["threads"] - threads) > 8:
        raise Failed(f"tasks differ from /proc: {row}, {sysctl}, {threads}")


def run_out_of_files(args, guest):
    with Watch(args.gpusentinel, guest, f"{args.detectors}/files.so") as watch:
        guest.sh(BUSY)
        watch.quiet("a healthy guest", 2)
        guest.lab("fault", "inodes", "--count", "200")
        watch.expect(r"^(open|changed) critical inodes: inodes run out: tmpfs device=0:\d+ used=\d+ of limit=\d+ percent=(9[5-9]|100)")
        guest.lab("fault", "heal")
        watch.expect(r"^closed critical inodes: ")
        guest.lab("fault", "fds", "--count", "200")
        watch.expect(r"^(open|changed) warning descriptors: a process runs out of descriptors: pid=\d+ comm=fd-hog files=\d+ limit=200 ")
        guest.lab("fault", "heal")
        watch.expect(r"^closed warning descriptors: .*comm=fd-hog")
        guest.lab("fault", "file-max", "--count", "1000")
        watch.expect(r"^(open|changed) critical files: files run out: used=\d+ of limit=\d+ percent=\d+, "
                     r"most by pid=\d+ comm=fd-hog files=\d+")
        guest.lab("fault", "heal")
        watch.expect(r"^closed critical files: ")


def run_out_of_tasks(args, guest):
    with Watch(args.gpusentinel, guest, f"{args.detectors}/tasks.so", "-p", "tasks.growth_per_s=20",
               "-p", "tasks.growth_tasks=300") as watch:
        guest.sh(BUSY)
        watch.quiet("a healthy guest", 2)
        guest.lab("fault", "forkbomb", "--count", "1000")
        found = watch.expect(r"^open warning explosion: tasks multiply: threads=\d+ grown=\d+ per_s=\d+, .*comm2=forkbomb")
        grown, session = (int(re.search(rf"{name}=(\d+)", found).group(1)) for name in ("grown", "count2"))
        if grown < 300 or session < 50:
            raise Failed(f"too few to be told: {found}")
        guest.lab("fault", "heal")
        watch.expect(r"^closed warning explosion: ")
        for what, fault in ("threads", "threads-max"), ("pids", "pid-max"):
            watch.forget()
            try:
                guest.lab("fault", fault, "--count", "600", "--for", "4")
            except Failed:
                # The guest's own shell may be the one that gets none any more.
                pass
            watch.expect(rf"^(open|changed) critical limit: {what} run out: used=\d+ of most=\d+ percent=\d+; .*comm2=\S+")
            watch.expect(rf"^closed critical limit: {what} ")


def check(args, guest):
    equal_files(args, guest)
    equal_tasks(args, guest)
    run_out_of_files(args, guest)
    run_out_of_tasks(args, guest)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detectors"))
