#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each trick of the lab's rootkit is found and named, is seen to work inside, and its findings end with it.

    attacks.py KERNEL --gpusentinel PATH --detectors DIR

A guest is booted, and the detectors of attacks watch it. First it does what is allowed and looks much the same: tracing and
probing by root, modules that come and go, and all legal changes of credentials. None of that may raise an error. Then
lab/rootkit plays one trick after the other.
"""

import re
import sys
import threading
import time

from watched import PATIENCE, Failed, Run, run_test

PERIOD_MS = 250
SEVERE = ("error", "critical")
DETECTORS = ("hooks", "creds", "integrity", "hidden")

ALLOWED = r"""
set -e
legal &
mount -t tracefs tracefs /sys/kernel/tracing
cd /sys/kernel/tracing
echo function >current_tracer
cat /proc/stat >/dev/null
sleep 1
echo nop >current_tracer
echo p:lab_entry vfs_read >kprobe_events
echo r:lab_return do_sys_openat2 >>kprobe_events
echo 1 >events/kprobes/enable
sleep 1
echo 0 >events/kprobes/enable
echo >kprobe_events
echo 1 >events/sched/enable
sleep 1
echo 0 >events/sched/enable
rmmod loop
insmod /modules/loop.ko
sleep 1
rmmod loop
insmod /modules/loop.ko
cd /
umount /sys/kernel/tracing
wait %1
"""

STATE = "/sys/module/lab_rootkit/parameters/state"
MODULE = "the kernel's own leads into a module: table={} member={} .*module=lab_rootkit"
HIDDEN = "process is hidden: pid={pid} .*comm=lab-victim .*missing_in="
HIDES = "leads into a module that is hidden: table={} member={} .*module=lab_rootkit"
CREDS = "credentials that no call gives: pid={{pid}} comm=lab-victim uid={} was_uid=1000 .*permitted={} .*same_cred={}"


def called(trick):
    return f"grep -qE '^{trick} on calls=[1-9]' {STATE}"


# Trick, the findings that must open (detector and message), and what shows inside that it works.
TRICKS = (
    ("hide-task", (("hidden", HIDDEN),),
     "dmesg -c >/dev/null; echo t >/proc/sysrq-trigger; dmesg -s 4000000 >/tmp/tasks; "
     "grep -q task:agent /tmp/tasks && ! grep -q task:lab-victim /tmp/tasks"),
    ("hide-pid", (("hidden", HIDDEN),),
     # By its name, /proc would still find what somebody has looked at before.
     "! ls /proc | grep -qx {pid} && ! ps | grep -q '[l]ab-victim'"),
    ("hide-module", (("hidden", "module is hidden: module=lab_rootkit .*missing_in=.*list"),),
     "! grep -q lab_rootkit /proc/modules"),
    ("syscall", (("hooks", MODULE.format("system_calls", "entry")),
                 ("integrity", r"system-call table changed: number=102 .*is=hook_getuid\+")),
     f"grep -q '^syscall on' {STATE}"),
    ("text", (("integrity", "kernel text changed: .* bytes=1 was=(cc|90) is=c3"),), f"grep -q '^text on' {STATE}"),
    ("fops", (("hooks", MODULE.format("root_inode", "i_fop")),), f"ls /proc >/dev/null; {called('fops')}"),
    ("fops-outside", (("hooks", "leads outside of the kernel and its modules: table=file_operations member=read "
                                r"at=null_fops\+0x1[08]/"),
                      ("integrity", r"kernel rodata changed: null_fops\+0x1")), "[ -z \"$(cat /dev/null)\" ]"),
    ("proto", (("hooks", MODULE.format("proto", "shutdown")),), f"grep -q '^proto on' {STATE}"),
    ("cred", (("creds", CREDS.format("0", "1ffffffffff", "1")),),
     "grep -qE '^Uid:\t0\t0\t0\t0$' /proc/{pid}/status"),
    ("cred-caps", (("creds", CREDS.format("1000", "1ffffffffff", "1")),),
     "grep -qE '^CapEff:\t000001ffffffffff$' /proc/{pid}/status"),
    ("cred-init", (("creds", CREDS.format("0", "1ffffffffff", "0")),
                   ("creds", "a process uses the kernel's own credentials: pid={pid} comm=lab-victim")),
     "grep -qE '^Uid:\t0\t0\t0\t0$' /proc/{pid}/status"),
)

# What the kernel lets any module do, and nobody minds, until the module hides. With the call that the hook sees.
OFFERED = {
    "ftrace": ("ftrace_ops", "func", "id"),
    "kprobe": ("kprobe", "pre_handler", "id"),
    "netfilter": ("nf_hook_entry", "hook", "ifconfig lo up; ping -c 1 127.0.0.1"),
    "notifier": ("reboot_notifier_list", "notifier_call", None),
    "timer": ("timer_list", "function", "sleep 2"),
}


class Watch(Run):
    """The detectors, watching."""

    def __init__(self, args, guest):
        self.changed = threading.Condition()
        # Findings that were told, those of them that last, and the last row of each table.
        self.told = []
        self.open = {}
        self.rows = {}
        self.tasks = 0
        self.runs = {}
        super().__init__(args.gpusentinel, guest, "--rows", "--period", str(PERIOD_MS),
                         *(f"{args.detectors}/{name}.so" for name in DETECTORS))

    def take(self, record):
        if not record:
            return
        with self.changed:
            self.runs[record["detector"]] = record["run"]
            if record["kind"] == "row":
                values = record["values"]
                if record["detector"] == "hooks" and "table" in values:
                    self.rows[values["table"], values["module"]] = values
                elif record["detector"] == "creds":
                    self.tasks = values["tasks"]
            elif record["kind"] == "finding":
                self.told.append(record)
                key = record["detector"], record.get("alarm"), record.get("key")
                if record["state"] in ("open", "changed"):
                    self.open[key] = record
                elif record["state"] == "closed":
                    self.open.pop(key, None)
            self.changed.notify_all()

    def until(self, what, condition):
        deadline = time.monotonic() + PATIENCE
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    told = "; ".join(f"{r['detector']}: {r['state']} {r['message']}" for r in self.told[-12:])
                    raise Failed(f"not within {PATIENCE} s: {what}; told: {told}")
                self.changed.wait(min(left, 1))

    def some_runs(self, count=6):
        """So many more of each detector."""
        with self.changed:
            goal = {name: run + count for name, run in self.runs.items()}
        self.until("runs", lambda: all(self.runs[name] >= run for name, run in goal.items()))

    def severe(self):
        with self.changed:
            return [f"{r['detector']}: {r['message']}" for r in self.told if r["severity"] in SEVERE]

    def found(self, detector, pattern):
        return any(r["detector"] == detector and r["severity"] in SEVERE and r["state"] != "closed" and
                   re.search(pattern, r["message"]) for r in self.told)

    def mended(self):
        """All that lasted is over, and all that was changed is as it was."""
        changes = sum(r["detector"] == "integrity" and r["severity"] in SEVERE for r in self.told)
        undone = sum(r["detector"] == "integrity" and r["message"].startswith("as it was again") for r in self.told)
        return not any(r["severity"] in SEVERE for r in self.open.values()) and undone >= changes

    def forget(self):
        with self.changed:
            self.told = []


def rootkit(guest, trick, pid=None):
    guest.lab("fault", "rootkit", "--trick", trick, *(["--pid", str(pid)] if pid else []))


def nothing_is_wrong(watch, what):
    watch.some_runs()
    severe = watch.severe()
    if severe:
        raise Failed(f"{what}: " + "; ".join(severe))


def play(guest, watch, pid, trick, findings, works):
    watch.forget()
    rootkit(guest, trick, pid)
    guest.sh(works.replace("{pid}", str(pid)))
    for detector, pattern in findings:
        pattern = pattern.replace("{pid}", str(pid))
        watch.until(f"{trick}: {detector}: {pattern}", lambda d=detector, p=pattern: watch.found(d, p))
    rootkit(guest, "heal")
    watch.until(f"the end of {trick}", watch.mended)


def starts_a_program(guest, watch):
    """Root, and exec at once: between two looks of the detector, as a rule."""
    watch.forget()
    pid = guest.sh("victim").strip()
    watch.some_runs()
    guest.sh(f"cd /sys/module/lab_rootkit/parameters && echo {pid} >pid && echo cred >on && kill -USR1 {pid}")
    pattern = f"credentials that no call gives: pid={pid} .*uid=0 was_uid=1000 .*execs=[01] "
    watch.until("root that calls exec", lambda: watch.found("creds", pattern))
    rootkit(guest, "heal")
    guest.sh(f"grep -q '^Name:.busybox' /proc/{pid}/status && kill -9 {pid}")
    watch.until("its end", watch.mended)


def offered_hooks(guest, watch):
    """Inventory while the module is known, findings when it hides."""
    watch.forget()
    for trick, (table, _, call) in OFFERED.items():
        rootkit(guest, trick)
        if call:
            guest.sh(f"{call} >/dev/null; {called(trick)}")
        if trick != "timer":
            watch.until(f"a row of {table}", lambda t=table: (t, "lab_rootkit") in watch.rows)
    nothing_is_wrong(watch, "hooks of a module that is known")
    rootkit(guest, "hide-module")
    for trick, (table, member, _) in OFFERED.items():
        pattern = HIDES.format(table, member)
        watch.until(f"{trick} of a hidden module", lambda p=pattern: watch.found("hooks", p))
    rootkit(guest, "heal")
    watch.until("the end of all hooks", watch.mended)


def play_all(args, guest, watch):
    pid = guest.sh("victim").strip()
    watch.until("first runs", lambda: len(watch.runs) == len(DETECTORS))
    nothing_is_wrong(watch, "nothing happened")
    # The shell that counts, and what it starts, are gone again; kernel threads come and go.
    tasks = int(guest.sh("ls -d /proc/[0-9]*/task/[0-9]* | wc -l"))
    if abs(tasks - watch.tasks) > 8:
        raise Failed(f"creds sees {watch.tasks} tasks, and /proc shows {tasks}")
    guest.sh(ALLOWED)
    nothing_is_wrong(watch, "what is allowed")
    # The lab's module is there from now on; it is no finding by itself.
    rootkit(guest, "notifier")
    rootkit(guest, "heal")
    nothing_is_wrong(watch, "a module that does nothing")
    for trick, findings, works in TRICKS:
        play(guest, watch, pid, trick, findings, works)
        print(f"attacks {args.kernel}: {trick}")
    starts_a_program(guest, watch)
    print(f"attacks {args.kernel}: cred, and exec")
    offered_hooks(guest, watch)
    print(f"attacks {args.kernel}: {', '.join(OFFERED)} and hide-module")
    watch.forget()
    nothing_is_wrong(watch, "all is undone")


def check(args, guest):
    with Watch(args, guest) as watch:
        play_all(args, guest, watch)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detectors", module="lab_rootkit", boot=["--procs", "20"]))
