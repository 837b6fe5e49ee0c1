#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The detector `io` finds requests that do not complete, writes that fail, and file systems that break, and nothing else.

    io.py KERNEL --gpusentinel PATH --detector PATH

What breaks is real: a loop device on a file of a frozen file system has requests that its driver cannot complete, one on a
file that there is no space for fails to write. Rows equal /sys/block/*/stat and /proc/mounts.
"""

import sys

from watched import Failed, Watch, rows, run_test

# loop1 is a file on the file system of loop0; there is no space for all of loop2.
SETUP = """
set -e
mkdir -p /run/fs /run/small /run/other
head -c 33554432 /dev/zero >/run/disk0
mke2fs -F /run/disk0 >/dev/null 2>&1
losetup /dev/loop0 /run/disk0
mount -t ext4 /dev/loop0 /run/fs
head -c 8388608 /dev/zero >/run/fs/disk1
sync
losetup /dev/loop1 /run/fs/disk1
mount -t tmpfs -o size=2M tmpfs /run/small
dd if=/dev/zero of=/run/small/disk2 bs=1M count=0 seek=8 2>/dev/null
losetup /dev/loop2 /run/small/disk2
head -c 8388608 /dev/zero >/run/disk3
mke2fs -F /run/disk3 >/dev/null 2>&1
losetup /dev/loop3 /run/disk3
mount -t ext4 /dev/loop3 /run/other
"""

BUSY = """
dd if=/dev/zero of=/run/fs/file bs=64k count=100 conv=fsync 2>/dev/null
cp /run/fs/file /run/other/file
sync
cat /run/other/file >/dev/null
echo 3 >/proc/sys/vm/drop_caches
cat /run/fs/file >/dev/null
rm /run/fs/file /run/other/file
"""


def equal(args, guest):
    guest.sh("sync")
    got = rows(args.gpusentinel, guest, args.detector)
    devices = {row["device"]: row for row in got if "device" in row}
    for line in guest.sh("cd /sys/block; for d in *; do echo $d $(cat $d/stat) $(cat $d/dev); done").splitlines():
        word = line.split()
        row = devices.get(word[0])
        # Before v5.11 there is a block device only while somebody has it open.
        if not row and args.kernel == "5.10":
            continue
        if not row or [row["reads"], row["writes"], row["in_flight"]] != [int(word[i]) for i in (1, 5, 9)] or \
                f"{row['major']}:{row['minor']}" != word[-1]:
            raise Failed(f"{line}, but the detector has {row}")
    mounts = {line.split()[0]: line.split()[3].split(",")[0] for line in guest.sh("cat /proc/mounts").splitlines()
              if line.startswith("/dev/")}
    shown = {"/dev/" + row["filesystem"]: "ro" if row["readonly"] else "rw" for row in got if "filesystem" in row}
    if mounts != shown or not mounts or not devices:
        raise Failed(f"/proc/mounts has {mounts}, the detector {shown}")


def stuck(guest, watch):
    guest.sh("fsfreeze --freeze /run/fs; dd if=/dev/zero of=/dev/loop1 bs=64k count=4 conv=fsync >/dev/null 2>&1 &")
    print(watch.expect("open warning stuck: requests do not complete: device=loop1 in_flight=[1-9][0-9]* oldest_ms=[0-9]+ "
                       r"op=write sector=0 bytes=[1-9][0-9]* driver=loop_mq_ops\S* \[loop\]"))
    print(watch.expect("changed error stuck: requests do not complete: device=loop1"))
    print(watch.expect("open warning filesystem: file system is frozen: type=ext4 device=loop0"))
    guest.sh("fsfreeze --unfreeze /run/fs")
    watch.expect("closed error stuck: .*device=loop1")
    watch.expect("closed warning filesystem: file system is frozen")
    watch.forget()


def failed_writes(guest, watch, kernel):
    # A device that nobody has open any more has no disk there, and so no name.
    name = r"(loop2|\?)" if kernel == "5.10" else "loop2"
    guest.sh("dd if=/dev/zero of=/dev/loop2 bs=64k count=100 conv=fsync >/dev/null 2>&1; true")
    # EIO: the loop driver says nothing else.
    print(watch.expect(f"event error : writes to a block device failed: device={name} dev=7:2 errno=5"))


def errors(guest, watch):
    guest.sh("mount -o remount,ro /run/other")
    print(watch.expect("open warning filesystem: file system was turned read-only: type=ext4 device=loop3"))
    guest.sh("mount -o remount,rw /run/other")
    watch.expect("closed warning filesystem: file system was turned read-only")
    guest.sh("echo 1 >/sys/fs/ext4/loop3/trigger_fs_error")
    print(watch.expect("open error filesystem: file system has errors: type=ext4 device=loop3 errors=1 marked=1 "
                       "last_in=trigger_test_error"))
    guest.sh("umount /run/other")
    watch.expect("closed error filesystem: file system has errors")
    watch.forget()


def check(args, guest):
    guest.sh(SETUP)
    equal(args, guest)
    with Watch(args.gpusentinel, guest, args.detector, "-p", "io.limit_ms=1500", "-p", "io.frozen_ms=2000") as watch:
        guest.sh(BUSY)
        watch.quiet("a guest that reads and writes", 3)
        with guest.frozen():
            watch.quiet("a guest that stands still", 3)
        guest.sh(BUSY)
        watch.quiet("a guest that goes on", 2)
        stuck(guest, watch)
        failed_writes(guest, watch, args.kernel)
        errors(guest, watch)
    equal(args, guest)


if __name__ == "__main__":
    sys.exit(run_test(check, "--detector"))
