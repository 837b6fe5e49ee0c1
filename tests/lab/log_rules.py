#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules over the kernel's log: the detector's own and those of the shipped file name what a guest really logs.

    log_rules.py KERNEL --gpusentinel PATH --detector PATH
"""

import sys
import tempfile

from watched import Failed, Watch, command, run_test

# What a program says through /dev/kmsg is not the kernel's word, but may be of a rule of one's own.
OWN_RULES = "Marker warning ^lab: (one|two) marker$\n"

FILESYSTEM = """
set -e
head -c 8388608 /dev/zero >/run/disk3
mke2fs -F /run/disk3 >/dev/null 2>&1
losetup /dev/loop3 /run/disk3
mkdir -p /run/other
mount -t ext4 /dev/loop3 /run/other
"""


def events(watch, word):
    watch.poll(1)
    return [finding for finding in watch.findings if word in finding]


def shipped_and_own(args, guest, watch, own):
    # A healthy boot says nothing that is an error.
    watch.quiet("a healthy boot", 3, allowed="^event (info|warning) ")
    guest.sh(FILESYSTEM)
    guest.sh("echo 1 >/sys/fs/ext4/loop3/trigger_fs_error")
    print(watch.expect(r"^event error : Ext4Error: EXT4-fs error \(device loop3\): trigger_test_error"))
    guest.sh("mount -t tmpfs -o size=2M tmpfs /mnt 2>/dev/null || { mkdir -p /mnt && mount -t tmpfs -o size=2M tmpfs /mnt; }; "
             "dd if=/dev/zero of=/mnt/disk bs=1M count=0 seek=8 2>/dev/null; losetup /dev/loop2 /mnt/disk; "
             "dd if=/dev/zero of=/dev/loop2 bs=64k count=100 conv=fsync >/dev/null 2>&1; true")
    print(watch.expect("^event error : IOError: Buffer I/O error on dev loop2, "))
    print(watch.expect("^event error : DiskIOError: .*(I/O|critical space allocation) error, dev loop2, sector "))
    guest.lab("fault", "oom")
    print(watch.expect(r"^event error : OOMKilling: Out of memory: Killed process [0-9]+ \(hog\)"))
    # The detector's own rules and those of the file tell a message once.
    for word in "trigger_test_error", "Out of memory: Killed process":
        if len(events(watch, word)) != 1:
            raise Failed(f"told more than once: {events(watch, word)}")
    # An oops' own words, spoken by a program: no finding of the detector, but one of the shipped rules.
    guest.sh("for n in one two three; do echo lab: $n marker >/dev/kmsg; done")
    own.expect("^event warning : Marker: lab: two marker")
    if len(events(own, "Marker")) != 2 or events(watch, "Marker"):
        raise Failed(f"not as the rules say: {events(own, 'Marker')} and {events(watch, 'Marker')}")
    none = command(args.gpusentinel, "-t", f"qemu:{guest.name}", "-e", "cpu", "run", "--once", "--json", "--rules",
                   "/dev/null", args.detector)
    if "Ext4Error" not in none or '"rule"' in none:
        raise Failed("without rules, the detector's own must be left, and no others")


def check(args, guest):
    with tempfile.NamedTemporaryFile("w") as rules:
        rules.write(OWN_RULES)
        rules.flush()
        with Watch(args.gpusentinel, guest, args.detector) as watch, \
                Watch(args.gpusentinel, guest, args.detector, "--rules", rules.name) as own:
            shipped_and_own(args, guest, watch, own)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detector"))
