# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

stop_help()
{
	cat <<-'END'
	usage: lab/guest stop NAME

	End the guest's QEMU and remove its memory, sockets and logs.
	END
}

# Whether a process is there. One that has ended and waits for its parent is not.
process_lives()
{
	local state

	state=$(sed -nE 's/^State:[[:space:]]*(.).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 1
	[ -n "$state" ] && [ "$state" != Z ]
}

# For the guest that guest_name set.
stop_guest()
{
	local pid i

	if pid=$(guest_pid); then
		kill "$pid" 2>/dev/null || true
		for i in {1..100}; do
			process_lives "$pid" || break
			[ "$i" -ne 50 ] || kill -9 "$pid" 2>/dev/null || true
			sleep 0.1
		done
		! process_lives "$pid" || die "$guest: QEMU (pid $pid) does not end"
	fi
	rm -rf "$dir"
	rm -f "$ram"
}

stop_main()
{
	guest_name "${1:-}"
	[ -d "$dir" ] || die "$guest: no such guest"
	stop_guest
	printf '%s: stopped\n' "$guest"
}
