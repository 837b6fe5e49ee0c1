# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sets of three guests: all that is done with one that is up.

# Set set and set_dir for the name of a set.
rdma_name()
{
	set=${1:-}
	[ -n "$set" ] || usage_error "a set's name is missing; 'lab/rdma boot NAME' makes one"
	[[ $set =~ ^[a-z0-9][a-z0-9-]{0,24}$ ]] ||
		usage_error "\"$set\" is no name for a set: up to 25 of a-z, 0-9 and '-'"
	guest_name "$set-a"
	# Without a file "config", so no guest.
	set_dir=$state_root/$set-rdma
}

rdma_running()
{
	rdma_name "${1:-}"
	[ -r "$set_dir/options" ] || die "$set: no such set; 'lab/rdma boot $set' makes one"
}

# need_member LETTER [LETTERS]: one of a, b, c.
need_member()
{
	[[ $1 =~ ^[${2:-abc}]$ ]] || usage_error "\"$1\" is none of the set's guests $(sed 's/./& /g' <<<"${2:-abc}")"
}

rdma_sh_help()
{
	cat <<-'END'
	usage: lab/rdma sh SET a|b|c [-i] [--timeout SECONDS] 'COMMAND'

	Run a shell command in a guest of the set, as lab/guest sh does.
	END
}

rdma_sh_main()
{
	rdma_running "${1:-}"
	need_member "${2:-}"
	exec "$lab/guest" sh "$set-$2" "${@:3}"
}

rdma_fault_help()
{
	cat <<-'END'
	usage: lab/rdma fault SET FAULT [OPTION...]

	Break A, as lab/guest fault does: panic, for example. What lab/guest fault --help lists can be had.
	END
}

rdma_fault_main()
{
	rdma_running "${1:-}"
	exec "$lab/guest" fault "$set-a" "${@:2}"
}

rdma_log_help()
{
	cat <<-'END'
	usage: lab/rdma log SET a|b|c

	Print a guest's console, as lab/guest log does.
	END
}

rdma_log_main()
{
	rdma_running "${1:-}"
	need_member "${2:-}"
	exec "$lab/guest" log "$set-$2"
}

rdma_kill_help()
{
	cat <<-'END'
	usage: lab/rdma kill SET a|b|c

	End a guest's QEMU at once, without a word to its kernel. A's memory stays, since B has it too.
	END
}

rdma_kill_main()
{
	local pid i

	rdma_running "${1:-}"
	need_member "${2:-}"
	guest_running "$set-$2"
	kill -9 "$pid"
	for i in {1..50}; do
		process_lives "$pid" || break
		[ "$i" -ne 50 ] || die "$guest: QEMU (pid $pid) does not end"
		sleep 0.1
	done
	printf '%s: killed\n' "$guest"
}

rdma_net_help()
{
	cat <<-'END'
	usage: lab/rdma net SET 'NETEM' | off

	Let the network between B and C lose, double, delay and reorder packets, in both directions: arguments of
	netem, see tc-netem(8). "off" ends it.
	  lab/rdma net r 'loss 5% duplicate 1%'
	  lab/rdma net r 'delay 2ms reorder 75%'
	END
}

rdma_net_main()
{
	local member netem command

	rdma_running "${1:-}"
	netem=${2:-}
	[ $# -eq 2 ] || usage_error "net: pass netem's arguments as one word; see 'lab/rdma net --help'"
	[[ $netem =~ ^[a-z0-9.%\ ]+$ ]] || usage_error "net: \"$netem\" is not for netem"
	command="/bin/tc qdisc replace dev eth0 root netem limit 10000 $netem"
	[ "$netem" != off ] || command='/bin/tc qdisc del dev eth0 root 2>/dev/null; true'
	for member in b c; do
		"$lab/guest" sh "$set-$member" --timeout 20 "$command" ||
			die "$set-$member: netem is not as wanted"
	done
	printf '%s: network %s\n' "$set" "$netem"
}

rdma_stop_help()
{
	cat <<-'END'
	usage: lab/rdma stop SET

	End all guests of the set and remove their memory, sockets and logs.
	END
}

rdma_stop_set()
{
	local member

	for member in a b c; do
		guest_name "$set-$member"
		[ ! -d "$dir" ] || stop_guest
	done
	rm -rf "$set_dir"
}

rdma_stop_main()
{
	rdma_name "${1:-}"
	[ -d "$set_dir" ] || die "$set: no such set"
	rdma_stop_set
	printf '%s: stopped\n' "$set"
}
