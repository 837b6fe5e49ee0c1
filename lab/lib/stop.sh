# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

stop_help()
{
	cat <<-'END'
	usage: lab/guest stop NAME

	End the guest's QEMU and remove its memory, sockets and logs.
	END
}

# For the guest that guest_name set.
stop_guest()
{
	local pid i

	if pid=$(guest_pid); then
		kill "$pid" 2>/dev/null || true
		for i in {1..50}; do
			guest_pid >/dev/null || break
			[ "$i" -ne 30 ] || kill -9 "$pid" 2>/dev/null || true
			sleep 0.1
		done
		! guest_pid >/dev/null || die "$guest: QEMU (pid $pid) does not end"
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
