#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detectors hung_task and rcu_stall find what does not go on, with who holds it up, and nothing in a healthy guest.

    hung_tasks.py KERNEL --gpusentinel PATH --detectors DIRECTORY

A task writes to a frozen file system until it is thawed; a thread of the kernel sleeps in state D for good; a CPU spins
with preemption off while a grace period of RCU waits for it. What the detector shows of a stack is compared with
/proc/PID/stack.
"""

import sys

from watched import Failed, Watch, rows, run_test

LIMIT_MS = 500

# Sleeps in state D that end, parents that wait for vfork(), and grace periods that end.
BUSY = """
for i in 1 2 3 4 5; do
    sync
    head -c 4000000 /dev/urandom >/tmp/file
    cat /tmp/file >/dev/null
    rmmod loop; insmod /modules/loop.ko
done
true
"""

# lab/guest fault hung-task, undone.
THAW = "fsfreeze --unfreeze /run/hung; sleep 0.2; ! pgrep stuck-writer >/dev/null"


def stack_equal(guest, finding, pid):
    """The guest shows what waits inside as well, and what is shown here is cut at the outer end."""
    ours = [entry.split("+")[0] for entry in finding.rsplit("stack=", 1)[1].split(" < ")]
    theirs = [line.split()[-1].split("+")[0] for line in guest.sh(f"cat /proc/{pid}/stack").splitlines()]
    begin = theirs.index(ours[0]) if ours[0] in theirs else len(theirs)
    if len(ours) < 3 or theirs[begin:begin + len(ours)] != ours:
        raise Failed(f"stacks differ: {ours}, and in the guest {theirs}")


def frozen(args, guest):
    with Watch(args.gpusentinel, guest, f"{args.detectors}/hung_task.so", "-p", f"hung_task.limit_ms={LIMIT_MS}") as watch:
        watch.quiet("a healthy guest", 1)
        guest.sh(BUSY)
        watch.quiet("a busy guest", 1)
        guest.lab("fault", "hung-task")
        found = watch.expect(r"^open warning hung_task: .*pid=\d+ comm=stuck-writer waited_ms=\d+ .*stack=.*write\+")
        pid = found.split("pid=")[1].split()[0]
        stack_equal(guest, found, pid)
        guest.sh(THAW)
        watch.expect(rf"^closed warning hung_task: pid={pid} ")
        watch.forget()
        guest.lab("fault", "dstate")
        watch.expect(r"^open warning hung_task: .*comm=lab-dstate .*stack=.*fault_dstate\+\S+ \[lab_fault\] < kthread\+")
        # The one that was found stays, and is told once.
        watch.forget()
        watch.quiet("a task that hangs on", 2)
        deadlock(guest, watch)


def deadlock(guest, watch):
    # In faults of a kernel thread each.
    guest.lab("fault", "mutex-abba", "--for", "5")
    found = watch.expect(r"^open critical deadlock: tasks wait for each other: ")
    for text in ("comm=lab-mutex-ab", "comm2=lab-mutex-ba", "lock=mutex_b+0x0", "lock2=mutex_a+0x0"):
        if text not in found:
            raise Failed(f"not in the finding: {text}: {found}")
    watch.expect(r"^open warning hung_task: .*comm=lab-mutex-ab .*for a mutex lock=mutex_b\+\S+ \S+ held by "
                 r"owner_pid=\d+ owner_comm=lab-mutex-ba owner_state=D, chain=2 ")
    watch.expect(r"^closed critical deadlock: ")


def stalled(args, guest):
    with Watch(args.gpusentinel, guest, f"{args.detectors}/rcu_stall.so", "-p", f"rcu_stall.limit_ms={LIMIT_MS}") as watch:
        guest.sh(BUSY)
        watch.quiet("a busy guest", 1)
        guest.lab("fault", "rcu-spin", "--cpu", "1", "--for", "5")
        watch.expect(r"^open warning rcu_stall: grace period waits for (cpu=1: .*|a reader: .*)comm=lab-rcu-spin ")
        watch.expect(r"^closed warning rcu_stall: .*comm=lab-rcu-spin ")
        watch.forget()
        # Only a kernel that preempts its readers has such ones.
        if not guest.sh("grep -c ' rcu_read_unlock_special' /proc/kallsyms || true").strip("0\n"):
            return
        guest.lab("fault", "rcu-sleep", "--for", "5")
        watch.expect(r"^open warning rcu_stall: grace period waits for a reader: .*comm=lab-rcu-sleep state=S, "
                     r"stack=\S+ \[lab_fault\] < fault_rcu_sleep\+")
        watch.expect(r"^closed warning rcu_stall: .*comm=lab-rcu-sleep ")


def rows_of_hung(args, guest):
    """A first run cannot know for how long."""
    got = rows(args.gpusentinel, guest, f"{args.detectors}/hung_task.so")
    if got:
        raise Failed(f"tasks that hang at first sight: {got}")


def check(args, guest):
    rows_of_hung(args, guest)
    frozen(args, guest)
    stalled(args, guest)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detectors", module="lab_fault"))
