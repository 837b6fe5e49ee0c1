# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

freeze_help()
{
	cat <<-'END'
	usage: lab/guest freeze NAME
	       lab/guest thaw NAME

	Stop all CPUs of the guest, or let them go on. Frozen memory does not change: two readers of it
	must agree.
	END
}

freeze_main()
{
	guest_running "${1:-}"
	labctl qmp "$dir/qmp-lab.sock" '{"execute":"stop"}' >/dev/null
	printf '%s: frozen\n' "$guest"
}

thaw_help()
{
	freeze_help
}

thaw_main()
{
	guest_running "${1:-}"
	labctl qmp "$dir/qmp-lab.sock" '{"execute":"cont"}' >/dev/null
	printf '%s: runs\n' "$guest"
}
