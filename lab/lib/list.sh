# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

list_help()
{
	cat <<-'END'
	usage: lab/guest list

	Show the guests: name, state (running, frozen, ended), kernel, memory, CPUs and pid of QEMU.
	END
}

list_state()
{
	case $(labctl qmp "$dir/qmp-lab.sock" '{"execute":"query-status"}' 2>/dev/null) in
	*'"status": "running"'*) echo running ;;
	*'"status": "paused"'*) echo frozen ;;
	*) echo unknown ;;
	esac
}

list_main()
{
	local config pid state kernel

	printf '%-16s %-8s %-14s %-6s %-4s %s\n' NAME STATE KERNEL RAM CPUS PID
	for config in "$state_root"/*/config; do
		[ -r "$config" ] || continue
		guest_name "$(basename "$(dirname "$config")")"
		if pid=$(guest_pid); then
			state=$(list_state)
		else
			pid=- state=ended
		fi
		kernel=$(sed -n 's/^kernel=//p' "$config")
		printf '%-16s %-8s %-14s %-6s %-4s %s\n' "$guest" "$state" "${kernel:-file}" \
			"$(sed -n 's/^ram=//p' "$config")" "$(sed -n 's/^smp=//p' "$config")" "$pid"
	done
}
