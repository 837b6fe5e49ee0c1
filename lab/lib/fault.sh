# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Faults in a guest. Those of one kind are in fault_KIND.sh: a function inject_FAULT each, which makes the fault, waits
# until it shows and prints a line about it, and a list of what they are.

fault_kinds="kernel user block net rootkit"

fault_help()
{
	local kind

	cat <<-'END'
	usage: lab/guest fault NAME FAULT [OPTION...]
	       lab/guest fault NAME heal

	Break the guest, and wait until it shows. What can be undone is undone by heal.
	END
	for kind in $fault_kinds; do
		printf '\n'
		"fault_${kind}_help"
	done
	cat <<-'END'

	  --count N          how many, or how much; see above
	  --cpu N            where, if it happens on one CPU; default 0
	  --rate KIB         of leaks: how much in a second; default 8192
	  --trick TRICK      of rootkit
	  --pid N            its victim
	  --for SECONDS      undo it after that long; default 0: never
	  --timeout SECONDS  exit with status 1 if the fault did not show within; default 120
	A guest that is locked up takes a whole CPU of this machine: stop it soon.
	END
}

# fault_wait SECONDS PATTERN FROM: wait for a console line beyond byte FROM, and print it without its stamp.
fault_wait()
{
	local deadline=$((SECONDS + $1)) line

	while [ "$SECONDS" -lt "$deadline" ]; do
		line=$(tail -c "+$(($3 + 1))" "$dir/console.log" | grep -aE -m 1 "$2" || true)
		if [ -n "$line" ]; then
			sed -E 's/^\[[ 0-9.]+\](\[[ TC0-9]+\])? *//; s/\r$//' <<<"$line"
			return 0
		fi
		guest_pid >/dev/null || return 1
		sleep 0.1
	done
	return 1
}

# In a subshell, which gives the lock on the guest's shell back. "begins" in the command says on the console that now the
# fault begins; those of lab/module say so themselves.
fault_sh()
{
	(sh_main "$guest" --timeout "$seconds" "${@:1:$#-1}" "
		begins() { echo '<5>lab: ${fault:-} begins' >/dev/kmsg; }
		${!#}")
}

# fault_until DEADLINE-SECONDS COMMAND: until a command in the guest succeeds; its output.
fault_until()
{
	local deadline=$((SECONDS + $1)) said

	while [ "$SECONDS" -lt "$deadline" ]; do
		if said=$(fault_sh "$2" 2>/dev/null); then
			printf '%s\n' "$said"
			return 0
		fi
		sleep 0.2
	done
	return 1
}

# fault_undo: what undoes the fault, lines for the guest's shell on standard input; said before the fault is made. Where
# nothing can be forked, the shell's own commands still work: what sets limits right comes first.
fault_undo()
{
	fault_sh -i "
		mkdir -p /run/undo && cat >/run/undo/$fault || exit 1
		[ $duration -eq 0 ] ||
			(sleep $duration; . /run/undo/$fault; rm -f /run/undo/$fault) </dev/null >/dev/null 2>&1 &"
}

fault_heal()
{
	fault_sh '
		! [ -d /sys/module/lab_fault ] || echo heal >/sys/module/lab_fault/parameters/fault
		! [ -d /sys/module/lab_rootkit ] || echo 1 >/sys/module/lab_rootkit/parameters/heal
		for file in /run/undo/*; do
			[ -e "$file" ] || continue
			sh "$file" >/dev/null 2>&1
			rm -f "$file"
		done' || return 1
	printf 'what could be undone is undone\n'
}

fault_main()
{
	local trick='' victim=0 fault run count='' cpu=0 duration=0 rate=8192 seconds=120 from said

	guest_running "${1:-}"
	fault=${2:-}
	run=inject_$fault
	[ "$fault" != heal ] || run=fault_heal
	if ! [[ $fault =~ ^[a-z-]+$ ]] || ! declare -F "$run" >/dev/null; then
		usage_error "\"$fault\" is no fault; 'lab/guest fault --help' shows those that exist"
	fi
	shift 2
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage_error "fault: $1 wants a value; see 'lab/guest fault --help'"
		case $1 in
		--count) count=$2 ;;
		--cpu) cpu=$2 ;;
		--rate) rate=$2 ;;
		--for) duration=$2 ;;
		--timeout) seconds=$2 ;;
		--trick) trick=$2 ;;
		--pid) victim=$2 ;;
		*) usage_error "fault: unknown option $1; see 'lab/guest fault --help'" ;;
		esac
		shift 2
	done
	[ -z "$count" ] || need_number --count "$count"
	need_number --cpu "$cpu"
	need_number --rate "$rate"
	need_number --for "$duration"
	need_number --timeout "$seconds"
	need_number --pid "$victim"
	from=$(stat -c %s "$dir/console.log")
	said=$("$run") ||
		die "$guest: no $fault within $seconds s; see 'lab/guest log $guest'"
	printf '%s: %s\n' "$guest" "$said"
}
