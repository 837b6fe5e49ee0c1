#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No detector takes healthy work for a fault.

    healthy.py KERNEL --gpusentinel PATH [--seconds N] [--lab PATH]

A guest is busy in all the ways of `lab/guest busy` (processes, files, memory, modules, CPU hotplug, tracing, pauses by its
hypervisor), and all detectors of the build watch it. Nothing of severity error or above may be found. Then the
guest panics, which must be found: all the while somebody was watching.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
SERIOUS = ("error", "critical")
# Seconds until a panic must have been found, on a machine that is busy.
PATIENCE = 60


class Failed(Exception):
    """Something is not as it should be."""


def command(*argv, timeout=300):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          timeout=timeout, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv[:4]))}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Watch:
    """All detectors, watching; their findings as they come."""

    def __init__(self, gpusentinel, guest):
        self.process = subprocess.Popen([gpusentinel, "-t", f"qemu:{guest}", "-e", "cpu", "run", "--json"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        text=True)
        self.findings = []
        self.errors = []
        self.panic = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()
        # A pipe that nobody reads would hold it up.
        threading.Thread(target=self.read_errors, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            record = json.loads(line)
            if record["kind"] != "finding":
                continue
            self.findings.append(record)
            if record["detector"] == "panic":
                self.panic.set()

    def read_errors(self):
        self.errors.extend(self.process.stderr)

    def serious(self):
        return [f"{finding['severity']} {finding['detector']}: {finding['message']}" for finding in list(self.findings)
                if finding["severity"] in SERIOUS]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def check(args, guest, watch):
    print(command(args.lab, "busy", guest, "--for", str(args.seconds), timeout=args.seconds + 300).strip())
    if watch.process.poll() is not None:
        raise Failed("gpusentinel has ended: " + "".join(watch.errors))
    serious = watch.serious()
    if serious:
        raise Failed(f"{len(serious)} findings in a healthy guest: " + "; ".join(serious[:10]))
    command(args.lab, "fault", guest, "panic")
    if not watch.panic.wait(PATIENCE):
        raise Failed(f"a panic was not found in {PATIENCE} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("kernel")
    parser.add_argument("--gpusentinel", required=True)
    parser.add_argument("--lab", default=str(HERE.parent.parent / "lab" / "guest"))
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    guest = f"healthy-{args.kernel.replace('.', '-')}-{os.getpid()}"
    watch = None
    try:
        command(args.lab, "boot", guest, "--kernel", args.kernel, "--procs", "50", "--timeout", str(args.seconds + 600))
        watch = Watch(args.gpusentinel, guest)
        check(args, guest, watch)
        others = {finding["message"].split(":")[0] for finding in watch.findings if finding["severity"] not in SERIOUS}
        print(f"healthy {args.kernel}: nothing serious in {args.seconds} s; of less weight: "
              f"{', '.join(sorted(others)) or 'nothing'}")
        return 0
    except Failed as error:
        print(f"healthy {args.kernel}: {error}")
        return 1
    finally:
        if watch:
            watch.end()
        subprocess.run([args.lab, "stop", guest], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    sys.exit(main())
