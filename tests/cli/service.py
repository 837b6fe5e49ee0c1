#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
service.py PROGRAM GRASS DETECTORS [GUEST]: `gpusentinel serve --config` as a service manager sees it, on a guest of the lab: ready,
reloaded, asked how it is, ended, killed and started again. Without a name a guest is booted and stopped.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from served import lab, main, named

PROGRAM, GRASS, DETECTORS = (sys.argv.pop(1) for _ in range(3))
GUEST, BOOTS = named("service")
PATIENCE = 60
# Exit codes of status.
WELL, FINDINGS, NOT_RUNNING = 0, 8, 9
# A guest of the lab has less than all of its memory available, and more than none.
SHORT = "[memory]\nwarn_percent = 99\nclear_percent = 100\n"


class Manager:
    """What systemd is to a service: it is told by datagrams, and reads what is written."""

    def __init__(self, directory, *args):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(directory, "notify")
        if os.path.exists(path):
            os.unlink(path)
        self.socket.bind(path)
        self.socket.settimeout(0.5)
        out, write = os.pipe()
        status = os.fstat(write)
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--config", os.path.join(directory, "conf"), *args], stdin=subprocess.DEVNULL,
            stdout=write, stderr=write,
            env=dict(os.environ, NOTIFY_SOCKET=path, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}"))
        os.close(write)
        self.lines = []
        self.reader = threading.Thread(target=self.read, args=(out,))
        self.reader.start()

    def read(self, out):
        with os.fdopen(out, encoding="utf-8") as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))

    def hear(self, begin):
        message, deadline = "", time.monotonic() + PATIENCE
        while not message and time.monotonic() < deadline:
            try:
                message = self.socket.recv(4096).decode()
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        if not message.startswith(begin):
            raise AssertionError(f"not {begin} but {message}: {self.lines}")
        return message

    def wait_line(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if re.search(pattern, line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no {pattern} in {self.lines}")

    def port(self):
        return re.search(r"\d+$", self.wait_line(r"let in at port \d+").split(",")[0])[0]

    def reload(self):
        self.process.send_signal(signal.SIGHUP)
        self.hear("RELOADING=1\nMONOTONIC_USEC=")
        return self.hear("READY=1\n")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        if number == signal.SIGTERM:
            self.hear("STOPPING=1")
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code

    def clean(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.socket.close()


class Service(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="gpusentinel-service-")
        self.addCleanup(shutil.rmtree, self.directory)
        for what in (["ca"], ["host", "web1"], ["monitor", "noc"]):
            subprocess.run([GRASS, "keys", self.path("keys"), *what], check=True, timeout=PATIENCE,
                           stdout=subprocess.DEVNULL)
        os.mkdir(self.path("detectors"))
        for name in ("memory", "panic", "processes"):
            shutil.copy(os.path.join(DETECTORS, f"{name}.so"), self.path("detectors"))
        shutil.copy(os.path.join(DETECTORS, "log.rules"), self.path("detectors"))
        self.configure()

    def path(self, name):
        return os.path.join(self.directory, name)

    def configure(self, keys="", sections=""):
        # As editors do it: whoever reads it sees the old or the new one.
        with open(self.path("new"), "w", encoding="utf-8") as conf:
            conf.write(f"target = qemu:{GUEST}\nengine = cpu\nkeys = {self.path('keys')}\nname = web1\n"
                       f"listen = 127.0.0.1:0\nfabric = shm\nstate = {self.path('state')}\n"
                       f"detector-directory = {self.path('detectors')}\n{keys}\n{sections}")
        os.rename(self.path("new"), self.path("conf"))

    def start(self, *args):
        manager = Manager(self.directory, *args)
        self.addCleanup(manager.clean)
        self.assertIn(f"STATUS=watches qemu:{GUEST} by ", manager.hear("READY=1\n"))
        return manager

    def ask(self, *args):
        """Exit code and standard output of `status`."""
        result = subprocess.run([PROGRAM, "status", "--state", self.path("state"), *args], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(result.stderr, "")
        return result.returncode, result.stdout

    def status(self):
        return json.loads(self.ask("--json")[1])

    def wait_code(self, code):
        deadline = time.monotonic() + PATIENCE
        while self.ask()[0] != code and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.ask()[0], code)

    def names(self):
        return sorted(detector["name"] for detector in self.status()["detectors"])

    def grass(self, manager, *args):
        return subprocess.Popen([GRASS, args[0], f"web1@127.0.0.1:{manager.port()}", "--keys", self.path("keys"), "--as", "noc",
                                 "--fabric", "shm", "--json", *args[1:]],
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def numbers(self, manager):
        out = self.grass(manager, "findings").communicate(timeout=PATIENCE)[0]
        return [json.loads(line)["number"] for line in out.splitlines()]

    def test_what_the_file_says_is_done_unless_the_command_line_says_otherwise(self):
        self.configure("detectors = memory\nperiod = 50", "[memory]\nperiod = 20\n")
        manager = self.start("panic", "processes")
        status = self.status()
        self.assertEqual({name["name"]: name["period_us"] for name in status["detectors"]},
                         {"panic": 50000, "processes": 50000})
        self.assertEqual((status["engine"], status["fabric"], status["target"]), ("cpu", "shm", f"qemu:{GUEST}"))
        self.assertTrue(status["beats"])
        # A detector that has values but is not run.
        manager.wait_line(r"^<6>.*/conf:12: the detector memory is not run$")
        self.assertEqual(manager.end(), 0)

    def test_mistakes_name_file_and_line(self):
        for keys, sections, says in (
                ("speed = 9", "", r":9: 'speed' is no key"),
                ("", "[memory]\nwarn_percents = 9\n", r":11: memory.warn_percents: the detector has no such parameter"),
                ("", "[memori]\nwarn_percent = 9\n", r":11: no detector 'memori' in "),
                ("detectors = gone", "", r"no detector 'gone' in ")):
            self.configure(keys, sections)
            result = subprocess.run([PROGRAM, "serve", "--config", self.path("conf")], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE, check=False)
            self.assertNotEqual(result.returncode, 0)
            self.assertEqual(result.stdout, "")
            self.assertRegex(result.stderr, rf"(?m)^gpusentinel: [^\n]*{says}[^\n]*\n\Z")

    def test_a_reload_changes_what_it_can_and_nobody_notices(self):
        manager = self.start()
        watch = self.grass(manager, "findings", "--follow")
        self.addCleanup(watch.wait, PATIENCE)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.kill)
        self.assertEqual(self.names(), ["memory", "panic", "processes"])
        self.wait_code(WELL)
        before = {detector["name"]: detector["runs"] for detector in self.status()["detectors"]}

        self.configure("", SHORT)
        manager.reload()
        # The journal gets it with its priority, the monitor by the session that it had.
        self.assertRegex(manager.wait_line("memory is short"), r"^<4>WARNING  memory: memory is short: ")
        self.assertIn("memory is short", json.loads(watch.stdout.readline())["message"])
        self.wait_code(FINDINGS)
        self.assertEqual(self.status()["monitors"], [{"name": "noc", "connected": True}])

        # What runs as before is not begun anew.
        shutil.copy(os.path.join(DETECTORS, "tasks.so"), self.path("detectors"))
        os.unlink(self.path("detectors/processes.so"))
        manager.reload()
        self.assertEqual(self.names(), ["memory", "panic", "tasks"])
        after = {detector["name"]: detector["runs"] for detector in self.status()["detectors"]}
        self.assertGreater(after["panic"], before["panic"])

        self.configure("listen = 127.0.0.2:0", "")
        manager.reload()
        manager.wait_line(r"^<6>.*'listen' has changed, which takes a restart$")
        self.assertIn("closed", json.loads(watch.stdout.readline())["state"])
        self.wait_code(WELL)
        self.assertEqual(manager.end(), 0)

    def test_a_bad_reload_changes_nothing(self):
        self.configure("", SHORT)
        manager = self.start()
        self.wait_code(FINDINGS)
        before = self.status()["detectors"]
        for keys, sections, says in (
                ("quiet = maybe", "", r"conf:9: quiet is yes or no"),
                ("", "[memory]\nno_such = 1\n", r"conf:11: memory.no_such: "),
                ("rules = /nowhere/rules", "", r"/nowhere/rules"),
                (f"detectors = memory {self.path('detectors')}/junk.so", "", r"junk.so: not a detector")):
            with open(self.path("detectors/junk.so"), "w", encoding="utf-8") as junk:
                junk.write("no detector")
            self.configure(keys, sections)
            self.assertIn("; the last reload was refused", manager.reload())
            manager.wait_line(rf"^<3>reload refused, all goes on as before: .*{says}")
        # A damaged file under all that are shipped is left out; another one keeps running what it was.
        with open(self.path("detectors/panic.so"), "w", encoding="utf-8") as panic:
            panic.write("no detector")
        self.configure("", SHORT)
        self.assertNotIn("refused", manager.reload())
        self.assertEqual([detector["name"] for detector in self.status()["detectors"]],
                         [detector["name"] for detector in before])
        self.assertEqual(self.ask()[0], FINDINGS)
        self.assertEqual(manager.end(), 0)

    def test_numbers_go_on_after_an_orderly_end_and_after_a_kill(self):
        self.configure("", SHORT)
        last, epochs = -1, []
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            manager = self.start()
            self.wait_code(FINDINGS)
            numbers = self.numbers(manager)
            self.assertTrue(numbers)
            self.assertGreater(min(numbers), last)
            if number == signal.SIGKILL:
                # The first one ended in good order: no number was left out.
                self.assertLess(min(numbers) - last, 8)
            last = max(numbers)
            epochs.append(self.status()["epoch"])
            manager.end(number)
            self.assertEqual(self.ask(), (NOT_RUNNING, "not running\n"))
        self.assertEqual(epochs, [0, 1, 2])

        with open(self.path("state/sequence.json"), "w", encoding="utf-8") as state:
            state.write("{")
        manager = self.start()
        manager.wait_line(r"^<6>.*/sequence.json: it is damaged: numbers of findings begin anew$")
        self.assertEqual(self.status()["epoch"], 0)
        self.assertEqual(manager.end(), 0)

    def test_one_service_has_a_directory(self):
        manager = self.start()
        result = subprocess.run([PROGRAM, "serve", "--config", self.path("conf")], stderr=subprocess.PIPE,
                                stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("is in use by another gpusentinel", result.stderr)
        self.assertEqual(self.ask()[0], WELL)
        self.assertEqual(os.stat(self.path("state/status")).st_mode & 0o777, 0o600)
        self.assertEqual(manager.end(), 0)


if __name__ == "__main__":
    main(GUEST, BOOTS)
