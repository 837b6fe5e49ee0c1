# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The guests that are watched, by the lab of the kit.

guests=()
declare -A booting=()

# The guest's name for the lab: other kits may run beside this one.
name_of()
{
	printf 'kit-%s-%s' "$$" "${1//./-}"
}

guest()
{
	bash "$kit/lab/guest" "$@" 2>>"$out/log.txt"
}

# Print how many MiB are free for files in a directory.
free_mib()
{
	df -Pk "$1" 2>/dev/null | {
		read -r _
		read -r _ _ _ kib _ && echo $((kib / 1024)) || echo 0
	}
}

choose_ram_dir()
{
	if [ -z "$ram_dir" ]; then
		ram_dir=/dev/shm
		# Containers often have 64 MiB there.
		[ "$(free_mib /dev/shm)" -ge 4096 ] || ram_dir=$work
	fi
	export GPUSENTINEL_LAB_RAM=$ram_dir
	fact guest-memory "in $ram_dir, $(free_mib "$ram_dir") MiB free"
}

# MiB that are both free in ram_dir and available.
room_mib()
{
	local memory free

	memory=$(($(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024))
	free=$(free_mib "$ram_dir")
	echo $((memory < free ? memory : free))
}

# boot NAME OPTION...: in the background; booted() says how it went.
boot()
{
	local short=$1 name
	shift

	name=$(name_of "$short")
	guests+=("$name")
	timeout -k 5 170 bash "$kit/lab/guest" boot "$name" --timeout 600 --wait 150 "$@" \
		>"$work/boot-$short" 2>&1 &
	booting[$short]=$!
}

booted()
{
	local short=$1 status

	[ -n "${booting[$short]:-}" ] || return 1
	wait "${booting[$short]}"
	status=$?
	unset "booting[$short]"
	if [ "$status" = 0 ]; then
		check "boot $short" ok "$(tail -n 1 "$work/boot-$short")"
		return 0
	fi
	cat "$work/boot-$short" >>"$out/log.txt"
	check "boot $short" FAIL "$(tail -n 1 "$work/boot-$short") (more in log.txt)"
	return 1
}

freeze()
{
	guest freeze "$(name_of "$1")" >>"$out/log.txt"
}

thaw()
{
	guest thaw "$(name_of "$1")" >>"$out/log.txt"
}

# Print the number of bytes that a guest has taken of its memory.
guest_bytes()
{
	local blocks

	blocks=$(stat -c %b "$ram_dir/gpusentinel-lab-$(name_of "$1").ram") && echo $((blocks * 512))
}
