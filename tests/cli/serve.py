#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
serve.py PROGRAM MONITOR [GUEST]: `gpusentinel serve` on a guest of the lab, with monitors on this machine; without a name
one is booted and stopped. The guest panics in the last test.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from served import lab, main, named

PROGRAM = sys.argv.pop(1)
MONITOR = sys.argv.pop(1)
GUEST, BOOTS = named("serve")
PATIENCE = 60


class Served:
    """`serve` of some detectors, and what it says on standard error."""

    def __init__(self, keys, *args):
        self.process = subprocess.Popen(
            [PROGRAM, "-t", f"qemu:{GUEST}", "-e", "cpu", "serve", "--fabric", "shm", "--keys", keys,
             "--listen", "127.0.0.1:0", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.said = []
        self.port = None
        while self.port is None:
            found = re.search(r"let in at port (\d+)", self.line())
            self.port = found and found[1]

    def line(self):
        line = self.process.stderr.readline()
        if not line:
            raise AssertionError(f"it has ended: {self.said}")
        self.said.append(line)
        return line

    def hear(self, what):
        while not re.search(what, self.line()):
            pass

    def end(self, sign=signal.SIGTERM):
        """Exit status, standard output, and standard error from here on."""
        self.process.send_signal(sign)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


class Monitor:
    def __init__(self, keys, port, name="noc"):
        self.process = subprocess.Popen([MONITOR, "watch", keys, port, name, f"qemu:{GUEST}"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.place = self.process.stdout.readline().strip()

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def look(self):
        """Rows and findings of each detector."""
        return {name: (int(rows), int(findings))
                for name, rows, findings in re.findall(r"(\w+) (\d+) (\d+); ", self.ask("look"))}

    def end(self, how="leave"):
        out, err = self.process.communicate(how + "\n" if how else None, timeout=PATIENCE)
        return self.process.returncode, out, err


class Serve(unittest.TestCase):
    def setUp(self):
        self.keys = tempfile.mkdtemp(prefix="gpusentinel-serve-")
        self.addCleanup(shutil.rmtree, self.keys)
        subprocess.run([MONITOR, "keys", self.keys], check=True, timeout=PATIENCE)

    def serve(self, *args):
        served = Served(self.keys, *args)
        self.addCleanup(served.process.stderr.close)
        self.addCleanup(served.process.stdout.close)
        self.addCleanup(served.process.wait, PATIENCE)
        self.addCleanup(served.process.kill)
        return served

    def watch(self, served, name="noc"):
        monitor = Monitor(self.keys, served.port, name)
        for pipe in (monitor.process.stdin, monitor.process.stdout, monitor.process.stderr):
            self.addCleanup(pipe.close)
        self.addCleanup(monitor.process.wait, PATIENCE)
        self.addCleanup(monitor.process.kill)
        self.assertEqual(monitor.place, "place 0", monitor.process.poll() and monitor.process.stderr.read())
        return monitor

    def refused(self, says, *args, keys=None):
        result = subprocess.run(
            [PROGRAM, "-t", f"qemu:{GUEST}", "-e", "cpu", "serve", "--fabric", "shm", "--keys", keys or self.keys,
             "--listen", "127.0.0.1:0", *args, "panic"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
            check=False)
        # Who may not lock memory is told so first.
        err = [line for line in result.stderr.splitlines() if "when memory runs out here" not in line]
        self.assertEqual((result.returncode, result.stdout, len(err)), (1, "", 1), result.stderr)
        self.assertIn(says, err[0])

    def test_all_records_reach_monitors_though_nothing_is_printed(self):
        served = self.serve("--quiet", "processes", "memory", "panic")
        monitor = self.watch(served)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not monitor.look().get("processes", (0,))[0] > 20:
            time.sleep(0.2)
        seen = monitor.look()
        self.assertEqual(sorted(seen), ["memory", "panic", "processes"])
        self.assertGreater(seen["processes"][0], 20)
        self.assertEqual(monitor.end()[0], 0)
        served.hear("has left")
        status, out, err = served.end()
        self.assertEqual((status, out, err), (0, "", ""))

    def test_symbols_are_those_that_the_host_sees(self):
        served = self.serve("--quiet", "panic")
        asked, differ = map(int, self.watch(served).ask("symbols").split())
        self.assertGreater(asked, 500)
        self.assertEqual(differ, 0)

    def test_monitors_come_and_go(self):
        served = self.serve("--quiet", "panic")
        first = self.watch(served)
        first.process.kill()
        served.hear("noc at 127.0.0.1:.*: the connection is broken, its access stays")
        again = self.watch(served)
        self.assertIn("panic", again.look())
        # While one is there, it is told to end: it ends, whoever is connected.
        started = time.monotonic()
        self.assertEqual(served.end(signal.SIGINT)[0], 0)
        self.assertLess(time.monotonic() - started, 20)
        self.assertRaises(OSError, socket.create_connection, ("127.0.0.1", int(served.port)), 5)

    def test_what_runs_prints_findings_unless_it_is_quiet(self):
        served = self.serve("--rows", "processes")
        self.assertIn(" ROW ", served.process.stdout.readline())
        status, _, err = served.end()
        self.assertEqual(status, 0)
        self.assertRegex(err, r"(?m)^processes: \d+ runs, ")

    def test_a_host_with_other_keys_does_not_begin(self):
        self.refused("/nowhere/ca.crt: no certificate of an authority: No such file", keys="/nowhere")
        self.refused("absent.crt", "--name", "absent")
        shutil.copy(os.path.join(self.keys, "noc.key"), os.path.join(self.keys, "host.key"))
        self.refused("no key of this certificate")

    def test_an_address_that_is_none(self):
        self.refused("192.0.2.1", "--listen", "192.0.2.1:0")

    def test_z_a_panic_is_seen_by_who_was_there(self):
        served = self.serve("--quiet", "panic")
        monitor = self.watch(served)
        self.assertEqual(monitor.look()["panic"][1], 0)
        lab("fault", GUEST, "panic")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not monitor.look()["panic"][1]:
            time.sleep(0.1)
        self.assertGreater(monitor.look()["panic"][1], 0)
        self.assertEqual(served.end()[0], 0)


if __name__ == "__main__":
    main(GUEST, BOOTS)
