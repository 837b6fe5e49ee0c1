# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Debian's debug packages, for the peers that cannot do without (drgn, crash). GPUSentinel never reads them.

debug_help()
{
	cat <<-'END'
	usage: lab/guest debug [VERSION [cloud|generic]]

	Fetch the debug symbols of a kernel into the cache (several hundred MB) and print the path of its
	vmlinux. The kernel is the one that 'lab/guest kernel' fetched.
	END
}

debug_main()
{
	local version=${1:-6.1} flavour=${2:-cloud} directory release image suite tmp vmlinux lock

	directory=$(kernel_fetch "$version" "$flavour")
	release=$(<"$directory/release")
	if [ -r "$directory/vmlinux" ]; then
		printf '%s\n' "$directory/vmlinux"
		return
	fi
	exec {lock}>"$cache_root/kernels/.lock"
	flock -w 900 "$lock" || die "another fetch of kernels has not ended in 15 minutes"
	image=linux-image-$release-dbg
	tmp=$directory.debug
	rm -rf "$tmp"
	mkdir -p "$tmp"
	for suite in $(kernel_suites "$version"); do
		kernel_update "$suite"
		progress "fetching $image"
		(cd "$tmp" && apt-get "${apt_options[@]}" download "$image" >&2) && break
	done
	# Of a gigabyte and more, only the image's own symbols are wanted.
	dpkg --fsys-tarfile "$tmp"/*.deb 2>/dev/null |
		tar -x -C "$tmp" --wildcards "*/vmlinux*" || die "$image: cannot be fetched from the mirror"
	vmlinux=$(find "$tmp" -name 'vmlinux*' -type f | head -n 1)
	[ -n "$vmlinux" ] || die "$image: holds no vmlinux"
	mv "$vmlinux" "$directory/vmlinux"
	rm -rf "$tmp"
	exec {lock}>&-
	printf '%s\n' "$directory/vmlinux"
}
