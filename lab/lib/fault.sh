# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

fault_help()
{
	cat <<-'END'
	usage: lab/guest fault NAME FAULT [OPTION...]

	Break the guest, and wait until it shows.
	  panic       sysrq-c; the guest is dead from then on, its memory stays
	  oom         a process "hog" takes all memory until the kernel kills it; the guest lives
	  forkbomb    processes "forkbomb" fork until there are N (default 1000); they stay
	  hung-task   "stuck-writer" writes to a frozen ext4 and stays in state D; the kernel complains after 5 s
	By a kernel module (lab/module), in a kernel thread "lab-FAULT" that is bound to one CPU:
	  softlockup  it spins with preemption off, while "lab-waiter" waits for that CPU
	  hardlockup  it spins with interrupts off
	  freeze      the same on all CPUs at once
	  oops        it writes to a NULL pointer
	  dstate      it sleeps in state D for good
	  rootkit     what rootkits do, one trick at a time; see below
	A guest that is locked up takes a whole CPU of this machine: stop it soon.
	  --count N          of forkbomb
	  --cpu N            of the module's faults; default 0
	  --for SECONDS      end a lockup after that long; default 0: never
	  --timeout SECONDS  exit with status 1 if the fault did not show within; default 120
	  --trick TRICK      of rootkit
	  --pid N            its victim
	END
	rootkit_help
}

# fault_wait SECONDS PATTERN FROM: wait for a console line beyond byte FROM, and print it without its stamp.
fault_wait()
{
	local deadline=$((SECONDS + $1)) line

	while [ "$SECONDS" -lt "$deadline" ]; do
		line=$(tail -c "+$(($3 + 1))" "$dir/console.log" | grep -aE -m 1 "$2" || true)
		if [ -n "$line" ]; then
			sed -E 's/^\[[ 0-9.]+\](\[[ TC0-9]+\])? *//; s/\r$//' <<<"$line"
			return 0
		fi
		guest_pid >/dev/null || return 1
		sleep 0.1
	done
	return 1
}

# In a subshell, which gives the lock on the guest's shell back.
fault_sh()
{
	(sh_main "$guest" --timeout "$seconds" "$@")
}

fault_panic()
{
	# In the background: the command cannot report its end.
	fault_sh 'echo 1 >/proc/sys/kernel/sysrq; (sleep 0.1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &'
	fault_wait "$seconds" 'end Kernel panic - not syncing' "$from" >/dev/null || return 1
	# That line is the last; the one that says why stands before it.
	fault_wait 1 'Kernel panic - not syncing' "$from"
}

fault_oom()
{
	fault_sh 'echo 0 >/proc/sys/vm/panic_on_oom; hog' >/dev/null 2>&1 || true
	fault_wait "$seconds" 'Killed process [0-9]+ \(hog\)' "$from"
}

fault_forkbomb()
{
	local born

	born=$(fault_sh "forkbomb $count") || return 1
	[[ $born =~ ^[0-9]+$ ]] || return 1
	printf '%s processes named forkbomb' "$born"
	if [ "$born" -lt "$count" ]; then
		printf ' (fork refused more)'
	fi
	printf '\n'
}

fault_hung-task()
{
	# Expanded by the guest's shell.
	# shellcheck disable=SC2016
	fault_sh '
		set -e
		mkdir -p /run/hung
		head -c 16777216 /dev/zero >/run/disk
		mke2fs -F /run/disk >/dev/null 2>&1
		loop=$(losetup -f)
		losetup "$loop" /run/disk
		mount -t ext4 "$loop" /run/hung
		echo 5 >/proc/sys/kernel/hung_task_timeout_secs
		echo -1 >/proc/sys/kernel/hung_task_warnings
		: >/run/hung/file
		sync
		fsfreeze --freeze /run/hung
		stuck-writer /run/hung/file >/dev/null 2>&1 &
	' || return 1
	fault_wait "$seconds" 'task stuck-writer:[0-9]+ blocked for more than' "$from"
}

# fault_insert NAME [PARAMETERS]: load a module of the lab, unless it is there. Through the shell's channel, so that
# an initramfs needs no compiler.
fault_insert()
{
	local config kernel release module

	config=$(sed -n 's/^kernel=//p' "$dir/config")
	[ -n "$config" ] || die "$guest: no module for a kernel that is not the lab's"
	kernel=$(kernel_fetch "${config%-*}" "${config##*-}")
	release=$(fault_sh 'uname -r')
	[ "$release" = "$(<"$kernel/release")" ] ||
		die "$guest: runs $release, and the cache has $(<"$kernel/release") by now; boot it anew"
	module=$(module_build "${config%-*}" "${config##*-}" "$1") || return 1
	fault_sh "[ -d /sys/module/$1 ]" || {
		fault_sh -i "cat >/tmp/$1.ko" <"$module"
		fault_sh "insmod /tmp/$1.ko ${2:-}" >&2
	}
}

fault_module()
{
	fault_insert lab_fault || return 1
	fault_sh "cd /sys/module/lab_fault/parameters &&
		echo $cpu >cpu && echo $duration >seconds && echo $fault >fault" >&2 || return 1
	fault_wait "$seconds" "lab_fault: $fault begins" "$from"
}

fault_main()
{
	local trick='' victim=0 fault run count=1000 cpu=0 duration=0 seconds=120 from said

	guest_running "${1:-}"
	fault=${2:-}
	case $fault in
	panic | oom | forkbomb | hung-task | rootkit) run=fault_$fault ;;
	softlockup | hardlockup | freeze | oops | dstate) run=fault_module ;;
	*) usage_error "\"$fault\" is no fault; 'lab/guest fault --help' shows those that exist" ;;
	esac
	shift 2
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage_error "fault: $1 wants a value; see 'lab/guest fault --help'"
		case $1 in
		--count) count=$2 ;;
		--cpu) cpu=$2 ;;
		--for) duration=$2 ;;
		--timeout) seconds=$2 ;;
		--trick) trick=$2 ;;
		--pid) victim=$2 ;;
		*) usage_error "fault: unknown option $1; see 'lab/guest fault --help'" ;;
		esac
		shift 2
	done
	need_number --count "$count"
	need_number --cpu "$cpu"
	need_number --for "$duration"
	need_number --timeout "$seconds"
	need_number --pid "$victim"
	from=$(stat -c %s "$dir/console.log")
	said=$("$run") ||
		die "$guest: no $fault within $seconds s; see 'lab/guest log $guest'"
	printf '%s: %s\n' "$guest" "$said"
}
