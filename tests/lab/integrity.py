#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The integrity detector says nothing of a kernel that patches itself, and names what others change.

    integrity.py KERNEL --gpusentinel PATH --detector PATH --poke PATH [--long]

A guest is booted with one of its two CPUs. While the detector watches, the guest does all that makes a kernel change
its own code: it brings up and takes down the other CPU, flips static keys, turns on tracers, kprobes and trace
events, unloads and loads a module. None of that may raise a finding. Then it is frozen, and bytes of its text, constants,
system-call table, interrupt table and of a module are changed from outside: each must be named, to the byte, and each
must be told as gone once the byte is back. --long does it all several times.
"""

import re
import sys

from watched import Failed, Records, command, run_test

PERIOD_MS = 100
# Runs until a difference is told, and some to spare.
RUNS = 8

BUSY = r"""
cd /sys/kernel/tracing 2>/dev/null && [ -e current_tracer ] ||
    { mount -t tracefs tracefs /sys/kernel/tracing && cd /sys/kernel/tracing; } || exit 1
set -e
# Lock prefixes (the first time), and what follows CPUs.
for state in 1 0 1; do
    echo $state >/sys/devices/system/cpu/cpu1/online
done
# Static keys.
for state in 1 0 1 0; do
    echo $state >/proc/sys/kernel/sched_schedstats
done
# Calls at the start of functions, of all and of some.
for tracer in $TRACERS; do
    echo $tracer >current_tracer
    cat /proc/stat >/dev/null
    echo nop >current_tracer
done
echo vfs_read >set_ftrace_filter
echo function >current_tracer
cat /proc/stat >/dev/null
echo nop >current_tracer
echo >set_ftrace_filter
# Breakpoints, calls and jumps of probes.
echo p:lab_entry vfs_read >kprobe_events
echo r:lab_return do_sys_openat2 >>kprobe_events
echo p:lab_inside vfs_write+$INSIDE >>kprobe_events
echo 1 >events/kprobes/enable
cat /proc/stat >/tmp/stat
sleep 1
echo 0 >events/kprobes/enable
echo >kprobe_events
# Static calls of trace events: all of them, then some.
echo 1 >events/enable
cat /proc/stat >/dev/null
echo 0 >events/enable
echo 1 >events/sched/enable
echo 0 >events/sched/enable
# A module, to the same place and to another one.
rmmod loop
insmod /modules/loop.ko
rmmod loop
sleep 0.3
insmod /modules/loop.ko
"""


class Watch(Records):
    """The detector, watching; its findings and the number of its runs as they come."""

    def __init__(self, args, guest):
        self.findings = []
        self.row = None
        super().__init__(args.gpusentinel, guest, "--rows", "--period", str(PERIOD_MS), args.detector)

    def runs(self, count=RUNS):
        """Wait for so many more runs; a row ends each."""
        while count:
            record = self.next()
            if record["kind"] == "row":
                self.row = record["values"]
                count -= 1
            else:
                self.findings.append(record["severity"] + " " + record["message"])

    def skip(self):
        """All runs that were made so far, and those that follow."""
        self.runs(self.records.qsize() + RUNS)

    def told(self):
        findings, self.findings = self.findings, []
        return findings


def poke(args, guest, *argv):
    return command(args.poke, f"qemu:{guest.name}", guest.ram, *argv).strip()


def text_symbols(guest):
    """Of text, by name: address, distance to the next symbol, module."""
    found, last = {}, None
    for line in sorted(guest.sh("grep -i ' t ' /proc/kallsyms").splitlines()):
        word = line.split()
        address = int(word[0], 16)
        if last and last[0] in found:
            found[last[0]] = (last[1], address - last[1], last[2])
        last = word[2], address, word[3] if len(word) > 3 else ""
        if word[2] not in found:
            found[word[2]] = (address, 0, last[2])
    return found


def quiet(watch, what):
    watch.skip()
    findings = watch.told()
    if findings:
        raise Failed(f"{what}: " + "; ".join(findings[:10]))


def changes(args, guest):
    """What is written where, and the finding that must name it."""
    symbols = text_symbols(guest)
    name, (address, size, module) = max(((n, s) for n, s in symbols.items() if s[2] == "[loop]"),
                                        key=lambda item: item[1][1] if item[1][1] < 4096 else 0)
    middle = size // 2
    branch, branch_name = poke(args, guest, "--static-branch").split()
    handler = symbols["vfs_write"][0] & 0xffff
    target = symbols["vfs_read"][0].to_bytes(8, "little").hex()
    return [
        ("vfs_read+0x21", "f4", r"kernel text changed: vfs_read\+0x21/\S+ bytes=1 was=\S\S is=f4"),
        (f"{address + middle:#x}", "f4f4f4",
         rf"module text changed: {re.escape(name)}\+{middle:#x}/\S+ \[loop\] module=loop bytes=[123] was=.* is=.*"),
        ("linux_banner+0x7", "c3", r"kernel rodata changed: linux_banner\+0x7/\S+ bytes=1 was=\S\S is=c3"),
        ("sys_call_table+0x18", target,
         r"system-call table changed: number=3 was=__x64_sys_close\+0x0/\S+ is=vfs_read\+0x0/\S+ "
         r"at=sys_call_table\+0x1[89a-f]/\S+"),
        ("idt_table+0xe0", handler.to_bytes(2, "little").hex(),
         r"interrupt table changed: vector=14 was=asm_exc_page_fault\+0x0/\S+ is=\S+ at=idt_table\+0xe[01]/\S+"),
        # To the instruction that is 0x600 bytes on: no static branch leads there from here.
        (branch, "e900060000", rf"kernel text changed: {re.escape(branch_name)} bytes=[345] was=.* is=e9.*"),
    ]


def attack(args, guest, watch):
    wanted = changes(args, guest)
    guest.lab("freeze")
    was = [(where, poke(args, guest, where, bytes_)) for where, bytes_, _ in wanted]
    watch.skip()
    findings = watch.told()
    for _, _, pattern in wanted:
        if sum(bool(re.fullmatch("critical " + pattern, line)) for line in findings) != 1:
            raise Failed(f"not found, or not once: {pattern}; found: " + "; ".join(findings))
    if len(findings) != len(wanted):
        raise Failed("more was found: " + "; ".join(findings))
    for where, bytes_ in was:
        poke(args, guest, where, bytes_)
    watch.skip()
    findings = watch.told()
    if len(findings) != len(wanted) or not all(line.startswith("info as it was again: ") for line in findings):
        raise Failed("after it was undone: " + "; ".join(findings))
    guest.lab("thaw")


def patched_and_attacked(args, guest, watch):
    rounds = 3 if args.long else 1
    watch.runs()
    quiet(watch, "nothing happened")
    if watch.row["pages_left_out"] or watch.row["pages"] < 4000:
        raise Failed(f"not all is covered: {watch.row}")
    # Where an instruction begins in vfs_write differs from kernel to kernel; the tracer refuses other places.
    busy = BUSY.replace("$TRACERS", "function function_graph" if args.long else "function")
    inside = guest.sh("cd /sys/kernel/tracing && mount -t tracefs tracefs . && for i in 5 6 7 8 9 10 11 12 13 14; do "
                      "echo p:lab_try vfs_write+$i >kprobe_events 2>/dev/null && echo $i && break; done; "
                      "echo >kprobe_events; cd /; umount /sys/kernel/tracing").strip()
    busy = busy.replace("$INSIDE", inside or "0")
    for number in range(rounds):
        guest.sh(busy)
        quiet(watch, f"round {number + 1} of patching")
    attack(args, guest, watch)
    guest.sh("true")
    quiet(watch, "thawed")


def check(args, guest):
    with Watch(args, guest) as watch:
        patched_and_attacked(args, guest, watch)
        print(watch.row)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detector", "--poke", flags=["--long"], boot=["--append", "maxcpus=1"]))
