# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The kernel modules that make faults, play rootkit, and give a machine its own memory, built for a kernel of the lab against Debian's headers for it.

module_help()
{
	cat <<-'END'
	usage: lab/guest module [VERSION [cloud|generic [lab_fault|lab_rootkit|gpusentinel]]]

	Build lab/module (lab/rootkit, kmod) for a kernel and print the path of lab_fault.ko (lab_rootkit.ko, gpusentinel.ko). 'lab/guest
	fault' does so by itself when a fault needs it. The headers and modpost come from the mirror that the kernel
	came from, and stay in the cache; the compiler is this machine's gcc.

	A file of that name beside the kernel's vmlinuz is taken as it is: so a machine without
	headers and compiler can have one.
	END
}

# Print the suite that has a package; fails if none of the kernel's suites has it.
module_suite()
{
	local version=$1 package=$2 suite

	for suite in $(kernel_suites "$version"); do
		kernel_update "$suite"
		if apt-cache "${apt_options[@]}" pkgnames "$package" | grep -qxF "$package"; then
			printf '%s\n' "$suite"
			return
		fi
	done
	return 1
}

# Print the packages that a headers package needs for a build of a module.
module_packages()
{
	printf '%s\n' "$1"
	apt-cache "${apt_options[@]}" show --no-all-versions "$1" |
		sed -n 's/^Depends: //p' | tr ',|' '\n' |
		sed -E 's/^ *//; s/ .*//' | grep -E '^linux-(headers|kbuild)-[0-9]'
}

# modpost of a newer Debian wants that Debian's libc, and gets it from beside itself.
module_modpost()
{
	local root=$1 final=$2 scripts name=modpost libc

	scripts=$(find "$root/usr/lib" -path '*/linux-kbuild-*/scripts/mod' -type d)
	[ ! -e "$scripts/modpost.real-lsb-64" ] || name=modpost.real-lsb-64
	ldd "$scripts/$name" 2>&1 | grep -q 'not found' || return 0
	(cd "$root" && apt-get "${apt_options[@]}" download libc6 >&2) || return 1
	dpkg -x "$root"/libc6_*.deb "$root/libc"
	rm "$root"/libc6_*.deb
	[ "$name" != modpost ] || mv "$scripts/modpost" "$scripts/modpost.real-lsb-64"
	libc=$(dirname "$(find "$root/libc" -name libc.so.6)")
	rm -f "$scripts/modpost"
	cat >"$scripts/modpost" <<-END
		#!/bin/sh
		exec "$final${libc#"$root"}/ld-linux-x86-64.so.2" \\
			--library-path "$final${libc#"$root"}" \\
			"$final${scripts#"$root"}/modpost.real-lsb-64" "\$@"
	END
	chmod 755 "$scripts/modpost"
}

# Fetch the packages of a release that the mirror has, and no suite lists any more; fails if they are none that are known.
# No signature of Debian covers those: they are the ones of lab/lib/pool.sha256, or nothing.
module_pool()
{
	local release=$1 to=$2 version sum path mirror

	version=$(sed -nE "s|.*/linux-headers-${release//+/\\+}_(.*)_amd64\.deb$|\1|p" "$lab/lib/pool.sha256")
	[ -n "$version" ] || return 1
	mirror=$(kernel_mirror)
	while read -r sum path; do
		[[ $path == *"_${version}_"* ]] || continue
		# Of headers that of the other flavour is not wanted.
		[[ $path != */linux-headers-* || $path == *"-$release"_* || $path == *-common_* ]] || continue
		progress "fetching ${path##*/}"
		/usr/lib/apt/apt-helper "${apt_options[@]}" download-file "${mirror%/}/$path" "$to/${path##*/}" \
			"SHA256:$sum" >&2 || return 1
	done <"$lab/lib/pool.sha256"
}

# module_headers VERSION RELEASE: print the directory of the kernel's headers in the cache.
module_headers()
{
	local version=$1 release=$2 final=$cache_root/headers/$2
	local tmp=$final.partial suite packages deb lock

	if [ ! -d "$final" ]; then
		need apt-get apt-cache dpkg ldd flock
		mkdir -p "$cache_root/headers"
		exec {lock}>"$cache_root/kernels/.lock"
		flock -w 900 "$lock" || die "another fetch of kernels has not ended in 15 minutes"
	fi
	if [ ! -d "$final" ]; then
		rm -rf "$tmp"
		mkdir -p "$tmp"
		if suite=$(module_suite "$version" "linux-headers-$release"); then
			kernel_apt "$suite"
			mapfile -t packages < <(module_packages "linux-headers-$release")
			progress "fetching ${packages[*]}"
			(cd "$tmp" && apt-get "${apt_options[@]}" download "${packages[@]}" >&2) ||
				die "linux-headers-$release: cannot be fetched from the mirror"
		else
			# Backports are built with the libc of what they are for.
			suite=$(kernel_suites "$version")
			suite=${suite%% *}
			kernel_update "${suite%-backports}"
			module_pool "$release" "$tmp" ||
				die "linux-headers-$release: not on the mirror (any more), so no module for $version;" \
					"a newer kernel may have them: remove $cache_root/kernels/$version-*"
		fi
		for deb in "$tmp"/*.deb; do
			dpkg -x "$deb" "$tmp"
			rm "$deb"
		done
		module_modpost "$tmp" "$final" ||
			die "libc6: cannot be fetched from the mirror, and modpost of $release does not run without"
		# They name their place in an installed system.
		sed -i "s|/usr/src/|$final&|" "$tmp/usr/src/linux-headers-$release/Makefile"
		mv "$tmp" "$final"
	fi
	[ -z "${lock:-}" ] || exec {lock}>&-
	printf '%s\n' "$final/usr/src/linux-headers-$release"
}

# module_build VERSION FLAVOUR [NAME]: print the path of a module for a kernel of the cache; default lab_fault.
module_build()
{
	local name=${3:-lab_fault} source kernel release headers key final build program said options=() returns=''

	case $name in
	lab_fault) source=$lab/module ;;
	lab_rootkit) source=$lab/rootkit ;;
	gpusentinel) source=$lab/../kmod ;;
	*) usage_error "module: \"$name\" is not one of the lab's" ;;
	esac
	kernel=$(kernel_fetch "$1" "$2")
	if [ -r "$kernel/$name.ko" ]; then
		printf '%s\n' "$kernel/$name.ko"
		return
	fi
	release=$(<"$kernel/release")
	need gcc make strip sha256sum
	key=$({
		cat "$source"/* "$lab/module/kernel-cc" "$lab/lib/module.sh"
		gcc --version
	} | sha256sum)
	final=$cache_root/modules/$release-${key:0:16}/$name.ko
	if [ -r "$final" ]; then
		printf '%s\n' "$final"
		return
	fi
	headers=$(module_headers "$1" "$release")
	mkdir -p "$cache_root/modules"
	build=$(mktemp -d "$cache_root/modules/.build-XXXXXX")
	cp "$source"/Kbuild "$source"/*.[ch] "$build/"
	# objtool of a newer Debian may not run here. Without it stack traces end in the module, and the kernel does not find
	# the returns that it would patch, and warns of each that it meets.
	program=$headers/tools/objtool/objtool
	[ ! -e "$program.real-x86" ] || program+=.real-x86
	said=$(ldd "$program" 2>&1 || true)
	if [[ $said == *'not found'* ]]; then
		options+=(objtool=true)
		returns=keep
	fi
	# Types of a module need pahole, and nobody reads these.
	if ! LAB_RETURNS=$returns make -C "$headers" M="$build" CC="$lab/module/kernel-cc" \
		CONFIG_DEBUG_INFO_BTF_MODULES= "${options[@]}" modules >"$build/log" 2>&1; then
		tail -n 20 "$build/log" >&2
		rm -rf "$build"
		die "$name does not build for $release"
	fi
	mkdir -p "$(dirname "$final")"
	strip -g -o "$build/stripped" "$build/$name.ko"
	mv -f "$build/stripped" "$final"
	rm -rf "$build"
	printf '%s\n' "$final"
}

module_main()
{
	module_build "${1:-6.1}" "${2:-cloud}" "${3:-lab_fault}"
}
