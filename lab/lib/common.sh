# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every command needs: where things lie, how to fail, which guest is meant.

state_root=${GPUSENTINEL_LAB:-/run/gpusentinel-lab}
cache_root=${GPUSENTINEL_CACHE:-/var/cache/gpusentinel}
ram_root=${GPUSENTINEL_LAB_RAM:-/dev/shm}
qemu=${GPUSENTINEL_QEMU:-qemu-system-x86_64}

die()
{
	printf 'lab: %s\n' "$*" >&2
	exit 1
}

usage_error()
{
	printf 'lab: %s\n' "$*" >&2
	exit 2
}

# One line about something slow, for people only.
progress()
{
	if [ -t 2 ]; then
		printf 'lab: %s\n' "$*" >&2
	fi
}

# Print the libraries that the given files need, the loader too; static programs need none.
libraries()
{
	{ ldd "$@" 2>/dev/null || true; } | sed -nE 's/^\t(.* => )?(\/[^ ]*) \(.*/\2/p' | sort -u
}

need()
{
	local tool

	for tool; do
		command -v "$tool" >/dev/null || die "$tool: not installed"
	done
}

need_number()
{
	[[ $2 =~ ^[0-9]{1,9}$ ]] || usage_error "$1: \"$2\" is not a number"
}

# Set guest, dir and ram for a name.
guest_name()
{
	guest=${1:-}
	[ -n "$guest" ] || usage_error "a guest's name is missing; 'lab/guest list' shows those that exist"
	[[ $guest =~ ^[a-z0-9][a-z0-9-]{0,31}$ ]] ||
		usage_error "\"$guest\" is no name for a guest: up to 32 of a-z, 0-9 and '-'"
	dir=$state_root/$guest
	ram=$ram_root/gpusentinel-lab-$guest.ram
	# sun_path of a Unix socket holds 107 characters.
	[ ${#dir} -le 90 ] ||
		die "$state_root: too long a path for sockets; set GPUSENTINEL_LAB to a shorter one"
}

# Print the pid of this guest's QEMU; fails if it does not run. A pid file alone proves nothing: the
# number may belong to another process by now.
guest_pid()
{
	local pid

	[ -r "$dir/qemu.pid" ] || return 1
	pid=$(<"$dir/qemu.pid")
	[[ $pid =~ ^[0-9]+$ ]] || return 1
	tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$dir/qemu.pid" || return 1
	printf '%s\n' "$pid"
}

# Set guest, dir, ram and pid for the name of a guest that runs.
guest_running()
{
	guest_name "${1:-}"
	[ -d "$dir" ] || die "$guest: no such guest; 'lab/guest boot $guest' makes one"
	pid=$(guest_pid) ||
		die "$guest: its QEMU has ended; see 'lab/guest log $guest', then 'lab/guest stop $guest'"
}

# labctl, built when its source is newer than the cached program.
labctl()
{
	"$(tool_build labctl -O2 "$lab"/host/labctl.c)" "$@"
}

# tool_build NAME FLAGS-AND-SOURCES...: print the path of a C program, compiled once per content.
tool_build()
{
	local name=$1 key path arg
	shift

	key=$(for arg; do
		if [ -f "$arg" ]; then cat "$arg"; else echo "$arg"; fi
	done | sha256sum)
	path=$cache_root/tools/$name-${key:0:16}
	if [ ! -x "$path" ]; then
		need "${CC:-cc}"
		mkdir -p "$cache_root/tools"
		"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -o "$path.$$" "$@" >&2
		mv -f "$path.$$" "$path"
	fi
	printf '%s\n' "$path"
}
