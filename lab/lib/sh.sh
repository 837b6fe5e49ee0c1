# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

sh_help()
{
	cat <<-'END'
	usage: lab/guest sh NAME [-i] [--timeout SECONDS] 'COMMAND'

	Run a shell command (busybox) in the guest. Its standard output and error come out here, byte for byte,
	and its exit status is this command's. Commands run one at a time; processes left in the
	background go on.
	  -i                  pass standard input on: lab/guest sh a -i 'cat >/tmp/x' <file
	  --timeout SECONDS   kill the command after that long, and exit with 124; default 120
	Exit status 125: the guest does not answer (frozen or dead).
	END
}

sh_main()
{
	local options=(-t 120) lock

	guest_running "${1:-}"
	shift
	while [ $# -gt 1 ]; do
		case $1 in
		-i)
			options+=(-i)
			shift
			;;
		--timeout)
			need_number --timeout "$2"
			options+=(-t "$2")
			shift 2
			;;
		*) usage_error "sh: pass the command as one word; see 'lab/guest sh --help'" ;;
		esac
	done
	[ $# -eq 1 ] || usage_error "sh: a command is missing; see 'lab/guest sh --help'"
	exec {lock}>"$dir/shell.lock"
	flock -w 600 "$lock" || die "$guest: another command has kept its shell for 10 minutes"
	if grep -aq 'end Kernel panic - not syncing' "$dir/console.log"; then
		printf 'lab: %s: its kernel has panicked\n' "$guest" >&2
		exit 125
	fi
	labctl sh "${options[@]}" "$dir/shell.sock" "$1"
}
