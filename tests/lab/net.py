#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detector `net` finds what a network suffers from, and nothing in a healthy one.

    net.py KERNEL --gpusentinel PATH --detector PATH --netload PATH

A carrier is lost, packets and datagrams are dropped, a listen queue overflows, the table of tracked connections is full,
local ports run out, a card does not send. Rows equal
/sys/class/net, /proc/net/netstat and /proc/net/softnet_stat.
"""

import lzma
import pathlib
import sys
import tempfile
import time

from watched import LAB, Failed, Watch, command, rows, run_test

# In the order in which they need each other; what a kernel has built in, or no longer has, is left out.
DEVICES = ["dummy", "veth"]
CONNTRACK = ["libcrc32c", "nf_defrag_ipv4", "nf_defrag_ipv6", "nfnetlink", "nf_conntrack", "nf_conntrack_netlink"]

# A pair of devices, and one whose carrier can be taken; the loopback device is up.
SETUP = """
[ ! -e /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
ip link add lab0 type veth
ip link set lo up
ip link set dummy0 up || { ip link add dummy0 type dummy && ip link set dummy0 up; }
ip link set lab0 up
ip link set veth0 up
"""

BUSY = """
(echo hello | nc -l -p 5555 >/dev/null) &
sleep 0.2
head -c 1000000 /dev/zero | nc 127.0.0.1 5555 >/dev/null 2>&1 &
ip addr add 198.51.100.1/24 dev lab0 2>/dev/null
ping -c 3 -W 1 198.51.100.77 >/dev/null 2>&1
ip link set dummy0 down
ip link set dummy0 up
true
"""


def load_modules(guest, kernel, names):
    directory = pathlib.Path(command(LAB, "kernel", kernel).strip())
    for name in names:
        for file in directory.rglob(f"{name}.ko*"):
            data = file.read_bytes()
            with tempfile.NamedTemporaryFile() as unpacked:
                unpacked.write(lzma.decompress(data) if file.suffix == ".xz" else data)
                unpacked.flush()
                guest.put(unpacked.name, f"/tmp/{name}.ko")
            guest.sh(f"insmod /tmp/{name}.ko")


def equal_devices(guest, got):
    lines = guest.sh("cd /sys/class/net; for d in *; do echo $d $(cat $d/ifindex $d/flags $d/mtu $d/carrier_up_count "
                     "$d/carrier_down_count $d/statistics/rx_dropped $d/statistics/tx_dropped "
                     "$d/statistics/rx_errors); done").splitlines()
    devices = {row["device"]: row for row in got if "device" in row}
    for line in lines:
        word = line.split()
        row = devices.pop(word[0], {})
        want = dict(zip(["ifindex", "flags", "mtu", "carrier_up_count", "carrier_down_count", "rx_dropped",
                         "tx_dropped", "rx_errors"], [int(w, 0) for w in word[1:]]))
        wrong = {name: (row.get(name), value) for name, value in want.items() if row.get(name) != value}
        # The state of the interface itself has bits that are computed from others.
        if "flags" in wrong and (row["flags"] ^ want["flags"]) & 0xff3f == 0:
            del wrong["flags"]
        if wrong:
            raise Failed(f"{word[0]}: {wrong}")
    if devices or len(lines) < 3:
        raise Failed(f"also shown: {devices}")


def equal_counters(guest, got):
    tcp = [line.split() for line in guest.sh("grep TcpExt /proc/net/netstat").splitlines()]
    want = dict(zip(tcp[0][1:], map(int, tcp[1][1:])))
    row = next(row for row in got if "listen_overflows" in row)
    if [row["listen_overflows"], row["listen_drops"]] != [want["ListenOverflows"], want["ListenDrops"]]:
        raise Failed(f"{row}, /proc/net/netstat has {want['ListenOverflows']} and {want['ListenDrops']}")
    if row["conntrack"] != int(guest.sh("cat /proc/sys/net/netfilter/nf_conntrack_count 2>/dev/null || echo 0")):
        raise Failed(f"{row}, and nf_conntrack_count differs")
    lines = guest.sh("cat /proc/net/softnet_stat").splitlines()
    for row in [row for row in got if "time_squeeze" in row]:
        word = [int(w, 16) for w in lines[row["cpu"]].split()]
        if [row["processed"], row["dropped"], row["time_squeeze"]] != word[:3]:
            raise Failed(f"{row}, /proc/net/softnet_stat has {word[:3]}")


def equal(args, guest):
    """A packet on its way makes a difference, and is soon over."""
    for left in reversed(range(5)):
        got = rows(args.gpusentinel, guest, args.detector)
        try:
            equal_devices(guest, got)
            equal_counters(guest, got)
            return
        except Failed:
            if not left:
                raise
            time.sleep(1)


def faults(args, guest, watch):
    guest.sh("echo 0 >/sys/class/net/dummy0/carrier")
    print(watch.expect("open warning carrier: carrier lost: device=dummy0 "))
    guest.sh("echo 1 >/sys/class/net/dummy0/carrier")
    watch.expect("closed warning carrier: carrier lost: device=dummy0 ")

    guest.sh("/tmp/netload drops lab0 >/tmp/drops.log 2>&1 & /tmp/netload overflow >/tmp/overflow.log 2>&1 &")
    print(watch.expect("open warning drops: received packets are dropped: device=veth0 per_s=[1-9][0-9]* "))
    print(watch.expect("open warning listen: listen queue is full: port=7777 waiting=2 of=1 pid=[0-9]+ comm=netload "))
    guest.sh("killall netload")
    watch.expect("closed warning drops: .*device=veth0")
    watch.expect("closed warning listen: ")

    # It comes while the detector runs.
    load_modules(guest, args.kernel, CONNTRACK)
    guest.sh("echo 40 >/proc/sys/net/netfilter/nf_conntrack_max && /tmp/netload conntrack 37")
    print(watch.expect("open warning conntrack: table of tracked connections is full: netns=[0-9]+ count=37 max=40"))
    guest.sh("! /tmp/netload conntrack 50 2>/dev/null")
    print(watch.expect("changed error conntrack: .*count=40 max=40"))
    guest.sh("echo 1000 >/proc/sys/net/netfilter/nf_conntrack_max")
    watch.expect("closed error conntrack: ")

    # A card that does not send what it took, and a program that does not read what comes.
    guest.lab("fault", "tx-hang")
    print(watch.expect("open error transmit: transmit queue is stuck: device=lab-nic queue=0 "))
    guest.lab("fault", "heal")
    watch.expect("closed error transmit: ")
    guest.lab("fault", "udp-drops")
    print(watch.expect("open warning drops: sockets have no room for datagrams: "))
    guest.lab("fault", "heal")
    watch.expect("closed warning drops: sockets have no room")

    guest.lab("fault", "ports")
    print(watch.expect("open warning ports: local ports run out: netns=[0-9]+ used=(5[89]|6[0-4]) of=64 range=32768-32831"))
    guest.lab("fault", "heal")
    watch.expect("closed warning ports: ")


def check(args, guest):
    guest.put(args.netload, "/tmp/netload")
    load_modules(guest, args.kernel, DEVICES)
    guest.sh(SETUP)
    equal(args, guest)
    with Watch(args.gpusentinel, guest, args.detector) as watch:
        guest.sh(BUSY)
        watch.quiet("a guest that uses its network", 3)
        with guest.frozen():
            watch.quiet("a guest that stands still", 3)
        faults(args, guest, watch)
    equal(args, guest)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detector", "--netload", module="lab_fault"))
