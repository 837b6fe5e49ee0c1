#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that dies is watched by `gpusentinel serve`, and that by `grass`, over the fabric for one machine.

    shm.py KERNEL --gpusentinel PATH --grass PATH

What grass shows of a frozen guest is what gpusentinel shows: processes, memory, log, and each byte of its RAM. After a panic it
still answers, and says so; when nobody answers any more, it says that; and mistakes end with one line and their exit code.
"""

import argparse
import contextlib
import json
import os
import pathlib
import queue
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lab"))
from watched import PATIENCE, Failed, Guest, command  # noqa: E402 pylint: disable=wrong-import-position

# Exit codes; include/gpusentinel/error.h.
OTHER, USAGE, DETECTOR, INCOMPLETE = 1, 2, 5, 7
LAB_RAM = pathlib.Path(os.environ.get("GPUSENTINEL_LAB_RAM", "/dev/shm"))


def check(condition, message):
    if not condition:
        raise Failed(message)


class Serve:
    """gpusentinel serve, over a guest."""

    def __init__(self, test, *options, port=0):
        self.process = subprocess.Popen(
            [test.gpusentinel, "-t", f"qemu:{test.guest.name}", "-e", "cpu", "serve", "--keys", test.keys, "--name", "web1",
             "--listen", f"127.0.0.1:{port}", "--fabric", "shm", "--quiet", *options],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        for line in self.process.stderr:
            found = re.search(r"let in at port (\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            raise Failed("gpusentinel serve has ended")
        # It goes on to tell of monitors.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        self.process.wait(30)


class Watch:
    """grass watch --json; its lines come in order."""

    def __init__(self, test):
        self.process = subprocess.Popen(
            [test.grass, "watch", test.host, "--json", "--interval", "0.2", "--keys", test.keys, "--as", "room", "--fabric", "shm",
             "--timeout", "1"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def expect(self, what, **wanted):
        """The next line with such members; what comes before it is passed over."""
        deadline, seen = time.monotonic() + PATIENCE, []
        while time.monotonic() < deadline:
            try:
                line = self.lines.get(timeout=deadline - time.monotonic())
            except (queue.Empty, ValueError):
                break
            if all(re.search(pattern, str(line.get(name, ""))) for name, pattern in wanted.items()):
                return line
            seen.append(line)
        raise Failed(f"watch: {what} is not told, but: {seen}")

    def end(self):
        self.process.send_signal(signal.SIGINT)
        check(self.process.wait(30) == 0, f"watch ends with status {self.process.returncode}")


class Door:
    """The way to a control port, which can be closed."""

    def __init__(self, port):
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                ours = self.listener.accept()[0]
                theirs = socket.create_connection(("127.0.0.1", self.to))
                self.open += [ours, theirs]
                for pair in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self.carry, args=pair, daemon=True).start()
        except OSError:
            pass

    def carry(self, one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.open:
            end.close()


class Hold:
    """grass hold, from when it holds the host."""

    def __init__(self, test):
        self.socket = str(test.directory / "hold.sock")
        self.door = Door(test.serve.port)
        self.host = f"web1@127.0.0.1:{self.door.port}"
        self.process = subprocess.Popen(
            [test.grass, "hold", self.host, "--socket", self.socket, "--keys", test.keys, "--as", "held", "--fabric", "shm",
             "--timeout", "2"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        line = self.process.stderr.readline()
        check(line == "grass: web1: held\n", f"hold says: {line}")

    def end(self):
        self.process.send_signal(signal.SIGINT)
        check(self.process.wait(30) == 0 and not os.path.exists(self.socket), "hold does not end as it should")


class Test:
    def __init__(self, args, directory):
        self.gpusentinel, self.grass = args.gpusentinel, args.grass
        self.directory = pathlib.Path(directory)
        self.keys = str(self.directory / "keys")
        command(self.grass, "keys", self.keys, "ca")
        command(self.grass, "keys", self.keys, "host", "web1")
        command(self.grass, "keys", self.keys, "monitor", "room", "desk", "held")
        self.guest = Guest("grass", args.kernel, "--procs", "30")
        self.serve = Serve(self)

    @property
    def host(self):
        return f"web1@127.0.0.1:{self.serve.port}"

    def words(self, what, *options):
        return [self.grass, what, self.host, *options, "--keys", self.keys, "--as", "desk", "--fabric", "shm"]

    def ask(self, *words, status=0, says="", **options):
        options.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run(self.words(*words), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120,
                              check=False, **options)
        err = done.stderr.decode()
        check(done.returncode == status, f"{words}: exit status {done.returncode}, not {status}: {err}")
        check(says in err, f"{words}: does not say '{says}' but '{err}'")
        return done.stdout

    def local(self, *words):
        return subprocess.run([self.gpusentinel, "-t", f"qemu:{self.guest.name}", *words], stdout=subprocess.PIPE, check=True,
                              timeout=120).stdout

    def end(self):
        if self.serve.process.poll() is None:
            self.serve.end()
        self.guest.stop()


def same_as_gpusentinel(test):
    """Of a machine that does not move, byte for byte."""
    for words in (["ps"], ["ps", "--json"], ["ps", "-l", "--sort", "-rss"], ["mem"], ["mem", "--json"], ["dmesg"],
                  ["dmesg", "--json"], ["dmesg", "--level", "info+", "--tail", "40", "-x", "--caller"]):
        ours, theirs = test.ask(*words), test.local(*words)
        check(ours and ours == theirs, f"{words}: grass and gpusentinel differ: {ours[:300]} and {theirs[:300]}")


def segments(core):
    """Physical start, offset in the file and size of each segment of memory."""
    with open(core, "rb") as file:
        head = file.read(1 << 16)
    count = int.from_bytes(head[56:58], "little")
    found = []
    for i in range(count):
        entry = head[64 + 56 * i:120 + 56 * i]
        kind, = (int.from_bytes(entry[:4], "little"),)
        offset, virtual, physical, size = (int.from_bytes(entry[at:at + 8], "little") for at in (8, 16, 24, 32))
        # The kernel's image shows the same bytes once more.
        if kind == 1 and virtual < 0xffffffff80000000:
            found.append((physical, offset, size))
    return found


def equals_ram(test, core):
    ram = LAB_RAM / f"gpusentinel-lab-{test.guest.name}.ram"
    total = 0
    with open(core, "rb") as ours, open(ram, "rb") as theirs:
        for physical, offset, size in segments(core):
            ours.seek(offset)
            # Below 2 GiB, physical addresses are offsets of the file (q35).
            theirs.seek(physical)
            check(ours.read(size) == theirs.read(size), f"the dump differs from RAM in the segment at {physical:#x}")
            total += size
    check(total > 500 << 20, f"the dump has {total} bytes of memory")


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 << 20, 200 << 20))


def dump(test):
    core = test.directory / "vmcore"
    part = test.directory / "vmcore.part"
    # A disk that is full breaks it off; the next attempt goes on.
    test.ask("dump", "-o", str(core), status=OTHER, says="goes on with it", preexec_fn=limit_files)
    check(part.exists() and not core.exists(), "a dump that is broken off leaves its part")
    result = json.loads(test.ask("dump", "-o", str(core), "--json"))
    check(0 < result["resumed"] < result["size"], f"the dump does not go on where it was: {result}")
    check(not part.exists(), "a complete dump has its name")
    check(core.stat().st_blocks * 512 < 400 << 20, "holes do not stay holes")
    equals_ram(test, core)
    ours = subprocess.run([test.gpusentinel, "-t", f"core:{core}", "ps", "--json"], stdout=subprocess.PIPE, check=True,
                          timeout=60).stdout
    check(ours == test.local("ps", "--json"), "ps of the dump is not that of the guest")
    # What is there is not written over, and what is somebody else's not gone on with.
    test.ask("dump", "-o", str(core), status=OTHER, says="--force")
    core.unlink()
    part.write_bytes(b"something else")
    test.ask("dump", "-o", str(core), status=OTHER, says="not of this run")
    check(part.read_bytes() == b"something else", "somebody else's file is written over")
    test.ask("dump", "-o", str(core), "--force")
    core.unlink()


def broken_link(test):
    """The engine falls silent in the middle of a dump, and comes back."""
    core, part = test.directory / "vmcore", test.directory / "vmcore.part"
    for _ in range(20):
        process = subprocess.Popen(test.words("dump", "-o", str(core), "--json", "--timeout", "0.5"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        while not part.exists() and process.poll() is None:
            time.sleep(0.001)
        test.serve.send(signal.SIGSTOP)
        silent = process.stderr.readline()
        test.serve.send(signal.SIGCONT)
        out, err = process.communicate(timeout=120)
        check(process.returncode == 0, f"the dump does not get over a broken link: {silent}{err}")
        if silent:
            check("trying again" in silent and json.loads(out)["reconnected"] >= 1, f"{silent}{out}")
            equals_ram(test, core)
            return
        # It was faster.
        core.unlink()
    raise Failed("no dump could be interrupted")


def read(test):
    ram = LAB_RAM / f"gpusentinel-lab-{test.guest.name}.ram"
    info = json.loads(test.local("info", "--json"))
    with open(ram, "rb") as file:
        note = int(info["vmcoreinfo_address"], 16)
        file.seek(note + 5)
        there = file.read(10001)
    check(test.ask("read", str(note + 5), "10001", "--raw") == there, "read --raw is not what is in RAM")
    virtual = int(info["direct_map"], 16) + note + 5
    check(test.ask("read", "--virtual", hex(virtual), "10001", "-r") == there, "a virtual address leads elsewhere")
    shown = test.ask("read", hex(note), "48").decode().splitlines()
    check(shown[0] == f"{note:016x}  0b 00 00 00 be 0c 00 00  00 00 00 00 56 4d 43 4f  |............VMCO|" or
          re.fullmatch(rf"{note:016x}  0b 00 00 00 .. .. 00 00  00 00 00 00 56 4d 43 4f  \|.+VMCO\|", shown[0]),
          f"the note is shown as {shown}")
    # Behind the end of memory, and where no page table leads.
    check(b"cannot be read" in test.ask("read", "64G", "64", status=INCOMPLETE, says="1 page cannot"), "a page that is not there")
    check(test.ask("read", "-v", "0xffffffff00000000", "32", "-r", status=INCOMPLETE) == bytes(32), "zeros for what is not there")


def mistakes(test):
    lists = test.directory / "hosts"
    lists.write_text(f"# ours\n\n  web1@127.0.0.1:{test.serve.port}  # the only one\n", encoding="utf-8")
    done = subprocess.run([test.grass, "ping", "-H", lists, "web1", "-c", "1", "-q", "--keys", test.keys, "--as", "desk", "--fabric",
                           "shm"], stdout=subprocess.PIPE, check=True, timeout=60)
    check(b"1 answered" in done.stdout, "a host of a file is not found by its name")
    for text, says in ((b"web1\nweb 2\n", "hosts:2: 'web 2' is no host"), (b"web1:0\n", "hosts:1:"), (b"\n\nweb1@\n", "hosts:3:"),
                       (b"a\0b\n", "hosts:1:"), (b"web1@[::1\n", "hosts:1:"), (b"x" * 2000, "hosts:1:"), (b"# none\n", "no host"),
                       (b"a@1.1.1.1\na@2.2.2.2\n", "hosts:2: two hosts")):
        lists.write_bytes(text)
        done = subprocess.run([test.grass, "ping", "-H", lists], stderr=subprocess.PIPE, check=False, timeout=60)
        err = done.stderr.decode()
        check(done.returncode == USAGE and says in err and err.count("\n") == 1, f"{text[:30]}: {done.returncode} {err}")
    # Nobody there; another authority's certificate; a name that is not the host's.
    nobody = [test.grass, "ping", "web1@127.0.0.1:1", "--keys", test.keys, "--as", "desk", "--fabric", "shm"]
    check(subprocess.run(nobody, stderr=subprocess.PIPE, check=False, timeout=60).returncode == OTHER, "nobody answers at port 1")
    others = str(test.directory / "others")
    command(test.grass, "keys", others, "ca")
    command(test.grass, "keys", others, "monitor", "desk")
    stranger = [test.grass, "ping", test.host, "--keys", others, "--fabric", "shm", "-c", "1"]
    done = subprocess.run(stranger, stderr=subprocess.PIPE, check=False, timeout=60)
    check(done.returncode == OTHER and b"certificate" in done.stderr, f"a stranger is let in: {done.stderr}")
    test_name = [test.grass, "ping", test.host.replace("web1", "web2"), *test.words("ping")[3:]]
    check(subprocess.run(test_name, stderr=subprocess.PIPE, check=False, timeout=60).returncode == OTHER, "any name is taken")


def numbers_of(test, *words):
    return [json.loads(line) for line in test.ask("findings", "--json", *words).splitlines()]


def panic(test, watch):
    # For a second, it is still one that was frozen.
    watch.expect("the living guest", verdict="^alive$")
    before = numbers_of(test)
    check(not [f for f in before if f["detector"] == "panic"], f"a panic is found in a healthy guest: {before}")
    test.guest.lab("fault", "panic")
    told = watch.expect("the panic", detector="^panic$", message="^kernel panic")
    watch.expect("the death", verdict="os-dead", was="alive")
    watch.expect("its reason", verdict="os-dead", why="^kernel panic: sysrq triggered crash$")
    found = numbers_of(test)
    check([f["message"] for f in found if f["detector"] == "panic"], "findings does not tell the panic")
    numbers = [f["number"] for f in found]
    check(numbers == sorted(set(numbers)), f"numbers do not grow: {numbers}")
    check(told["number"] in numbers, "watch and findings number differently")
    check([f["number"] for f in numbers_of(test, "--since", str(told["number"]))] ==
          [number for number in numbers if number >= told["number"]], "--since leaves out others")
    text = test.ask("findings").decode()
    check(re.search(r"(?m)^\d{4}-\d\d-\d\d [\d:.]{12} CRITICAL panic: kernel panic: cpu=\d+ pid=\d+ comm=sh$", text),
          f"findings shows: {text}")
    # The dead still tell.
    check(b"Kernel panic - not syncing: sysrq triggered crash" in test.ask("dmesg"), "dmesg does not show the panic")
    same_as_gpusentinel(test)
    pings = [json.loads(line) for line in test.ask("ping", "-c", "5", "-i", "0.05", "--json").splitlines()]
    check(pings[-1]["answers"] == 5 and [p["seq"] for p in pings[:-1]] == [1, 2, 3, 4, 5], f"ping: {pings}")
    check(all(p["age_ns"] < 2e9 for p in pings[:-1]), f"the heart does not beat: {pings}")


def detectors(test):
    table = {row["name"]: row for row in json.loads(test.ask("detectors", "--json"))}
    for name in ("processes", "memory", "log", "dmesg", "panic"):
        check(table[name]["runs"] > 0 and not table[name]["lost"] and not table[name]["stalled"], f"{name}: {table[name]}")
    check(table["panic"]["period_us"] == 250, "the period of panic")
    check(re.search(rb"(?m)^panic +(waiting|running) +0\.250 +\d+ ", test.ask("detectors")), "detectors shows no panic")


def params(test):
    """A threshold that is changed while the detector runs."""
    name = "memory.warn_percent"
    all_of_them = {f"{p['detector']}.{p['name']}": p for p in json.loads(test.ask("params", "--json"))}
    check(all_of_them[name]["value"] == 10 and "percent" in all_of_them[name]["description"], f"{all_of_them.get(name)}")
    check(re.search(rb"(?m)^memory\.warn_percent=10: percent of MemTotal", test.ask("params")), "params in text")
    # Memory is short from now on, as nobody has all of it.
    check(test.ask("params", "-p", f"{name}=99") == b"memory.warn_percent=99 (was 10)\n", "params -p")
    deadline = time.monotonic() + PATIENCE
    while not [f for f in numbers_of(test) if f["detector"] == "memory" and f["state"] == "open"]:
        check(time.monotonic() < deadline, "the detector does not go by the new threshold")
        time.sleep(0.2)
    check(json.loads(test.ask("params", "-p", f"{name}=10", "--json"))[0]["before"] == 99, "params -p --json")
    test.ask("params", "-p", "memory.nothing=1", status=DETECTOR, says="no parameter memory.nothing")


def dead_host_lends(test, hold):
    """Nobody is let in any more; who has kept a connection lends it."""

    def via(*words, status=0, says=""):
        done = subprocess.run([test.grass, words[0], "web1", *words[1:], "--via", hold.socket], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, timeout=60)
        check(done.returncode == status and says in done.stderr.decode(), f"{words} by a held connection: {done}")
        return done.stdout

    hold.door.close()
    closed = [test.grass, "ping", hold.host, *test.words("ping")[3:], "-c", "1"]
    check(subprocess.run(closed, stderr=subprocess.PIPE, check=False, timeout=60).returncode == OTHER, "the door is not closed")
    for words in (["ps"], ["mem", "--json"], ["dmesg"], ["findings"], ["params"]):
        check(via(*words) == test.ask(*words), f"{words} by a held connection differs")
    # A kernel that has panicked still looks whether somebody wants to reboot it.
    test.guest.lab("freeze")
    via("dump", "-o", str(test.directory / "held"))
    equals_ram(test, test.directory / "held")
    # One at a time.
    first = subprocess.Popen([test.grass, "ping", "web1", "--via", hold.socket, "-i", "0.1"], stdout=subprocess.PIPE, text=True)
    first.stdout.readline()
    via("ps", status=OTHER, says="another program has the connection")
    first.send_signal(signal.SIGINT)
    check("100% lost" not in first.communicate(timeout=30)[0], "the first borrower loses answers")
    done = subprocess.run([test.grass, "ps", "web2", "--via", hold.socket], stderr=subprocess.PIPE, check=False, timeout=60)
    check(done.returncode == OTHER and b"does not hold it" in done.stderr, f"a host that is not held: {done}")
    for garbage in (b"", b"x" * 100, b"GSHOLD1\n" + b"x" * 64, b"GSHOLD1\nweb1" + bytes(60) + b"\xff" * 16,
                    b"GSHOLD1\nweb1" + bytes(60) + b"\1\0\0\0\0\0\20\0" + b"\xff" * 8):
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(hold.socket)
            end.sendall(garbage)
            end.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while end.recv(65536):
                    pass
    via("ping", "-c", "1")
    hold.end()


def silence(test, watch):
    test.serve.send(signal.SIGSTOP)
    watch.expect("a program that is stopped", verdict="unreachable", was="os-dead")
    test.ask("ping", "-c", "1", "--timeout", "1", status=OTHER)
    test.serve.send(signal.SIGCONT)
    watch.expect("one that goes on", verdict="os-dead", was="unreachable", why="sysrq triggered crash")
    port = test.serve.port
    test.serve.end(signal.SIGKILL)
    watch.expect("one that is killed", verdict="unreachable", was="os-dead", why=".")
    # Another run finds the dead kernel, too. It has but one detector.
    test.serve = Serve(test, "panic", port=port)
    watch.expect("the panic, by another run", detector="^panic$", message="sysrq triggered crash")
    watch.expect("the dead system, by another run", verdict="os-dead")
    test.ask("ps", status=DETECTOR, says="runs no detector 'processes'")
    done = subprocess.run(test.words("watch", "--once"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
    check(done.returncode == OTHER and b"OS-DEAD" in done.stdout, f"watch --once: {done}")


def run(test):
    detectors(test)
    params(test)
    mistakes(test)
    test.guest.lab("freeze")
    same_as_gpusentinel(test)
    dump(test)
    broken_link(test)
    read(test)
    test.guest.lab("thaw")
    watch, hold = Watch(test), Hold(test)
    try:
        panic(test, watch)
        dead_host_lends(test, hold)
        silence(test, watch)
        watch.end()
    finally:
        watch.process.kill()
        hold.process.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kernel")
    parser.add_argument("--gpusentinel", required=True)
    parser.add_argument("--grass", required=True)
    args = parser.parse_args()
    test = None
    with tempfile.TemporaryDirectory() as directory:
        try:
            test = Test(args, directory)
            run(test)
        except (Failed, subprocess.SubprocessError, OSError, KeyError, ValueError) as error:
            print(f"grass over shm {args.kernel}: {error}")
            return 1
        finally:
            if test:
                test.end()
    print(f"grass over shm {args.kernel}: a dead guest answers, and its dump is its memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
