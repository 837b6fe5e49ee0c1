# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Faults of user space: programs (lab/inside) that take too much of something.

fault_user_help()
{
	cat <<-'END'
	Of user space, by a process of that name where none is said:
	  oom           "hog" takes all memory until the kernel kills it; the guest lives
	  leak          its memory grows by --rate, up to --count MiB (default: all that there is)
	  forkbomb      processes fork until there are --count (default 1000); they stay
	  pid-max       "forkbomb" until pids run out at kernel.pid_max = --count (default 1024); undone by --for alone
	  threads-max   the same at kernel.threads-max
	  threads       one process with --count threads (default 1000)
	  fds           "fd-hog" has all the files that RLIMIT_NOFILE = --count (default 1024) lets it have
	  file-max      "fd-hog" of uid 1000 takes the last of --count (default 4096) files of fs.file-max
	  inodes        /run/inodes, a tmpfs, has used up its --count inodes (default 1024)
	  sockets       "socket-hog" has --count sockets (default 1024), and may not have more
	  ports         "port-hog" has connected to itself from each of 64 ports of ip_local_port_range
	  cpu-hog       --count processes compute (default: twice as many as CPUs)
	  rt-hog        it computes on --cpu, in the real-time class, where "cpu-hog" would like to
	  throttle      "cpu-hog" in a cgroup that has 5% of a CPU
	  swap-storm    "thrash" writes to 64 MiB at random, in a cgroup that may have 16 MiB, over a ram disk
	  swap-full     "hold" has driven what it has into a swap area of 32 MiB that is full
	END
}

inject_oom()
{
	fault_sh 'echo 0 >/proc/sys/vm/panic_on_oom; begins; hog' >/dev/null 2>&1 || true
	fault_wait "$seconds" 'Killed process [0-9]+ \(hog\)' "$from"
}

inject_leak()
{
	local said

	fault_undo <<<'killall -9 leak' || return 1
	fault_sh "begins; leak $rate ${count:-0} >/dev/null 2>&1 &" || return 1
	said=$(fault_until "$seconds" '
		pid=$(pidof leak) && kb=$(sed -n "s/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p" /proc/$pid/status) &&
		[ $kb -ge 4096 ] && echo "pid=$pid rss_kb=$kb"') || return 1
	printf 'process leak grows by %s KiB/s: %s\n' "$rate" "$said"
}

# fault_bomb ARGUMENT...: of forkbomb; sets born.
fault_bomb()
{
	born=$(fault_sh "begins; forkbomb $*") && [[ $born =~ ^[0-9]+$ ]]
}

inject_forkbomb()
{
	local born

	fault_undo <<<'killall -9 forkbomb' || return 1
	fault_bomb "${count:=1000}" || return 1
	printf '%s processes named forkbomb' "$born"
	if [ "$born" -lt "$count" ]; then
		printf ' (fork refused more)'
	fi
	printf '\n'
}

# fault_no_forks PATH: a limit of the kernel is lowered and used up. Then the bomb alone can end itself.
fault_no_forks()
{
	local born was later=$duration duration=0

	was=$(fault_sh "cat $1") || return 1
	fault_undo <<<"echo $was >$1; rm /run/undo/$fault" || return 1
	fault_sh "echo ${count:-1024} >$1" || return 1
	[ "$later" -eq 0 ] || later+=" /run/undo/$fault"
	fault_bomb 1000000 hold "$later" || return 1
	! fault_sh true 2>/dev/null || return 1
	printf 'with %s at %s, and %s processes named forkbomb, fork is refused\n' "${1##*/}" "${count:-1024}" "$born"
}

inject_pid-max() { fault_no_forks /proc/sys/kernel/pid_max; }
inject_threads-max() { fault_no_forks /proc/sys/kernel/threads-max; }

inject_threads()
{
	local said

	fault_undo <<<'killall -9 threads' || return 1
	said=$(fault_sh "begins; threads ${count:=1000}") || return 1
	[ "${said%% *}" = "$count" ] || return 1
	printf 'a process named threads with %s threads\n' "$count"
}

inject_fds()
{
	local said

	fault_undo <<<'killall -9 fd-hog' || return 1
	said=$(fault_sh "begins; fd-hog ${count:-1024}") || return 1
	[ "${said#* }" = 'Too many open files' ] || return 1
	printf 'fd-hog has %s more files than it began with: %s\n' "${said%% *}" "${said#* }"
}

inject_file-max()
{
	local said was

	was=$(fault_sh 'cat /proc/sys/fs/file-max') || return 1
	fault_undo <<<"echo $was >/proc/sys/fs/file-max; killall -9 fd-hog" || return 1
	# The console says so once.
	said=$(fault_sh "
		set -- \$(cat /proc/sys/fs/file-nr)
		echo \$((\$1 + ${count:=4096})) >/proc/sys/fs/file-max
		begins
		fd-hog $((count + 4096)) unprivileged") || return 1
	[ "${said#* }" = 'Too many open files in system' ] || return 1
	printf 'fd-hog has %s files more: %s\n' "${said%% *}" "${said#* }"
}

inject_inodes()
{
	fault_undo <<<'umount /run/inodes' || return 1
	# Expanded by the guest's shell.
	# shellcheck disable=SC2016
	fault_sh "count=${count:-1024}"'
		set -e
		mkdir -p /run/inodes
		mount -t tmpfs -o nr_inodes=$count,size=4M lab /run/inodes
		begins
		i=0
		while (: >/run/inodes/$i) 2>/dev/null; do
			i=$((i + 1))
		done
		set -- $(df -i /run/inodes | tail -n 1)
		[ "$4" = 0 ]
		echo "$6 has used $3 of $2 inodes"'
}

inject_sockets()
{
	local said

	fault_undo <<<'killall -9 socket-hog' || return 1
	said=$(fault_sh "begins; socket-hog ${count:-1024}") || return 1
	[ "${said#* }" = 'Too many open files' ] || return 1
	printf 'socket-hog has %s sockets: %s\n' "${said%% *}" "${said#* }"
}

inject_ports()
{
	local said was

	was=$(fault_sh 'cat /proc/sys/net/ipv4/ip_local_port_range') || return 1
	fault_undo <<<"echo $was >/proc/sys/net/ipv4/ip_local_port_range; killall -9 port-hog" || return 1
	said=$(fault_sh '
		ip link set lo up && echo "32768 32831" >/proc/sys/net/ipv4/ip_local_port_range && begins &&
		port-hog 7001') || return 1
	[ "${said#* }" = 'Cannot assign requested address' ] || return 1
	printf 'port-hog has %s connections to port 7001: %s\n' "${said%% *}" "${said#* }"
}

inject_cpu-hog()
{
	local said

	fault_undo <<<'killall -9 cpu-hog' || return 1
	# shellcheck disable=SC2016
	said=$(fault_sh "begins; cpu-hog ${count:-\$((2 * \$(nproc)))}") || return 1
	printf '%s processes named cpu-hog\n' "$said"
}

inject_rt-hog()
{
	local said

	fault_undo <<<'killall -9 rt-hog cpu-hog' || return 1
	said=$(fault_sh "taskset $(printf %x $((1 << cpu))) cpu-hog 1 >/dev/null; begins; rt-hog $cpu") || return 1
	# The policy is SCHED_FIFO.
	fault_until "$seconds" "set -- \$(cat /proc/$said/stat) && [ \${41} = 1 ]" >/dev/null || return 1
	printf 'rt-hog (pid %s) has CPU %s\n' "$said" "$cpu"
}

# What a cgroup of the lab needs; the controllers are those that a kernel has.
fault_cgroup='
	set -e
	mkdir -p /run/cgroup
	[ -e /run/cgroup/cgroup.procs ] || mount -t cgroup2 lab /run/cgroup
	mkdir -p /run/cgroup/lab
	for controller in cpu memory; do
		echo +$controller >/run/cgroup/cgroup.subtree_control
	done
'

inject_throttle()
{
	local said

	fault_undo <<<'echo max >/run/cgroup/lab/cpu.max; killall -9 cpu-hog' || return 1
	fault_sh "$fault_cgroup"'
		echo "5000 100000" >/run/cgroup/lab/cpu.max
		begins
		(echo 0 >/run/cgroup/lab/cgroup.procs; cpu-hog 1)' >/dev/null || return 1
	said=$(fault_until "$seconds" 'grep -E "^nr_throttled [1-9]" /run/cgroup/lab/cpu.stat') || return 1
	printf 'cpu-hog in cgroup /lab, 5%% of a CPU: %s\n' "$said"
}

# fault_swap MIB LIMIT-MIB PROGRAM: a swap area on a ram disk, and a program whose cgroup makes it swap.
fault_swap()
{
	fault_undo <<-'END' || return 1
		killall -9 thrash hold
		sleep 1
		swapoff /dev/ram0
		rmmod brd
		echo max >/run/cgroup/lab/memory.max
	END
	fault_kernel_module brd rd_nr=1 rd_size=$(($1 * 1024)) || return 1
	fault_sh "$fault_cgroup
		mkswap /dev/ram0 >/dev/null
		swapon /dev/ram0
		echo ${2}M >/run/cgroup/lab/memory.max
		begins
		(echo 0 >/run/cgroup/lab/cgroup.procs; exec $3) >/dev/null 2>&1 &"
}

inject_swap-storm()
{
	local said

	fault_swap 96 16 'thrash 64' || return 1
	said=$(fault_until "$seconds" '
		set -- $(grep -E "^pswp(in|out) " /proc/vmstat); [ $2 -gt 20000 ] && [ $4 -gt 20000 ] && echo $*') || return 1
	printf 'thrash swaps: %s\n' "$said"
}

inject_swap-full()
{
	local said

	# As much as fits, less what the kernel needs in between.
	fault_swap 32 8 'hold 39' || return 1
	said=$(fault_until "$seconds" '
		free=$(sed -n "s/^SwapFree: *\([0-9]*\).*/\1/p" /proc/meminfo); [ $free -lt 3200 ] && echo $free') || return 1
	printf 'hold has filled the swap area: %s KiB of 32 MiB are free\n' "$said"
}
