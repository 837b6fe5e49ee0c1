# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

busy_help()
{
	cat <<-'END'
	usage: lab/guest busy NAME [--for SECONDS] [--what LIST]

	Keep a healthy guest busy, default 60 seconds long, in all the ways that a monitor must not mistake for a fault;
	then end it all and leave the guest as it was. LIST is some of these, comma-separated; default all:
	  forks     processes that start and end, hundreds a second
	  files     files written, copied, synced and removed, on tmpfs and on ext4 over a loop device
	  pipes     data through pipes
	  memory    areas mapped, protected and unmapped; threads
	  cpu       bursts of computing on all CPUs
	  modules   a module loaded and unloaded
	  hotplug   CPU 1 taken down and up
	  tracing   function tracer, trace events and kprobes turned on and off
	  pause     the guest stopped by its hypervisor for a second or two, and let go on
	END
}

# Each goes on for as long as the file is there, and cleans up behind itself. Run by the guest's shell.
# shellcheck disable=SC2016
busy_work='
on() { [ -e /run/busy ]; }

busy_forks() {
	while on; do
		for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done
		usleep 20000
	done
}

busy_files() {
	mkdir -p /tmp/busy /run/busy-ext4
	head -c 16777216 /dev/zero >/run/busy.img
	mke2fs -F /run/busy.img >/dev/null 2>&1
	mount -t ext4 -o loop /run/busy.img /run/busy-ext4
	while on; do
		for place in /tmp/busy /run/busy-ext4; do
			for i in 1 2 3 4 5 6 7 8; do head -c $((i * 70000)) /dev/urandom >$place/file$i; done
			cp $place/file8 $place/copy
			cat $place/file* | md5sum >$place/sum
			sync
			rm $place/*[0-9] $place/copy $place/sum
		done
		usleep 200000
	done
	umount -d /run/busy-ext4
	rm -r /run/busy.img /tmp/busy
}

busy_pipes() {
	while on; do
		head -c 2000000 /dev/zero | tr "\000" x | gzip -1 | gunzip | wc -c
		usleep 100000
	done
}

busy_memory() {
	churn /run/busy
}

busy_cpu() {
	while on; do
		for i in 1 2 3; do work cpu 2 & done
		wait
		sleep 2
	done
}

busy_modules() {
	while on; do
		insmod /tmp/modules/dummy.ko
		usleep 300000
		rmmod dummy
		usleep 500000
	done
}

busy_hotplug() {
	online=/sys/devices/system/cpu/cpu1/online
	[ -e $online ] || return 0
	while on; do
		sleep 3
		echo 0 >$online
		sleep 1
		echo 1 >$online
	done
}

busy_tracing() {
	cd /sys/kernel/tracing || return 1
	[ -e current_tracer ] || { mount -t tracefs lab /sys/kernel/tracing && cd /sys/kernel/tracing; } || return 1
	# All functions are more than an emulated CPU can trace and still do its work in time.
	echo "vfs_*" >set_ftrace_filter
	while on; do
		echo function >current_tracer
		usleep 300000
		echo nop >current_tracer
		echo "p:busy_entry vfs_read" >kprobe_events
		echo "r:busy_return do_sys_openat2" >>kprobe_events
		echo 1 >events/kprobes/enable
		sleep 1
		echo 0 >events/kprobes/enable
		echo >kprobe_events
		echo 1 >events/sched/enable
		usleep 300000
		echo 0 >events/sched/enable
		sleep 2
	done
	echo >set_ftrace_filter
}
'

# Pauses are made from outside. Each a second or two, every ten.
busy_pause()
{
	local end=$((SECONDS + $1))

	while [ $((SECONDS + 10)) -lt "$end" ]; do
		sleep 8
		labctl qmp "$dir/qmp-lab.sock" '{"execute":"stop"}' >/dev/null
		sleep "$((1 + RANDOM % 2))"
		labctl qmp "$dir/qmp-lab.sock" '{"execute":"cont"}' >/dev/null
	done
	sleep "$((end > SECONDS ? end - SECONDS : 0))"
}

busy_main()
{
	local duration=60 what=forks,files,pipes,memory,cpu,modules,hotplug,tracing,pause kind seconds=120
	local inside=() pause=''

	guest_running "${1:-}"
	shift
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage_error "busy: $1 wants a value; see 'lab/guest busy --help'"
		case $1 in
		--for) duration=$2 ;;
		--what) what=$2 ;;
		*) usage_error "busy: unknown option $1; see 'lab/guest busy --help'" ;;
		esac
		shift 2
	done
	need_number --for "$duration"
	for kind in ${what//,/ }; do
		case $kind in
		pause) pause=yes ;;
		forks | files | pipes | memory | cpu | hotplug | tracing) inside+=("$kind") ;;
		modules)
			inside+=("$kind")
			fault_kernel_module dummy numdummies=0
			fault_sh 'rmmod dummy'
			;;
		*) usage_error "busy: \"$kind\" is no work; see 'lab/guest busy --help'" ;;
		esac
	done
	fault_sh -i 'cat >/run/busy.sh && : >/run/busy' <<<"$busy_work"
	for kind in "${inside[@]}"; do
		fault_sh "(. /run/busy.sh; busy_$kind) </dev/null >/run/busy-$kind.log 2>&1 &
			echo \$! >>/run/busy"
	done
	if [ -n "$pause" ]; then
		busy_pause "$duration"
	else
		sleep "$duration"
	fi
	# The work has until now said nothing but numbers.
	# shellcheck disable=SC2016
	fault_sh '
		pids=$(cat /run/busy)
		rm /run/busy
		for i in $(seq 200); do
			left=
			for pid in $pids; do [ ! -d /proc/$pid ] || left="$left $pid"; done
			[ -n "$left" ] || break
			usleep 200000
		done
		grep -vE "^(wall_us=.*|2000000)$" /run/busy-*.log
		rm -f /run/busy-*.log /run/busy.sh
		[ -z "$left" ]' || die "$guest: its work does not end"
	printf '%s: was busy for %s s: %s\n' "$guest" "$duration" "${what//,/, }"
}
