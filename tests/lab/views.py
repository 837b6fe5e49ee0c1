#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the detectors cpu, pressure and the inventories show equals what the guest itself shows.

    views.py KERNEL --gpusentinel PATH --inside PATH

A guest is given sockets of all kinds, mounts, control groups, BPF objects and a disk with a partition. Its /proc is
read, then it is frozen and looked at from outside: modules, sockets, mounts, bpf, devices and cgroups must be equal in
content, times and pressure must be what /proc showed, or lie between two readings. A healthy guest must raise nothing.
Then CPUs are kept busy, a task is starved, a group throttled, memory made short and pages swapped: each must be found,
with who is to blame, and be told as over when it is.
"""

import ipaddress
import json
import queue
import re
import sys
import time

from watched import Failed, Run, command, run_test

DETECTORS = ("cpu", "pressure", "modules", "sockets", "mounts", "bpf", "devices", "cgroups")
# Seconds for what must happen, on a machine that is busy: averages move slowly.
PATIENCE = 90

SETUP = r"""
set -e
ifconfig lo up
mkdir -p "/tmp/a b/c" /tmp/bind /tmp/cgroup
mount -t tmpfs -o ro,nosuid,nodev,noexec,noatime "some thing" "/tmp/a b/c"
mount --bind /proc/sys /tmp/bind
mount -t cgroup2 groups /tmp/cgroup
cd /tmp/cgroup
echo "+memory +cpu" >cgroup.subtree_control
mkdir -p a/b c d s
echo "+memory" >a/cgroup.subtree_control
(echo 0 >a/b/cgroup.procs; i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done
    exec sleep 1000) >/dev/null 2>&1 </dev/null &
rmmod loop
insmod /modules/loop.ko max_part=7
cd /tmp
dd if=/dev/zero of=disk bs=1M count=8 2>/dev/null
losetup /dev/loop0 disk
printf 'o\nn\np\n1\n\n+4M\nw\n' | fdisk /dev/loop0 >/dev/null 2>&1 || true
dd if=/dev/zero of=/dev/loop0p1 bs=64k count=3 2>/dev/null
sync
/tmp/inside hold >/tmp/held 2>&1 </dev/null &
i=0
until grep -q ready /tmp/held || [ $i -gt 100 ]; do sleep 0.1; i=$((i + 1)); done
cat /tmp/held
"""

READ = r"""
for f in stat modules net/tcp net/tcp6 net/udp net/udp6 net/unix net/dev 1/mountinfo partitions diskstats vmstat \
    pressure/cpu pressure/memory pressure/io; do
    echo "@$f"; cat /proc/$f
done
for d in /sys/class/net/*; do echo "@net ${d##*/}"; cat $d/mtu $d/address $d/operstate; done
cd /tmp/cgroup
for g in . a a/b c d s; do
    echo "@cgroup $g"; wc -l <$g/cgroup.threads; sed -n 's/^usage_usec //p' $g/cpu.stat
    cat $g/memory.current 2>/dev/null || echo -1
done
"""

# All on one CPU: three that want it all and one that gets nothing; a group with a tenth of the other one.
CPU_FAULT = r"""
cat >/tmp/spin.sh <<'END'
renice -n $1 -p $$ >/dev/null
taskset -p 2 $$ >/dev/null
exec /tmp/inside spin
END
for i in 1 2 3; do sh /tmp/spin.sh -20 >/dev/null 2>&1 </dev/null & done
sh /tmp/spin.sh 19 >/dev/null 2>&1 </dev/null &
echo "10000 100000" >/tmp/cgroup/c/cpu.max
(echo 0 >/tmp/cgroup/c/cgroup.procs; exec taskset 1 /tmp/inside spin) >/dev/null 2>&1 </dev/null &
"""

# A process that may not have more memory, and one whose memory goes to swap and back: to a disk that is in memory, too.
MEMORY_FAULT = r"""
echo 6M >/tmp/cgroup/d/memory.high
(echo 0 >/tmp/cgroup/d/cgroup.procs; exec hog) >/dev/null 2>&1 </dev/null &
dd if=/dev/zero of=/tmp/swap bs=1M count=64 2>/dev/null
losetup /dev/loop1 /tmp/swap && mkswap /dev/loop1 >/dev/null && swapon /dev/loop1
echo 12M >/tmp/cgroup/s/memory.max
(echo 0 >/tmp/cgroup/s/cgroup.procs; exec /tmp/inside thrash 40) >/dev/null 2>&1 </dev/null &
"""


def read(guest):
    """/proc and others, by file."""
    found, name = {}, None
    for line in guest.sh(READ).splitlines():
        if line.startswith("@"):
            name = line[1:]
            found[name] = []
        else:
            found[name].append(line)
    return found


def rows_of(args, guest, *detectors):
    """Rows of one run, by detector."""
    found = {name: [] for name in detectors}
    out = command(args.gpusentinel, "-t", f"qemu:{guest.name}", "-e", "cpu", "run", "--once", "--rows",
                  "--json", *detectors)
    for record in map(json.loads, out.splitlines()):
        if record["kind"] == "row":
            found[record["detector"]].append(record["values"])
    return found


class Watch(Run):
    """Detectors that run; what they find comes as "state severity detector message"."""

    def __init__(self, *words):
        self.lines = queue.Queue()
        self.findings = []
        super().__init__(*words)

    def take(self, record):
        if record and record["kind"] == "finding":
            self.lines.put(f"{record['state']} {record['severity']} {record['detector']} {record['message']}")

    def wait(self, *patterns, seconds=PATIENCE):
        """Wait until each of the patterns was found."""
        end = time.monotonic() + seconds
        missing = [p for p in patterns if not any(re.search(p, line) for line in self.findings)]
        while missing:
            try:
                self.findings.append(self.lines.get(timeout=max(end - time.monotonic(), 0.01)))
            except queue.Empty:
                raise Failed(f"not found: {missing}; found: {self.findings}") from None
            missing = [p for p in missing if not re.search(p, self.findings[-1])]

    def quiet(self, seconds):
        try:
            raise Failed(f"a healthy guest, and yet: {self.lines.get(timeout=seconds)}")
        except queue.Empty:
            pass


def same(what, ours, theirs):
    """Of two collections of comparable things."""
    if sorted(ours) != sorted(theirs):
        only_ours = [item for item in ours if item not in theirs]
        only_theirs = [item for item in theirs if item not in ours]
        raise Failed(f"{what}: only from outside: {only_ours}; only in the guest: {only_theirs}")
    if not ours:
        raise Failed(f"{what}: nothing to compare")


def between(what, low, value, high):
    if not low <= value <= high:
        raise Failed(f"{what}: {value} is not between {low} and {high}")


def check_modules(rows, guest):
    theirs = []
    for line in guest["modules"]:
        name, size, refs, users, state, _, *taints = line.split()
        theirs.append((name, int(size), int(refs), users.rstrip(",") or "-", state,
                       taints[0].strip("()") if taints else "-"))
    same("modules", [(r["module"], r["size"], r["refcount"], r["used_by"], r["state"], r["taints"]) for r in rows],
         theirs)


def proc_address(text):
    """An address of /proc/net/tcp and its like as the detector shows it: words in the order of the machine."""
    address, port = text.split(":")
    raw = b"".join(bytes.fromhex(address[i:i + 8])[::-1] for i in range(0, len(address), 8))
    if len(raw) == 4:
        return f"{ipaddress.IPv4Address(raw)}:{int(port, 16)}"
    return f"[{ipaddress.IPv6Address(raw)}]:{int(port, 16)}"


STATES = ["", "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close", "close_wait",
          "last_ack", "listen", "closing"]
UNIX_STATES = {1: "unconnected", 2: "connecting", 3: "connected", 4: "disconnecting"}
UNIX_TYPES = {1: "stream", 2: "dgram", 5: "seqpacket"}


def check_sockets(rows, guest):
    theirs = []
    for proto in ("tcp", "tcp6", "udp", "udp6"):
        for line in guest["net/" + proto][1:]:
            word = line.split()
            tx, rx = (int(number, 16) for number in word[4].split(":"))
            theirs.append((proto, proc_address(word[1]), proc_address(word[2]), STATES[int(word[3], 16)], rx, tx,
                           int(word[7]), int(word[9])))
    ours = [(r["proto"], r["local"], r["remote"], r["state"], r["rx_queue"], r["tx_queue"], r["uid"], r["inode"])
            for r in rows if r["proto"] != "unix"]
    same("sockets", ours, theirs)
    theirs = []
    for line in guest["net/unix"][1:]:
        word = line.split(None, 7)
        state = "listen" if int(word[3], 16) & 0x10000 else UNIX_STATES[int(word[5], 16)]
        theirs.append((UNIX_TYPES[int(word[4], 16)], state, int(word[1], 16), int(word[6]),
                       word[7] if len(word) > 7 else ""))
    same("Unix sockets", [(r["type"], r["state"], r["refcount"], r["inode"], r["path"]) for r in rows
                          if r["proto"] == "unix"], theirs)


def check_mounts(rows, guest):
    theirs = []
    for line in guest["1/mountinfo"]:
        line = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)) if match[1] != "040" else "\0", line)
        mount, _, super_ = line.partition(" - ")
        word, sword = ([w.replace("\0", " ") for w in part.split(" ")] for part in (mount, super_))
        major, minor = word[2].split(":")
        theirs.append((int(word[0]), int(word[1]), int(major), int(minor), word[3], word[4], word[5], sword[0],
                       sword[1], sword[2].split(",")[0]))
    same("mounts", [(r["id"], r["parent"], r["major"], r["minor"], r["root"], r["mountpoint"], r["options"],
                     r["fstype"], r["source"], r["super"]) for r in rows], theirs)


def check_bpf(rows, held):
    told = dict(word.split("=") for word in re.search(r"^program (.*)", held, re.MULTILINE)[1].split())
    ours = [r for r in rows if r["object"] == "program" and r["name"] == "views_prog"]
    same("BPF program", [(str(r["id"]), str(r["loaded_ns"]), str(r["jited_bytes"]), r["tag"], r["type"], r["uid"],
                          r["instructions"]) for r in ours],
         [(told["id"], told["loaded_ns"], told["jited_bytes"], told["tag"], "socket_filter", 0, 2)])
    same("BPF map", [(r["type"], r["key_size"], r["value_size"], r["max_entries"]) for r in rows
                     if r["object"] == "map" and r["name"] == "views_map"], [("hash", 4, 24, 77)])


def check_devices(rows, guest):
    blocks = [r for r in rows if r["kind"] == "block"]
    same("partitions", [(r["major"], r["minor"], r["sectors"] // 2, r["name"]) for r in blocks if r["sectors"]],
         [(int(w[0]), int(w[1]), int(w[2]), w[3]) for w in map(str.split, guest["partitions"][2:])])
    if ("loop0p1", "loop0") not in [(r["name"], r["disk"]) for r in blocks]:
        raise Failed(f"the partition has not its disk: {blocks}")
    same("disk counters",
         [(r["name"], r["reads"], r["read_sectors"], r["writes"], r["written_sectors"], r["in_flight"])
          for r in blocks],
         [(w[2], int(w[3]), int(w[5]), int(w[7]), int(w[9]), int(w[11])) for w in map(str.split, guest["diskstats"])])
    nets = [r for r in rows if r["kind"] == "net"]
    theirs = []
    for line in guest["net/dev"][2:]:
        name, _, numbers = line.partition(":")
        n = [int(number) for number in numbers.split()]
        mtu, address, operstate = guest["net " + name.strip()]
        theirs.append((name.strip(), int(mtu), address, operstate, *n[0:4], n[7], *n[8:12]))
    same("network devices",
         [(r["name"], r["mtu"], r["address"], r["operstate"], r["rx_bytes"], r["rx_packets"], r["rx_errors"],
           r["rx_dropped"], r["multicast"], r["tx_bytes"], r["tx_packets"], r["tx_errors"], r["tx_dropped"])
          for r in nets], theirs)


def check_cgroups(rows, before, after):
    ours = {r["cgroup"]: r for r in rows}
    names = {"." if name == "/" else name[1:]: name for name in ours}
    same("groups", list(names), [key.split(" ", 1)[1] for key in before if key.startswith("cgroup ")])
    for short, name in names.items():
        tasks, usage, memory = (int(number) for number in before["cgroup " + short])
        row = ours[name]
        # The shell that reads is in the root.
        if short != "." and row["tasks"] != tasks:
            raise Failed(f"{name}: {row['tasks']} tasks, not {tasks}")
        if row["memory_kb"] != (memory // 1024 if memory >= 0 else -1):
            raise Failed(f"{name}: {row['memory_kb']} KiB, not {memory} bytes")
        between(f"CPU time of {name}", usage, row["cpu_ns"] // 1000, int(after["cgroup " + short][1]))
    if ours["/a"]["cpu_ns"] != ours["/a/b"]["cpu_ns"] or not ours["/a"]["cpu_ns"]:
        raise Failed(f"/a has not the CPU time of /a/b: {ours['/a']}, {ours['/a/b']}")


COLUMNS = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"]


def check_cpu(rows, before, after):
    for row in rows:
        name = f"cpu{row['cpu']} "
        low, high = (next([int(n) for n in line.split()[1:]] for line in read["stat"] if line.startswith(name))
                     for read in (before, after))
        for column, least, most in zip(COLUMNS, low, high):
            # Two ticks: while a CPU sleeps, memory has the time of before.
            between(f"{name}{column}", least - 2, row[column + "_ns"] // 10**7, most)
    same("CPUs", [f"cpu{row['cpu']}" for row in rows],
         [line.split()[0] for line in before["stat"] if re.match(r"cpu\d", line)])


def check_pressure(rows, before, after, slack):
    """@slack: percent that an update of the averages between the readings may make."""
    seen = 0
    for row in rows:
        if "resource" not in row or row["resource"] == "irq":
            continue
        low, high = (dict(word.split("=") for word in line.split()[1:])
                     for read in (before, after) for line in read["pressure/" + row["resource"]]
                     if line.startswith(row["kind"]))
        name = f"{row['resource']} {row['kind']}"
        between(f"{name} total", int(low["total"]) - 10000, row["total_us"], int(high["total"]) + 10000)
        for column in ("avg10", "avg60", "avg300"):
            ends = sorted((float(low[column]), float(high[column])))
            between(f"{name} {column}", ends[0] - slack, row[column], ends[1] + slack)
        seen += 1
    if seen < 5:
        raise Failed(f"only {seen} kinds of pressure")
    vmstat = [dict(line.split() for line in read["vmstat"]) for read in (before, after)]
    for row in rows:
        if "event" in row and row["event"] in vmstat[0]:
            between(row["event"], int(vmstat[0][row["event"]]), row["total"], int(vmstat[1][row["event"]]))


def check_equal(args, guest, held):
    before = read(guest)
    with guest.frozen():
        rows = rows_of(args, guest, *DETECTORS)
    after = read(guest)
    check_modules(rows["modules"], before)
    check_sockets(rows["sockets"], before)
    check_mounts(rows["mounts"], before)
    check_bpf(rows["bpf"], held)
    check_devices(rows["devices"], before)
    check_cgroups(rows["cgroups"], before, after)
    check_cpu(rows["cpu"], before, after)
    check_pressure(rows["pressure"], before, after, 0.5)


def check_faults(args, guest):
    with Watch(args.gpusentinel, guest, "-p", "pressure.cpu_some_percent=30", "-p", "pressure.swap_pages_per_s=100", "cpu",
               "pressure") as watch:
        watch.quiet(5)
        guest.sh(CPU_FAULT)
        watch.wait(r"open warning cpu .*CPU is saturated: cpu=1 .*comm=inside",
                   r"open warning cpu .*task waits for a CPU: pid=\d+ comm=\w+ wait_ms=\d{4,} cpu=1 ",
                   r"open warning cpu .*group is throttled: cgroup=/c quota_us=10000 period_us=100000 ",
                   r"open warning pressure .*tasks wait for a CPU: .*cpu=1 .*comm=inside")
        guest.sh("killall inside")
        watch.wait(r"closed \S+ cpu .*CPU is saturated", r"closed \S+ cpu .*task waits",
                   r"closed \S+ cpu .*group is throttled")
        guest.sh(MEMORY_FAULT)
        watch.wait(r"open warning pressure .*tasks wait for memory: some_percent=\d\d ",
                   r"open warning pressure .*pages go to swap and back: ")
        # Now that there is some, once more: an update moves the average over 10 s by a fifth of the way.
        before = read(guest)
        rows = rows_of(args, guest, "pressure")["pressure"]
        check_pressure(rows, before, read(guest), 10)
        if max(row["avg10"] for row in rows if row.get("resource") == "memory") < 10:
            raise Failed(f"no pressure: {rows}")
        # The OOM killer may have been first.
        guest.sh("killall inside hog; true")
        watch.wait(r"closed \S+ pressure .*tasks wait for memory", r"closed \S+ pressure .*pages go to swap")
        wrong = [line for line in watch.findings if not re.search(r" (warning|info) (cpu|pressure) ", line)]
        if wrong:
            raise Failed(f"also found: {wrong}")


def check(args, guest):
    guest.put(args.inside, "/tmp/inside")
    held = guest.sh(SETUP)
    if "ready" not in held:
        raise Failed(f"the guest is not set up: {held}")
    check_equal(args, guest, held)
    check_faults(args, guest)


if __name__ == "__main__":
    sys.exit(run_test(check, "--inside", boot=["--procs", "20"]))
