# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What tests between the lab's three guests share. The test sets $set, the guests' name, and boots them.

lab=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../../lab")
failed=0

command -v qemu-system-x86_64 >/dev/null || exit 77

# check WHAT COMMAND...
check() {
    local what=$1
    shift
    if "$@"; then
        echo "PASS $what"
    else
        echo "FAIL $what"
        failed=1
    fi
}

# In the card, and in the monitor, for $patience seconds at most.
patience=90

b() {
    "$lab/rdma" sh "$set" b --timeout 90 "$1"
}

c() {
    "$lab/rdma" sh "$set" c --timeout "$patience" "$1"
}

# starts b|c FILE WORD COMMAND: it runs on in that guest, its output in FILE, and has said WORD within 60 s; else what it
# said is shown. FILE.pid is its process.
starts() {
    local member=$1 file=$2 word=$3
    shift 3
    "$member" "$* >$file 2>&1 & echo \$! >$file.pid
        for i in \$(seq 300); do grep -q '$word' $file && exit; sleep 0.2; done
        echo 'no \"$word\" of: $*'; cat $file; exit 1"
}

# What the card's NIC holds for monitors.
resources() {
    b 'rdma resource show' | sed 's/.*pd/pd/'
}

# leaves_nothing RESOURCES: they are what they were.
leaves_nothing() {
    local now
    now=$(resources)
    echo "before: $1"
    echo "after:  $now"
    [ "$now" = "$1" ]
}

stop_guests() {
    "$lab/rdma" stop "$set" >/dev/null 2>&1 || true
}
