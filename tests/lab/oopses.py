#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detectors oops and panic say what hit whom, within a second, and nothing of a healthy guest.

    oopses.py KERNEL --gpusentinel PATH --detectors DIRECTORY

Faults of a module of the lab: a write to a NULL pointer, BUG(), WARN(), and at last an oops that ends in a panic. Each
finding must have its reason, the task, the function that was hit, and the letters that /proc/sys/kernel/tainted stands for.
"""

import re
import sys
import time

from watched import Failed, Watch, run_test

# From the write that makes a fault to its finding, in seconds: the fault begins 0.3 s after it.
SOON = 1.3
# kernel/panic.c, by bit.
LETTERS = "PFSRMBUDAWCIOELKXTNJ"


def letters(guest):
    mask = int(guest.sh("cat /proc/sys/kernel/tainted"))
    return "".join(letter for bit, letter in enumerate(LETTERS) if mask >> bit & 1)


def inject(guest, fault):
    """Without waiting for what the guest's console says of it. @return when."""
    guest.sh(f"echo {fault} >/sys/module/lab_fault/parameters/fault")
    return time.monotonic()


def expect_soon(watch, begin, pattern):
    found = watch.expect(pattern)
    passed = time.monotonic() - begin
    if passed > SOON:
        raise Failed(f"found only after {passed:.2f} s: {found}")
    return found


def oops(guest, watch, fault, reason, function, number):
    begin = inject(guest, fault)
    found = expect_soon(watch, begin, rf"^event critical : {reason}.*; cpu=0 pid=\d+ comm=lab-{fault} oopses={number} ")
    # A guest that is slow to write has come no further than the function that was hit.
    if not re.search(rf"stack={function}\+0x\w+/0x\w+ \[lab_fault\]($| < kthread\+\S+ < ret_from_fork\+)", found):
        raise Failed(f"its stack is not as it should be: {found}")
    # D is set when the oops is over.
    taint = re.search(r"taint=(\S+)", found).group(1)
    if taint.replace("D", "") != letters(guest).replace("D", ""):
        raise Failed(f"taint is {letters(guest)}: {found}")
    watch.forget()


def check(args, guest):
    with Watch(args.gpusentinel, guest, f"{args.detectors}/oops.so", f"{args.detectors}/panic.so") as watch:
        # A newer kernel may have warned of something while it started.
        watch.quiet("a healthy guest", 2, r"^event info : the kernel has warned before")
        # Loads the module.
        guest.lab("fault", "warn")
        watch.expect(r"^event warning : kernel warning: warnings=1 WARNING: .*fault_warn\+")
        watch.forget()
        oops(guest, watch, "oops", "BUG: kernel NULL pointer dereference, address: 0000000000000008", "fault_oops", 1)
        oops(guest, watch, "bug", "kernel BUG at ", "fault_bug", 2)
        watch.quiet("a guest that goes on", 1)
        guest.sh("echo 1 >/proc/sys/kernel/panic_on_oops")
        begin = inject(guest, "oops")
        expect_soon(watch, begin, r"^event critical : kernel panic: cpu=0 pid=\d+ comm=lab-oops$")
        found = expect_soon(watch, begin, r"^event critical : Fatal exception; cpu=0 pid=\d+ comm=lab-oops taint=\w+")
        if not re.search(r"stack=fault_oops\+\S+ \[lab_fault\] < kthread\+", found):
            raise Failed(f"its stack is not as it should be: {found}")
        watch.poll(1)
        if sum("kernel panic: " in finding for finding in watch.findings) != 1:
            raise Failed(f"told more than once: {watch.findings}")


if __name__ == "__main__":
    sys.exit(run_test(check, "--detectors", module="lab_fault"))
