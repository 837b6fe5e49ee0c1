#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No detector takes healthy work for a fault.

    healthy.py KERNEL --gpusentinel PATH --seconds N

A guest is busy in all the ways of `lab/guest busy` (processes, files, memory, modules, CPU hotplug, tracing, pauses by its
hypervisor), and all detectors of the build watch it. Nothing of severity error or above may be found. Then the
guest panics, which must be found: all the while somebody was watching.
"""

import sys
import threading

from watched import PATIENCE, Failed, Run, run_test

SERIOUS = ("error", "critical")


class Watch(Run):
    """All detectors, watching; their findings as they come."""

    def __init__(self, *words):
        self.findings = []
        self.panic = threading.Event()
        super().__init__(*words)

    def take(self, record):
        if record and record["kind"] == "finding":
            self.findings.append(record)
            if record["detector"] == "panic":
                self.panic.set()

    def serious(self):
        return [f"{finding['severity']} {finding['detector']}: {finding['message']}" for finding in list(self.findings)
                if finding["severity"] in SERIOUS]


def nothing_serious(guest, watch, seconds):
    print(guest.lab("busy", "--for", str(seconds), timeout=seconds + 300).strip())
    if watch.process.poll() is not None:
        raise Failed("gpusentinel has ended")
    serious = watch.serious()
    if serious:
        raise Failed(f"{len(serious)} findings in a healthy guest: " + "; ".join(serious[:10]))
    guest.lab("fault", "panic")
    if not watch.panic.wait(PATIENCE):
        raise Failed(f"a panic was not found in {PATIENCE} s")


def check(args, guest):
    with Watch(args.gpusentinel, guest) as watch:
        nothing_serious(guest, watch, int(args.seconds))
    others = {finding["message"].split(":")[0] for finding in watch.findings if finding["severity"] not in SERIOUS}
    print(f"nothing serious in {args.seconds} s; of less weight: {', '.join(sorted(others)) or 'nothing'}")


if __name__ == "__main__":
    # As long as the longest run takes, and some.
    sys.exit(run_test(check, "--seconds", boot=["--procs", "50", "--timeout", "2400"]))
