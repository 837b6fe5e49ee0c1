#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bad_input.py BUILD CORE: every kind of bad input gets one clear line and its own exit code.

CORE is an ELF vmcore of a healthy guest; the damaged images are made from it.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(sys.argv[1]).resolve()
CORE = pathlib.Path(sys.argv[2]).resolve()
GPUSENTINEL = BUILD / "src/cli/gpusentinel"
LLVIEW = BUILD / "llview/llview"
DAMAGE = BUILD / "tests/hostile/damage"
OTHER, USAGE, TARGET, KERNEL, DETECTOR, ENGINE, INCOMPLETE = range(1, 8)
failures = 0


def fail(message):
    global failures
    failures += 1
    print(f"FAIL {message}")


def check(name, arguments, code, pattern, lines=1, **options):
    """Run gpusentinel; it must end with this code and one line that matches."""
    begin = time.monotonic()
    process = subprocess.run([GPUSENTINEL, *map(str, arguments)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, errors="replace", timeout=120, **options)
    message = process.stderr.strip()
    wrong = []
    if process.returncode != code:
        wrong.append(f"exit code {process.returncode}, not {code}")
    if lines and len(message.splitlines()) != lines:
        wrong.append(f"{len(message.splitlines())} lines, not {lines}")
    if not re.search(pattern, message):
        wrong.append(f"does not match /{pattern}/")
    if wrong:
        fail(f"{name}: {'; '.join(wrong)}\n     {message[:400]}")
    else:
        print(f"ok   {name} ({time.monotonic() - begin:.1f} s): {message[:150]}")
    return process.stdout


def damaged(directory, kind):
    path = directory / kind
    subprocess.run([DAMAGE, CORE, path, kind], check=True, timeout=120)
    return f"core:{path}"


def images(directory):
    random = directory / "random"
    random.write_bytes(os.urandom(8 << 20))
    check("a random image of unknown format", ["-t", f"core:{random}", "ps"], TARGET, "random")
    check("a random raw image", ["-t", f"core:{random}", "--layout", "0:8M", "ps"], KERNEL, "VMCOREINFO")

    empty = directory / "empty"
    empty.write_bytes(b"")
    check("an empty file", ["-t", f"core:{empty}", "ps"], TARGET, "empty")

    truncated = directory / "truncated"
    with open(CORE, "rb") as core:
        truncated.write_bytes(core.read(3 << 20))
    check("a truncated core", ["-t", f"core:{truncated}", "ps"], TARGET, "truncated|missing|short")

    zeroes = directory / "zeroes"
    with open(zeroes, "wb") as file:
        file.truncate(64 << 20)
    check("not a Linux guest", ["-t", f"core:{zeroes}", "--layout", "0:64M", "ps"], KERNEL, "VMCOREINFO")
    if zeroes.stat().st_blocks:
        fail("reading the holes of an image allocated them")

    check("no VMCOREINFO", ["-t", damaged(directory, "no-vmcoreinfo"), "ps"], KERNEL, "VMCOREINFO")
    check("no kallsyms", ["-t", damaged(directory, "no-kallsyms"), "ps"], KERNEL, "kallsyms")
    check("no BTF", ["-t", damaged(directory, "no-btf"), "ps"], KERNEL, "BTF")
    check("garbled BTF", ["-t", damaged(directory, "garbled-btf"), "ps"], KERNEL, "BTF")
    check("page tables that loop", ["-t", damaged(directory, "looping-page-tables"), "ps"], KERNEL, ".")
    check("page tables that are empty", ["-t", damaged(directory, "no-page-tables"), "ps"], KERNEL, ".")

    cyclic = damaged(directory, "cyclic-tasks")
    rows = check("a cyclic task list", ["-t", cyclic, "ps", "--json"], INCOMPLETE, "does not end|iterations")
    if len(json.loads(rows)) < 5:
        fail("the tasks before the cycle are not shown")
    nowhere = damaged(directory, "tasks-into-nowhere")
    rows = check("a task list into nowhere", ["-t", nowhere, "ps", "--json"], INCOMPLETE, "0xdead|loads failed")
    if len(json.loads(rows)) < 5:
        fail("the tasks before the bad pointer are not shown")


def detectors(directory):
    def compile_detector(name, body):
        source = directory / f"{name}.c"
        source.write_text("#include <gpusentinel/detector.h>\n#include <gpusentinel/kernel.h>\n" + body)
        output = directory / f"{name}.so"
        subprocess.run([LLVIEW, source, "-o", output], check=True, timeout=120)
        return output

    field = compile_detector("field", """
struct resource { long nothing_like_it; } __kernel_type;
extern struct resource iomem_resource __ksym;
DETECTOR(field) { row("%ld", iomem_resource.nothing_like_it); }
""")
    check("an unknown field", ["-t", f"core:{CORE}", "run", "--once", field], DETECTOR, "nothing_like_it")
    symbol = compile_detector("symbol", """
extern int no_such_symbol __ksym;
DETECTOR(symbol) { row("%d", no_such_symbol); }
""")
    check("a missing symbol", ["-t", f"core:{CORE}", "run", "--once", symbol], DETECTOR, "no_such_symbol")
    broken = directory / "broken.so"
    broken.write_bytes(symbol.read_bytes()[:4000])
    check("a truncated detector", ["-t", f"core:{CORE}", "run", "--once", broken], DETECTOR, "broken.so")
    check("a file that is no detector", ["-t", f"core:{CORE}", "run", "--once", "/bin/true"], DETECTOR, "/bin/true")


def qemu(directory):
    check("no such guest", ["-t", "qemu:no-such-guest", "ps"], TARGET, "no-such-guest")
    check("no such file", ["-t", "core:/no/such/file", "ps"], TARGET, "/no/such/file")
    check("no such kind of target", ["-t", "vmware:x", "ps"], USAGE, "vmware")
    check("no target", ["ps"], USAGE, "target|-t", lines=None)

    socket = directory / "private.sock"
    process = subprocess.Popen(["timeout", "60", "qemu-system-x86_64", "-S", "-m", "64M", "-display", "none",
                                "-nodefaults", "-accel", "tcg", "-qmp", f"unix:{socket},server=on,wait=off"])
    try:
        for _ in range(100):
            if socket.exists():
                break
            time.sleep(0.1)
        check("a QEMU without shared RAM", ["-t", f"qemu:{socket}", "ps"], TARGET, "share")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)

    secret = directory / "secret"
    secret.write_bytes(b"x")
    secret.chmod(0o600)

    def become_nobody():
        os.setgid(65534)
        os.setuid(65534)

    if os.geteuid() == 0:
        # The build directory may be unreadable for others: the program runs from an open file.
        with open(GPUSENTINEL, "rb") as program:
            check("no permission", ["-t", f"core:{secret}", "ps"], TARGET, "[Pp]ermission",
                  executable=f"/proc/self/fd/{program.fileno()}", pass_fds=[program.fileno()],
                  preexec_fn=become_nobody)


def main():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        images(directory)
        detectors(directory)
        qemu(directory)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
