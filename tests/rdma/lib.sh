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
patience=60

b() {
    "$lab/rdma" sh "$set" b --timeout 60 "$1"
}

c() {
    "$lab/rdma" sh "$set" c --timeout "$patience" "$1"
}

stop_guests() {
    "$lab/rdma" stop "$set" >/dev/null 2>&1 || true
}
