# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Faults of the network, on devices of the guest's own: nothing leaves it.

fault_net_help()
{
	cat <<-'END'
	Of the network, inside the guest:
	  carrier       "lab0" (veth) has lost its carrier
	  tx-hang       "lab-nic" (lab/module) does not send what it took: time-outs, and drops of its queue
	  rx-drops      "udp-flood" makes the backlog of a CPU overflow, at lo; takes two CPUs
	  udp-drops     "udp-sink" does not read what "udp-flood" sends
	  listen        "listener" at port 7002 does not accept; its queue overflows
	  conntrack     the table of connections is full at --count (default 16)
	END
}

inject_carrier()
{
	fault_kernel_module veth || return 1
	fault_undo <<<'ip link del lab0' || return 1
	fault_sh '
		set -e
		ip link add lab0 type veth
		peer=$(cat /sys/class/net/lab0/iflink)
		peer=$(grep -lx $peer /sys/class/net/*/ifindex | cut -d/ -f5)
		ip link set lab0 up
		ip link set $peer up
		[ $(cat /sys/class/net/lab0/carrier) = 1 ]
		begins
		ip link set $peer down
		[ $(cat /sys/class/net/lab0/carrier) = 0 ]
		echo "lab0 has lost its carrier, which has changed $(cat /sys/class/net/lab0/carrier_changes) times"'
}

inject_tx-hang()
{
	local said

	fault_undo <<<'killall -9 udp-flood' || return 1
	fault_module >/dev/null || return 1
	fault_sh '
		set -e
		ip link set lab-nic up
		ip addr add 192.0.2.1/24 dev lab-nic
		arp -i lab-nic -s 192.0.2.2 02:00:00:00:00:02
		begins
		udp-flood 192.0.2.2 9 >/dev/null 2>&1 &' || return 1
	said=$(fault_until "$seconds" "
		count=\$(cat /sys/class/net/lab-nic/queues/tx-0/tx_timeout); [ \$count -gt 0 ] && echo \$count") || return 1
	printf 'lab-nic does not send: tx_timeout %s\n' "$said"
}

# fault_counter COMMAND WHAT: until the number that the command prints has risen by 100.
fault_counter()
{
	local said

	said=$(fault_until "$seconds" "
		count() { $1; }
		was=\$(count)
		sleep 0.5
		is=\$(count)
		[ \$((is - was)) -ge 100 ] && echo \$is") || return 1
	printf '%s: %s and rising\n' "$2" "$said"
}

inject_rx-drops()
{
	local was

	was=$(fault_sh 'cat /proc/sys/net/core/netdev_max_backlog') || return 1
	fault_undo <<-END || return 1
		killall -9 udp-flood
		echo $was >/proc/sys/net/core/netdev_max_backlog
		echo 0 >/sys/class/net/lo/queues/rx-0/rps_cpus
	END
	# Packets come in on another CPU than the sender's.
	fault_sh '
		set -e
		[ $(nproc) -ge 2 ]
		ip link set lo up
		echo 2 >/sys/class/net/lo/queues/rx-0/rps_cpus
		echo 1 >/proc/sys/net/core/netdev_max_backlog
		begins
		taskset 1 udp-flood 127.0.0.1 9 >/dev/null 2>&1 &' || return 1
	fault_counter 'cat /sys/class/net/lo/statistics/rx_dropped' 'packets that lo has dropped'
}

inject_udp-drops()
{
	fault_undo <<<'killall -9 udp-flood udp-sink' || return 1
	fault_sh '
		ip link set lo up || exit 1
		udp-sink 7003 >/dev/null 2>&1 &
		begins
		udp-flood 127.0.0.1 7003 >/dev/null 2>&1 &' || return 1
	fault_counter "awk '/^Udp:/ && n++ { print \$6 }' /proc/net/snmp" 'packets for which udp-sink had no room'
}

inject_listen()
{
	local said

	fault_undo <<<'killall -9 listener' || return 1
	fault_sh "ip link set lo up && begins && listener 7002 ${count:-64} >/dev/null 2>&1 &" || return 1
	said=$(fault_until "$seconds" "
		awk '/^TcpExt:/ { for (i = 1; i <= NF; i++) if (!n) name[i] = \$i; else value[name[i]] = \$i; n++ }
			END { if (!value[\"ListenOverflows\"]) exit 1; print value[\"ListenOverflows\"] }' /proc/net/netstat") ||
		return 1
	printf 'the queue of port 7002 has overflown: ListenOverflows %s\n' "$said"
}

inject_conntrack()
{
	local was

	# Without rules nobody would want connections to be tracked.
	fault_kernel_module nf_conntrack enable_hooks=1 || return 1
	was=$(fault_sh 'cat /proc/sys/net/netfilter/nf_conntrack_max') || return 1
	fault_undo <<<"killall -9 udp-flood; echo $was >/proc/sys/net/netfilter/nf_conntrack_max" || return 1
	fault_sh "
		ip link set lo up && echo ${count:-16} >/proc/sys/net/netfilter/nf_conntrack_max || exit 1
		begins
		udp-flood 127.0.0.1 1024 2000 >/dev/null 2>&1 &" || return 1
	fault_wait "$seconds" 'nf_conntrack: table full, dropping packet' "$from"
}
