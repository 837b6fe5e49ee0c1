#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No detector takes healthy work for a fault.

    healthy.py KERNEL --gpusentinel PATH [--seconds N]

A guest is busy in all the ways of `lab/guest busy` (processes, files, memory, modules, CPU hotplug, tracing, pauses by its
hypervisor), and all detectors of the build watch it. Nothing of severity error or above may be found. Then the
guest panics, which must be found: all the while somebody was watching.
"""

import argparse
import subprocess
import sys
import threading

from watched import PATIENCE, Failed, Guest, Run

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


def check(args, guest, watch):
    print(guest.lab("busy", "--for", str(args.seconds), timeout=args.seconds + 300).strip())
    if watch.process.poll() is not None:
        raise Failed("gpusentinel has ended")
    serious = watch.serious()
    if serious:
        raise Failed(f"{len(serious)} findings in a healthy guest: " + "; ".join(serious[:10]))
    guest.lab("fault", "panic")
    if not watch.panic.wait(PATIENCE):
        raise Failed(f"a panic was not found in {PATIENCE} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("kernel")
    parser.add_argument("--gpusentinel", required=True)
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    guest = None
    try:
        guest = Guest("healthy", args.kernel, "--procs", "50", "--timeout", str(args.seconds + 600))
        with Watch(args.gpusentinel, guest) as watch:
            check(args, guest, watch)
        others = {finding["message"].split(":")[0] for finding in watch.findings if finding["severity"] not in SERIOUS}
        print(f"healthy {args.kernel}: nothing serious in {args.seconds} s; of less weight: "
              f"{', '.join(sorted(others)) or 'nothing'}")
        return 0
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"healthy {args.kernel}: {error}")
        return 1
    finally:
        if guest:
            guest.stop()


if __name__ == "__main__":
    sys.exit(main())
