# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What shell tests on a guest share. The test sets $guest, and boots it; ends with exit $((failures > 0)).

lab=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../../lab")/guest
work=$(mktemp -d)
failures=0
# Before the name of each check.
label=''

cleanup() {
    "$lab" stop "$guest" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

# At the end of each check's command, however it ends.
check_ends() {
    true
}

# Of one that failed, whose output is in $work/log.
check_failed() {
    head -n 40 "$work/log"
}

# check NAME COMMAND...
check() {
    local name=$label$1 begin=$SECONDS status
    shift
    # In a condition, bash would go on after a command that failed.
    set +e
    (set -e; trap check_ends EXIT; "$@") >"$work/log" 2>&1
    status=$?
    set -e
    if [ $status -eq 0 ]; then
        echo "ok   $name ($((SECONDS - begin)) s)"
    else
        failures=$((failures + 1))
        echo "FAIL $name: exit code $status"
        check_failed
    fi
}
