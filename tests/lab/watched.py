# SPDX-License-Identifier: Apache-2.0
"""A guest of the lab, and gpusentinel that watches it: what the tests of detectors have in common."""

import json
import os
import pathlib
import queue
import re
import signal
import subprocess
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
        command(LAB, "boot", self.name, "--kernel", kernel, "--timeout", "600", *options)

    def sh(self, text):
        return command(LAB, "sh", self.name, text)

    def put(self, file, path):
        with open(file, "rb") as data:
            command(LAB, "sh", self.name, "-i", f"cat >{path} && chmod 755 {path}", stdin=data)

    def lab(self, *argv):
        return command(LAB, argv[0], self.name, *argv[1:])

    def stop(self):
        subprocess.run([LAB, "stop", self.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def rows(gpusentinel, guest, detector):
    """Values of the rows of one run."""
    out = command(gpusentinel, "-t", f"qemu:{guest.name}", "-e", "cpu", "run", "--once", "--json", "--rows", detector)
    return [record["values"] for record in map(json.loads, out.splitlines()) if record["kind"] == "row"]


class Watch:
    """A detector that runs; what it finds is in findings, as "open warning TABLE: MESSAGE"; events have no table."""

    def __init__(self, gpusentinel, guest, detector, *options):
        self.process = subprocess.Popen(
            [gpusentinel, "-t", f"qemu:{guest.name}", "-e", "cpu", "run", "--json", *options, detector],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.findings = []
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            record = json.loads(line)
            if record["kind"] == "finding":
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

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
