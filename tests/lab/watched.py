# SPDX-License-Identifier: Apache-2.0
"""A guest of the lab, and gpusentinel that watches it: what the tests of detectors have in common."""

import argparse
import contextlib
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
LAB = HERE.parent.parent / "lab" / "guest"
# Seconds for what must happen, on a machine that is busy.
PATIENCE = 60


class Failed(Exception):
    """Something is not as it should be."""


def command(*argv, stdin=subprocess.DEVNULL, timeout=300):
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=stdin,
                          text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv[:4]))}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Guest:
    def __init__(self, name, kernel, *options):
        self.name = f"{name}-{kernel.replace('.', '-')}-{os.getpid()}"
        self.ram = pathlib.Path(os.environ.get("GPUSENTINEL_LAB_RAM", "/dev/shm"), f"gpusentinel-lab-{self.name}.ram")
        command(LAB, "boot", self.name, "--kernel", kernel, "--timeout", "1200", *options)

    def sh(self, text):
        return command(LAB, "sh", self.name, "--timeout", "250", text)

    def put(self, file, path):
        with open(file, "rb") as data:
            command(LAB, "sh", self.name, "-i", f"cat >{path} && chmod 755 {path}", stdin=data)

    def lab(self, word, *argv, **options):
        return command(LAB, word, self.name, *argv, **options)

    @contextlib.contextmanager
    def frozen(self):
        self.lab("freeze")
        yield
        self.lab("thaw")

    def stop(self):
        subprocess.run([LAB, "stop", self.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def rows(gpusentinel, guest, detector):
    """Values of the rows of one run."""
    out = command(gpusentinel, "-t", f"qemu:{guest.name}", "-e", "cpu", "run", "--once", "--json", "--rows", detector)
    return [record["values"] for record in map(json.loads, out.splitlines()) if record["kind"] == "row"]


class Run:
    """`gpusentinel run --json` on a guest; a thread of its own takes what it prints."""

    def __init__(self, gpusentinel, guest, *words):
        self.process = subprocess.Popen([gpusentinel, "-t", f"qemu:{guest.name}", "-e", "cpu", "run", "--json", *words],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.take(json.loads(line))
        self.take(None)

    def take(self, record):
        """A record; None at the end."""
        raise NotImplementedError

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.end()


class Records(Run):
    """What it prints, one record after the other."""

    def __init__(self, *words):
        self.records = queue.Queue()
        super().__init__(*words)

    def take(self, record):
        self.records.put(record)

    def next(self):
        try:
            record = self.records.get(timeout=PATIENCE)
        except queue.Empty:
            raise Failed(f"the detector has not run for {PATIENCE} s") from None
        if record is None:
            raise Failed("gpusentinel has ended")
        return record


class Watch(Run):
    """What it finds is in findings, as "open warning TABLE: MESSAGE"; events have no table."""

    def __init__(self, *words):
        self.findings = []
        self.lines = queue.Queue()
        super().__init__(*words)

    def take(self, record):
        if record and record["kind"] == "finding":
            table = record.get("alarm", "")
            self.lines.put(f"{record['state']} {record['severity']} {table}: {record['message']}")

    def poll(self, seconds):
        """What comes within so long, until something has come."""
        try:
            self.findings.append(self.lines.get(timeout=seconds))
            while True:
                self.findings.append(self.lines.get_nowait())
        except queue.Empty:
            pass

    def expect(self, pattern, patience=PATIENCE):
        """Wait for a finding like that, and return it."""
        deadline = time.monotonic() + patience
        while True:
            for finding in self.findings:
                if re.search(pattern, finding):
                    return finding
            if self.process.poll() is not None:
                raise Failed("gpusentinel has ended")
            if time.monotonic() > deadline:
                raise Failed(f"nothing like '{pattern}' was found, but: {'; '.join(self.findings) or 'nothing'}")
            self.poll(0.5)

    def quiet(self, what, seconds, allowed=None):
        """For so long, nothing is found but what matches."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.poll(max(0.0, deadline - time.monotonic()))
        wrong = [f for f in self.findings if not allowed or not re.search(allowed, f)]
        if wrong:
            raise Failed(f"{what}: {'; '.join(wrong)}")
        self.findings = []

    def forget(self):
        self.poll(0)
        self.findings = []


def without_module(kernel, module):
    """Why the lab's module cannot be built for that kernel; nothing if it can."""
    try:
        command(LAB, "module", kernel, "cloud", module)
    except Failed as error:
        if "not on the mirror" not in str(error):
            raise
        return str(error)
    return ""


def run_test(check, *options, flags=(), module=None, boot=()):
    """The main program of a test: KERNEL, --gpusentinel and such options; check(args, guest) on a guest that is booted so.

    Of a kernel that there are no headers for, to build the module, the test is skipped.
    """
    main = sys.modules["__main__"]
    parser = argparse.ArgumentParser(description=main.__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("kernel")
    for option in ("--gpusentinel", *options):
        parser.add_argument(option, required=True)
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    name = pathlib.Path(main.__file__).stem
    begin = time.monotonic()
    guest = None
    try:
        missing = without_module(args.kernel, module) if module else ""
        if missing:
            print(missing)
            return 77
        guest = Guest(name.replace("_", "-"), args.kernel, *boot)
        check(args, guest)
        print(f"{name} {args.kernel}: ok in {time.monotonic() - begin:.0f} s")
        return 0
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"{name} {args.kernel}: {error}")
        return 1
    finally:
        if guest:
            guest.stop()
