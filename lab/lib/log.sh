# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

log_help()
{
	cat <<-'END'
	usage: lab/guest log NAME

	Print what the guest wrote to its console; and what QEMU said, if it said something.
	END
}

log_main()
{
	guest_name "${1:-}"
	[ -d "$dir" ] || die "$guest: no such guest"
	cat "$dir/console.log" 2>/dev/null || true
	if [ -s "$dir/qemu.log" ]; then
		sed 's/^/qemu: /' "$dir/qemu.log"
	fi
}
