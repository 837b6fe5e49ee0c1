#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A quick test of the lab itself: one guest through its life. Prints PASS and FAIL lines; exit status
# 1 if one failed.
# shellcheck disable=SC2317,SC2016
set -euo pipefail

lab=$(dirname "$(readlink -f "$0")")
guest=lab-test-$$
failed=0
work=$(mktemp -d)

cleanup()
{
	"$lab/guest" stop "$guest" >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap cleanup EXIT

# check WHAT COMMAND...: the command must succeed.
check()
{
	local what=$1 status
	shift

	# Not as a condition, where bash would ignore set -e inside.
	set +e
	(
		set -e
		"$@"
	) >"$work/out" 2>&1
	status=$?
	set -e
	if [ "$status" = 0 ]; then
		printf 'PASS %s\n' "$what"
	else
		printf 'FAIL %s\n' "$what"
		sed 's/^/     /' "$work/out"
		failed=1
	fi
}

run()
{
	"$lab/guest" sh "$guest" "$@"
}

boots()
{
	"$lab/guest" boot "$guest" --kernel 6.1 --procs 200 --ram 384M --timeout 600
}

boots_once()
{
	local status=0

	"$lab/guest" boot "$guest" || status=$?
	[ "$status" = 1 ]
}

has_processes()
{
	[ "$(run 'cat /proc/[0-9]*/comm | grep -c "^proc-[0-9]*$"')" = 200 ]
}

exits_with()
{
	local status=0

	run "exit $1" || status=$?
	[ "$status" = "$1" ]
}

# Every byte value, and more than any buffer on the way holds.
is_binary_clean()
{
	head -c 3000000 /dev/urandom >"$work/sent"
	run -i 'cat >/tmp/sent; cat /tmp/sent' <"$work/sent" >"$work/received"
	cmp "$work/sent" "$work/received"
}

keeps_errors_apart()
{
	run 'echo out; echo err >&2' >"$work/stdout" 2>"$work/stderr"
	[ "$(<"$work/stdout")" = out ] && [ "$(<"$work/stderr")" = err ]
}

kills_a_slow_command()
{
	local status=0

	run --timeout 1 'echo $$ >/tmp/pid; sleep 60' || status=$?
	[ "$status" = 124 ] && run 'sleep 0.2; ! kill -0 $(cat /tmp/pid)'
}

memory_sum()
{
	sha256sum <"${GPUSENTINEL_LAB_RAM:-/dev/shm}/gpusentinel-lab-$guest.ram"
}

freezes()
{
	"$lab/guest" freeze "$guest"
	memory_sum >"$work/before"
	sleep 1
	memory_sum | cmp - "$work/before"
	"$lab/guest" list | grep -E "^$guest +frozen"
}

thaws()
{
	"$lab/guest" thaw "$guest"
	run true
}

survives_oom()
{
	"$lab/guest" fault "$guest" oom | grep '(hog)' && run true
}

makes_a_hung_task()
{
	"$lab/guest" fault "$guest" hung-task
	run 'grep -l "^stuck-writer" /proc/[0-9]*/comm | sed "s/comm/stat/" | xargs cut -d" " -f3 | grep D'
}

# The kernel thread's name, state and CPU, as /proc/PID/stat has them.
makes_a_sleeper_by_module()
{
	"$lab/guest" fault "$guest" dstate --cpu 1 | grep 'dstate begins on CPU 1'
	run 'cat /proc/[0-9]*/stat' | awk '$2 == "(lab-dstate)" { print $3, $39 }' | grep -x 'D 1'
}

# A second fault finds the module loaded. A CPU that is not there is an error.
oopses()
{
	local status=0

	"$lab/guest" fault "$guest" oops | grep 'oops begins on CPU 0'
	run 'dmesg | grep "BUG: kernel NULL pointer dereference"'
	"$lab/guest" fault "$guest" hardlockup --cpu 9 || status=$?
	[ "$status" = 1 ] && run true
}

locks_up_for_a_while()
{
	"$lab/guest" fault "$guest" hardlockup --cpu 1 --for 1 | grep 'hardlockup begins on CPU 1'
	run true
}

# A command line without the lab's word, as any other machine's.
loads_no_rootkit_elsewhere()
{
	local status=0

	run 'sed s/gpusentinel_lab=1// /proc/cmdline >/tmp/cmdline; mount --bind /tmp/cmdline /proc/cmdline'
	"$lab/guest" fault "$guest" rootkit --trick syscall || status=$?
	run 'umount /proc/cmdline; [ ! -e /sys/module/lab_rootkit ]'
	[ "$status" = 1 ] && "$lab/guest" log "$guest" | grep 'lab_rootkit: this is no guest of the lab'
}

# Out of /proc, and back.
plays_rootkit()
{
	local pid

	pid=$("$lab/guest" fault "$guest" rootkit --trick hide-pid | sed 's/.*pid=//')
	run "[ ! -e /proc/$pid ]"
	"$lab/guest" fault "$guest" rootkit --trick heal
	run "[ -e /proc/$pid ] && kill -9 $pid"
}

refuses_unknown_faults()
{
	local status=0

	"$lab/guest" fault "$guest" nonsense || status=$?
	[ "$status" = 2 ]
}

forks()
{
	"$lab/guest" fault "$guest" forkbomb --count 300
	[ "$(run 'cat /proc/[0-9]*/comm | grep -c "^forkbomb$"')" = 300 ]
}

# Each has an entry of its own in /proc, and its name.
makes_sleepers()
{
	run 'sleepers 2000'
	[ "$(run 'cat /proc/[0-9]*/comm | grep -c "^sleep-[0-9]*$"')" = 2000 ]
}

works()
{
	run 'work cpu 3' | grep -E '^wall_us=[1-9][0-9]* cpu_us=[0-9]+ round_us=[1-9][0-9]* '
	run 'work memory 3' | grep -E '^wall_us=[1-9][0-9]* cpu_us=[0-9]+ round_us=[1-9][0-9]* '
}

# 125: no answer.
panics()
{
	"$lab/guest" fault "$guest" panic | grep 'sysrq triggered crash'
	exits_with 125
}

stops()
{
	local pid

	pid=$(<"${GPUSENTINEL_LAB:-/run/gpusentinel-lab}/$guest/qemu.pid")
	"$lab/guest" stop "$guest"
	[ ! -e "/proc/$pid/exe" ] && [ ! -e "${GPUSENTINEL_LAB_RAM:-/dev/shm}/gpusentinel-lab-$guest.ram" ] &&
		[ ! -e "${GPUSENTINEL_LAB:-/run/gpusentinel-lab}/$guest" ]
}

check "a guest boots" boots
if [ "$failed" = 0 ]; then
	check "a second boot of the same name is refused" boots_once
	check "--procs starts that many processes" has_processes
	check "exit status 0 comes back" exits_with 0
	check "exit status 77 comes back" exits_with 77
	check "3 MB go in and out unchanged" is_binary_clean
	check "standard output and error stay apart" keeps_errors_apart
	check "a command that takes too long is killed" kills_a_slow_command
	check "frozen memory does not change" freezes
	check "a thawed guest answers" thaws
	check "fault oom: the hog dies, the guest lives" survives_oom
	check "fault hung-task: a writer in state D" makes_a_hung_task
	check "fault dstate: a kernel thread sleeps for good" makes_a_sleeper_by_module
	check "fault oops: the guest lives" oopses
	check "fault hardlockup --for: the guest goes on" locks_up_for_a_while
	check "fault rootkit: refused where the kernel does not say that it is the lab's" loads_no_rootkit_elsewhere
	check "fault rootkit: a process goes from /proc, and comes back" plays_rootkit
	check "an unknown fault is refused" refuses_unknown_faults
	check "fault forkbomb: as many processes as asked for" forks
	check "sleepers: thousands of processes" makes_sleepers
	check "work: an amount of work and its time" works
	check "fault panic: the guest is dead" panics
	check "stop leaves nothing behind" stops
fi
exit "$failed"
