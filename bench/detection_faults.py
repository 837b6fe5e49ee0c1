# SPDX-License-Identifier: Apache-2.0
"""What bench/detection injects: one line a fault. Add a line, and it is measured."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of the lab, what must be found, and what the guest's own kernel says of it."""

    # Of `lab/guest fault`, with its options.
    inject: str
    # None: no detector is there for it.
    detector: str | None
    # Of the message of the finding.
    finds: str = ""
    # What the guest's kernel writes to its log of its own accord, and a command in the guest that prints after how many
    # seconds, or in words when. Without the latter, it says so at once or not at all.
    says: str = ""
    after: str = ""
    # A command in the guest that succeeds where its own tools show nothing of what is wrong; {pid} is the victim's.
    deceived: str = ""
    # The guest does not survive it; or it does, but its kernel no longer looks for tasks that hang.
    dies: bool = False
    spoils: bool = False
    # It can be ended by --for alone, or ends so in any case: how long it lasts.
    lasts: int = 0
    # Faults before it, which are none by themselves.
    before: tuple[str, ...] = ()

    @property
    def name(self):
        words = self.inject.split()
        if words[0] != "rootkit":
            return words[0]
        return "rootkit " + " + ".join([trick.split()[-1] for trick in self.before] + [words[2]])


# Limits are set to half a second where there are any that are measured in time.
LIMITS = ("lockup.limit_ms", "hung_task.limit_ms", "rcu_stall.limit_ms", "io.limit_ms", "net.stopped_ms", "cpu.starve_ms")
LIMIT_MS = 500

SOFT = "echo $((2 * $(cat /proc/sys/kernel/watchdog_thresh)))"
# Needs counters that interrupt what has interrupts off; an emulated CPU has none.
HARD = "[ $(cat /proc/sys/kernel/nmi_watchdog) = 1 ] && cat /proc/sys/kernel/watchdog_thresh || echo never"
HUNG = "cat /proc/sys/kernel/hung_task_timeout_secs"
STALL = "cat /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout"
EXHAUSTED = "echo when memory is out"

SAYS_STALL = r"rcu: INFO: .*(detected (expedited )?stalls|self-detected stall)"
# The stall comes first where a CPU spins, and what prints it puts the watchdog of soft lockups off.
SAYS_SOFT = r"BUG: soft lockup - CPU#\d+ stuck|" + SAYS_STALL
SAYS_OOM = r"Out of memory: Killed process|invoked oom-killer"

FAILURES = (
    Fault("panic", "panic", r"^kernel panic: cpu=", r"Kernel panic - not syncing", dies=True),
    Fault("stack", "panic", r"^kernel panic: cpu=\d+ pid=\d+ comm=lab-stack", r"Kernel panic - not syncing", dies=True),
    Fault("oops", "oops", r"^BUG: kernel NULL pointer .*comm=lab-oops ", r"BUG: kernel NULL pointer", spoils=True),
    Fault("bug", "oops", r"^kernel BUG at .*comm=lab-bug ", r"kernel BUG at", spoils=True),
    Fault("warn", "oops", r"^kernel warning: .*fault_warn\+", r"WARNING: .*fault_warn\+"),
    Fault("list", "oops", r"comm=lab-list |^kernel warning: .*list_debug", r"list_del corruption", spoils=True),
    Fault("softlockup --cpu 1", "lockup", r"^soft lockup: cpu=1 .*comm=lab-softlockup", SAYS_SOFT, SOFT, lasts=3),
    Fault("hardlockup --cpu 1", "lockup", r"^hard lockup: cpu=1 .*comm=lab-hardlockup",
          r"hard LOCKUP|" + SAYS_STALL, STALL, lasts=3),
    Fault("freeze", "lockup", r"^system stands still: .*comm=lab-freeze", r"hard LOCKUP", HARD, lasts=3),
    Fault("spin-aa --cpu 1", "lockup", r"^soft lockup: cpu=1 .*comm=lab-spin-aa", SAYS_SOFT, SOFT, lasts=3),
    Fault("spin-abba", "lockup", r"^soft lockup: .*comm=lab-spin-(abba|ba)", SAYS_SOFT, SOFT, lasts=3),
    Fault("mutex-abba", "hung_task", r"^tasks wait for each other: .*comm=lab-mutex-", r"task lab-mutex-", HUNG, lasts=5),
    Fault("dstate", "hung_task", r"^pid=\d+ comm=lab-dstate ", r"task lab-dstate:", HUNG, lasts=5),
    # It sets the limit of the kernel to 5 s.
    Fault("hung-task", "hung_task", r"^pid=\d+ comm=stuck-writer ", r"task stuck-writer:"),
    Fault("rcu-spin --cpu 1", "rcu_stall", r"^grace period waits for .*comm=lab-rcu-spin ", SAYS_STALL, STALL, lasts=3),
    Fault("rcu-sleep", "rcu_stall", r"^grace period waits for a reader: .*comm=lab-rcu-sleep ", SAYS_STALL, STALL, lasts=3),
    Fault("task-circle", "hidden", r"^list of tasks leads in a circle: .*comm=lab-circle-2 "),
    Fault("oom", "memory", r"^(memory is short|out of memory): .*comm=hog ", SAYS_OOM),
    Fault("leak", "leaks", r"^process grows: pid=\d+ comm=leak ", SAYS_OOM, EXHAUSTED),
    Fault("leak-slab --count 128", "leaks", r"^slab cache grows: cache=kmalloc-(rnd-\d+-)?1k ", SAYS_OOM, EXHAUSTED),
    Fault("leak-cache --count 128", "leaks", r"^slab cache grows: cache=lab_leak ", SAYS_OOM, EXHAUSTED),
    Fault("leak-vmalloc --count 128", "leaks", r"^vmalloc grows: caller=\S+ \[lab_fault\]", SAYS_OOM, EXHAUSTED),
    Fault("leak-pages --count 128", "leaks", r"^pages that no counter has grow: ", SAYS_OOM, EXHAUSTED),
    Fault("swap-full", "leaks", r"^swap is exhausted: "),
    Fault("forkbomb", "tasks", r"^tasks multiply: .*comm2?=forkbomb"),
    Fault("threads", "tasks", r"^tasks multiply: .*=threads"),
    Fault("pid-max --count 600", "tasks", r"^pids run out: ", lasts=6),
    Fault("threads-max --count 600", "tasks", r"^threads run out: ", lasts=6),
    Fault("fds", "files", r"^a process runs out of descriptors: pid=\d+ comm=fd-hog "),
    Fault("file-max --count 1000", "files", r"^files run out: .*comm=fd-hog ", r"VFS: file-max limit"),
    Fault("inodes", "files", r"^inodes run out: tmpfs "),
    Fault("sockets", "files", r"^a process runs out of descriptors: pid=\d+ comm=socket-hog "),
    Fault("ports", "net", r"^local ports run out: .* used=\d+ of=64 "),
    Fault("io-error", "log", r"^IOError: Buffer I/O error on dev dm-|^Buffer I/O error on dev dm-", r"Buffer I/O error on dev dm-"),
    # A device without requests of its own: only who waits for it shows it.
    Fault("io-slow", "hung_task", r"^pid=\d+ comm=(reader|dd) "),
    Fault("io-suspended", "hung_task", r"^pid=\d+ comm=reader ", r"task reader:", HUNG),
    Fault("io-hang", "io", r"^(requests do not complete|nothing completes): device=sd", r"task dd:", HUNG, lasts=4),
    Fault("io-timeout", "io", r"^(requests do not complete|nothing completes): device=sd", r"I/O error, dev sd"),
    Fault("fs-readonly", "io", r"^file system (has errors|was turned read-only): type=ext4 device=dm-", r"EXT4-fs error"),
    Fault("carrier", "net", r"^carrier lost: device=lab0 "),
    Fault("tx-hang", "net", r"^transmit queue is stuck: device=lab-nic ", r"NETDEV WATCHDOG"),
    Fault("rx-drops", "net", r"^(backlog is full: |received packets are dropped: device=lo )"),
    Fault("udp-drops", "net", r"^sockets have no room for datagrams: "),
    Fault("listen", "net", r"^(listen queue is full: port=7002 |connections are turned away: )", r"Possible SYN flooding"),
    Fault("conntrack", "net", r"^table of tracked connections is full: ", r"nf_conntrack: table full"),
)

PERFORMANCE = (
    Fault("cpu-hog", "cpu", r"^(all CPUs are saturated|CPU is saturated): .*comm=cpu-hog"),
    Fault("rt-hog --cpu 1", "cpu", r"^CPU is saturated: cpu=1 .*comm=rt-hog|^task waits for a CPU: .*comm=rt-hog",
          r"sched: RT throttling activated"),
    Fault("throttle", "cpu", r"^group is throttled: cgroup=/lab "),
    Fault("swap-storm", "pressure", r"^pages go to swap and back: "),
)

MODULE = r"^the kernel's own leads into a module: table={} member={} .*module=lab_rootkit"
HIDES = r"leads into a module that is hidden: table={} member={} .*module=lab_rootkit"
CREDS = r"^credentials that no call gives: pid=\d+ comm=lab-victim "


def trick(name, detector, finds, deceived="", before=()):
    return Fault(f"rootkit --trick {name}", detector, finds, deceived=deceived,
                 before=tuple(f"rootkit --trick {other}" for other in before))


ATTACKS = (
    trick("hide-task", "hidden", r"^process is hidden: .*comm=lab-victim .*missing_in=\S*list",
          "dmesg -c >/dev/null; echo t >/proc/sysrq-trigger; dmesg -s 4000000 >/tmp/tasks; "
          "grep -q task:agent /tmp/tasks && ! grep -q task:lab-victim /tmp/tasks"),
    trick("hide-pid", "hidden", r"^process is hidden: .*comm=lab-victim .*missing_in=",
          "! ls /proc | grep -qx {pid} && ! ps | grep -q '^ *{pid} '"),
    trick("hide-module", "hidden", r"^module is hidden: module=lab_rootkit .*missing_in=\S*list",
          "! grep -q lab_rootkit /proc/modules"),
    trick("syscall", "hooks", MODULE.format("system_calls", "entry")),
    trick("text", "integrity", r"^kernel text changed: .* bytes=1 was=(cc|90) is=c3"),
    trick("fops", "hooks", MODULE.format("root_inode", "i_fop")),
    trick("fops-outside", "hooks", r"^leads outside of the kernel and its modules: table=file_operations member=read "),
    trick("proto", "hooks", MODULE.format("proto", "shutdown")),
    trick("cred", "creds", CREDS + "uid=0 was_uid=1000 .*same_cred=1"),
    trick("cred-caps", "creds", CREDS + "uid=1000 was_uid=1000 .*same_cred=1"),
    trick("cred-init", "creds", r"^a process uses the kernel's own credentials: pid=\d+ comm=lab-victim"),
    # Hooks that the kernel offers are none of a rootkit until their module hides.
    trick("hide-module", "hooks", HIDES.format("ftrace_ops", "func"), before=("ftrace",)),
    trick("hide-module", "hooks", HIDES.format("kprobe", "pre_handler"), before=("kprobe",)),
    trick("hide-module", "hooks", HIDES.format("nf_hook_entry", "hook"), before=("netfilter",)),
    trick("hide-module", "hooks", HIDES.format("reboot_notifier_list", "notifier_call"), before=("notifier",)),
    trick("hide-module", "hooks", HIDES.format("timer_list", "function"), before=("timer",)),
)

# What spoils or kills the guest comes last: it wants a new one.
KINDS = (("failures", tuple(sorted(FAILURES, key=lambda fault: (fault.dies, fault.spoils)))), ("performance", PERFORMANCE),
         ("attacks", ATTACKS))
