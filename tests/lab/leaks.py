#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detector `leaks` finds what really leaks in a guest, with its culprit, and nothing in a healthy one.

    leaks.py KERNEL --gpusentinel PATH --detector PATH --leak PATH

Its rows equal /proc/slabinfo, /proc/buddyinfo and /proc/vmallocinfo.
"""

import collections
import re
import sys
import time

from watched import Failed, Watch, rows, run_test

# What the program `leak` takes in MiB a second, for some seconds, and what must be found.
LEAKS = [
    ("rss", 6, "process grows: pid=[0-9]+ comm=leak kb="),
    ("slab", 3, "slab cache grows: cache=[^ ]+ kb="),
    ("vmalloc", 3, r"vmalloc grows: caller=(array_map_alloc|bpf_map_area_alloc|__bpf_map_area_alloc)\S* kb="),
    ("pagetables", 3, "page tables grow: .*most has: pid=[0-9]+ comm=leak"),
]
LEAK_SECONDS = 20

# The same of the lab's kernel module, in MiB a second.
KERNEL_LEAKS = [
    ("leak-cache", 3, "slab cache grows: cache=lab_leak kb="),
    ("leak-vmalloc", 3, r"vmalloc grows: caller=\S+ \[lab_fault\] kb="),
    ("leak-pages", 3, "pages that no counter has grow: kb="),
]
KERNEL_LEAK_MIB = 80


def stable(args, guest, path, rows_of):
    """What the guest showed before and after a run of the detector, and the rows of that run."""
    before = guest.sh(f"cat {path}").splitlines()
    got = rows_of(rows(args.gpusentinel, guest, args.detector))
    after = set(guest.sh(f"cat {path}").splitlines())
    return [line for line in before if line in after], got


def equal_slabinfo(args, guest):
    lines, got = stable(args, guest, "/proc/slabinfo", lambda all_rows: {
        row["cache"]: [row["objects"], row["object_size"], row["objects_per_slab"], row["pages_per_slab"],
                       row["slabs"]] for row in all_rows if "cache" in row})
    lines = [line.split() for line in lines if re.match(r"[^#]*:.*: slabdata", line)]
    for word in lines:
        want = [int(word[2]), int(word[3]), int(word[4]), int(word[5]), int(word[14])]
        # The guest shows the size of a slot under a name that says otherwise.
        if got.get(word[0]) != want:
            raise Failed(f"cache {word[0]}: {got.get(word[0])}, /proc/slabinfo has {want}")
    if len(lines) < 50:
        raise Failed(f"only {len(lines)} caches were compared")


def equal_buddyinfo(args, guest):
    lines, got = stable(args, guest, "/proc/buddyinfo", lambda all_rows: {
        (row["node"], row["zone"]): [row[f"free{order}"] for order in range(11)]
        for row in all_rows if "zone" in row})
    for line in lines:
        word = line.replace(",", "").split()
        if got.get((int(word[1]), word[3])) != list(map(int, word[4:])):
            raise Failed(f"zone {word[3]}: {got}, /proc/buddyinfo has {line}")
    if not lines:
        raise Failed("no zone stayed the same while it was compared")


def equal_vmallocinfo(args, guest):
    lines, got = stable(args, guest, "/proc/vmallocinfo", lambda all_rows: {
        row["caller"]: row["vmalloc_kb"] for row in all_rows if "caller" in row})
    want = collections.Counter()
    for line in lines:
        match = re.match(r"\S+ +\d+ (\S+) .*pages=(\d+)", line)
        if match:
            want[match[1]] += int(match[2]) * 4
    if not got or any(want[caller] != kb for caller, kb in got.items()):
        raise Failed(f"vmalloc: {got}, /proc/vmallocinfo has {dict(want)}")


def leaks(guest, watch):
    """All at once, each with a name of its own."""
    for what, mib, _ in LEAKS:
        guest.sh(f"/tmp/leak {what} {mib} {LEAK_SECONDS} >/tmp/{what}.log 2>&1 &")
    for _, _, pattern in LEAKS:
        print(watch.expect("open warning leak: .*" + pattern))
    print(watch.expect("open (warning|error) exhaustion: memory is exhausted in about [0-9]+ s: .*comm=leak"))
    guest.sh("killall leak")
    for _, _, pattern in LEAKS:
        watch.expect("closed warning leak: .*" + pattern)
    watch.expect("closed (warning|error) exhaustion:")
    watch.forget()


def kernel_leaks(guest, watch):
    """What a driver takes and never gives back: there is no process to blame."""
    for what, mib, _ in KERNEL_LEAKS:
        guest.lab("fault", what, "--rate", str(mib * 1024), "--count", str(KERNEL_LEAK_MIB))
    for _, _, pattern in KERNEL_LEAKS:
        print(watch.expect("open warning leak: .*" + pattern))
    guest.lab("fault", "heal")
    for _, _, pattern in KERNEL_LEAKS:
        watch.expect("closed warning leak: .*" + pattern)
    watch.forget()


def available_mib(args, guest):
    return next(row["available_kb"] for row in rows(args.gpusentinel, guest, args.detector) if "available_kb" in row) // 1024


def fragmentation(args, guest, watch):
    """Nearly all memory in pieces; not all of it, as some of its free blocks come to lie side by side."""
    # The kernel shall not move them together of its own accord; since v5.9.
    guest.sh("echo 0 >/proc/sys/vm/compaction_proactiveness 2>/dev/null; true")
    # What was leaked before comes back in its own time.
    before, available = 0, available_mib(args, guest)
    while available > before:
        time.sleep(1)
        before, available = available, available_mib(args, guest)
    guest.sh(f"/tmp/leak fragment {available - 15} 0 >/tmp/fragment.log 2>&1 &")
    print(watch.expect("open warning fragmentation: free memory is in pieces: order=3"))
    guest.sh("killall leak")
    watch.expect("closed warning fragmentation:")
    watch.forget()


def swap(guest, watch):
    guest.sh("head -c 8388608 /dev/zero >/tmp/swap && losetup /dev/loop0 /tmp/swap && mkswap /dev/loop0 >/dev/null && "
             "swapon /dev/loop0")
    watch.quiet("swap that is free", 1, allowed="closed")
    guest.sh("/tmp/leak swap 8 1 >/tmp/swap.log 2>&1 &")
    print(watch.expect("open warning swap: swap is exhausted: free_kb=[0-9]+ of total_kb=8188 "))
    guest.sh("killall leak")
    watch.expect("closed warning swap: ")


def check(args, guest):
    guest.put(args.leak, "/tmp/leak")
    equal_slabinfo(args, guest)
    equal_buddyinfo(args, guest)
    equal_vmallocinfo(args, guest)
    with Watch(args.gpusentinel, guest, args.detector, "-p", "leaks.fragmented_percent=75") as watch:
        guest.sh("for i in $(seq 200); do cat /proc/slabinfo >/dev/null; done")
        watch.quiet("a healthy guest", 8)
        leaks(guest, watch)
        kernel_leaks(guest, watch)
        fragmentation(args, guest, watch)
        swap(guest, watch)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detector", "--leak", module="lab_fault"))
