# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Debian's kernels, fetched with apt from the machine's own mirror into a cache; nothing is installed.

kernel_help()
{
	cat <<-'END'
	usage: lab/guest kernel [VERSION [cloud|generic]]

	Fetch a Debian kernel into the cache and print its directory, which holds
	  vmlinuz          the image
	  release          what uname -r says
	  packages         the packages that it came from
	  lib/modules/     its modules
	VERSION is 5.10, 6.1, 6.12, 6.18, 7.2 or any other that Debian's suites still have; default 6.1.
	Packages come from the mirror in this machine's apt sources (GPUSENTINEL_MIRROR=URL overrides it),
	are checked against Debian's archive keyring, unpacked, and not installed. The cache is
	GPUSENTINEL_CACHE (default /var/cache/gpusentinel); to fetch anew, remove the directory.
	END
}

# The versions that the tests run on.
kernel_versions="5.10 6.1 6.12 6.18 7.2"

# Suites that may have a version, the likeliest first.
kernel_suites()
{
	case $1 in
	5.10) echo bullseye ;;
	6.1) echo bookworm ;;
	6.12) echo trixie bookworm-backports ;;
	6.18) echo trixie-backports ;;
	7.2) echo sid trixie-backports ;;
	*) echo trixie-backports sid ;;
	esac
}

# The machine's package lists, one "URL SUITE" a line. $(...) is apt's own syntax.
kernel_sources()
{
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages'
}

# The mirror of Debian's main archive. apt itself reads its sources, in whichever format they are.
kernel_mirror()
{
	local uri release sources

	if [ -n "${GPUSENTINEL_MIRROR:-}" ]; then
		printf '%s\n' "$GPUSENTINEL_MIRROR"
		return
	fi
	sources=$(kernel_sources)
	if [ -z "$sources" ]; then
		# apt knows its sources by the lists that it has of them: a machine may have none yet.
		apt-get -qq update >&2 || true
		sources=$(kernel_sources)
	fi
	# Suites with a suffix (-security, -updates) may have another mirror.
	while read -r uri release; do
		case $uri:$release in
		cdrom:*) ;;
		*:bullseye | *:bookworm | *:trixie | *:forky | *:sid | \
			*:oldstable | *:stable | *:testing | *:unstable)
			printf '%s\n' "$uri"
			return
			;;
		esac
	done <<<"$sources"
	die "no mirror of Debian in this machine's apt sources; set GPUSENTINEL_MIRROR=URL"
}

kernel_keyring()
{
	local file

	for file in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
		if [ -r "$file" ]; then
			printf '%s\n' "$file"
			return
		fi
	done
	die "no archive keys; install debian-archive-keyring"
}

# Set apt_options so that apt sees one suite, and nothing of this machine's own package state.
kernel_apt()
{
	local suite=$1 base=$cache_root/apt/$1 keyring mirror

	mirror=$(kernel_mirror)
	keyring=$(kernel_keyring)
	mkdir -p "$base/lists/partial" "$base/cache/archives/partial"
	: >"$base/status"
	printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" \
		>"$base/sources.list"
	apt_options=(
		-qq
		-o APT::Architecture=amd64
		-o Dir::Etc::sourcelist="$base/sources.list"
		-o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferencesparts=/dev/null
		-o Dir::State::Lists="$base/lists"
		-o Dir::State::status="$base/status"
		-o Dir::Cache="$base/cache"
		-o Acquire::Languages=none
		-o Acquire::Retries=3
		-o APT::Sandbox::User=root
	)
}

# kernel_apt, with the suite's package list fetched.
kernel_update()
{
	kernel_apt "$1"
	progress "reading the package list of $1"
	apt-get "${apt_options[@]}" update >&2 ||
		die "$1: its package list cannot be fetched from the mirror"
}

# Names of the suite's kernels of a flavour, oldest first. Debian's names: linux-image-6.1.0-50-amd64,
# linux-image-7.2.13+deb14-cloud-amd64; other flavours (rt, -dbg, -unsigned) do not match.
kernel_candidates()
{
	local infix=
	[ "$1" = generic ] || infix=cloud-

	apt-cache "${apt_options[@]}" pkgnames linux-image- |
		grep -xE "linux-image-[0-9]+\.[0-9]+[.0-9]*([+~][0-9a-z.]+)?(-[0-9][0-9a-z.]*)?-${infix}amd64" |
		sort -V || true
}

# Print the packages that hold the files of an image package. Since 6.19 or so it is empty itself, and
# depends on linux-binary-* and linux-modules-* of its version.
kernel_packages()
{
	printf '%s\n' "$1"
	apt-cache "${apt_options[@]}" show --no-all-versions "$1" |
		sed -n 's/^Depends: //p' | tr ',|' '\n' |
		sed -E 's/^ *//; s/ .*//' | grep -E '^linux-(binary|modules)-[0-9]' || true
}

# Backports keep signed packages for a while after the unsigned ones that they depend on are gone.
kernel_complete()
{
	local package

	while read -r package; do
		grep -qxF "$package" <<<"$2" || return 1
	done < <(kernel_packages "$1")
}

# kernel_choose VERSION FLAVOUR [or-later]: print the suite's newest complete kernel of that version, or
# with or-later its newest that is not older; nothing if there is none.
kernel_choose()
{
	local want=$1 flavour=$2 later=${3:-} name version names

	names=$(apt-cache "${apt_options[@]}" pkgnames linux-)
	while read -r name; do
		version=$(sed -E 's/^linux-image-([0-9]+\.[0-9]+).*/\1/' <<<"$name")
		if [ "$version" != "$want" ]; then
			[ -n "$later" ] || continue
			[ "$(printf '%s\n' "$want" "$version" | sort -V | tail -n 1)" = "$version" ] ||
				continue
		fi
		if kernel_complete "$name" "$names"; then
			printf '%s\n' "$name"
			return
		fi
	done < <(kernel_candidates "$flavour" | tac)
}

# Fetch and unpack a package and what it splits into; the result appears in one step.
kernel_unpack()
{
	local image=$1 final=$2 tmp=$2.partial packages deb vmlinuz release

	rm -rf "$tmp"
	mkdir -p "$tmp/debs" "$tmp/root"
	mapfile -t packages < <(kernel_packages "$image")
	progress "fetching ${packages[*]}"
	(cd "$tmp/debs" && apt-get "${apt_options[@]}" download "${packages[@]}" >&2) ||
		die "$image: cannot be fetched from the mirror"
	for deb in "$tmp"/debs/*.deb; do
		dpkg -x "$deb" "$tmp/root"
	done
	vmlinuz=$(find "$tmp/root" -name 'vmlinuz*' -type f | head -n 1)
	[ -n "$vmlinuz" ] || die "$image: no vmlinuz in ${packages[*]}"
	release=$(find "$tmp/root" -path '*/lib/modules/*' -prune -type d -printf '%f\n' | head -n 1)
	[ -n "$release" ] || die "$image: no modules in ${packages[*]}"
	mkdir -p "$tmp/lib/modules"
	mv "$vmlinuz" "$tmp/vmlinuz"
	mv "$(find "$tmp/root" -path "*/lib/modules/$release" -prune)" "$tmp/lib/modules/$release"
	printf '%s\n' "$release" >"$tmp/release"
	printf '%s\n' "${packages[@]}" >"$tmp/packages"
	rm -rf "$tmp/debs" "$tmp/root"
	rm -rf "$final"
	mv "$tmp" "$final"
}

# kernel_fetch VERSION FLAVOUR: print the directory in the cache.
kernel_fetch()
{
	local version=$1 flavour=$2 final=$cache_root/kernels/$1-$2
	local suite suites image='' lock there

	[[ $version =~ ^[0-9]+\.[0-9]+$ ]] ||
		usage_error "\"$version\" is no kernel version such as 6.1, and no file"
	case $flavour in
	cloud | generic) ;;
	*) usage_error "\"$flavour\" is no flavour: cloud or generic" ;;
	esac
	if [ -r "$final/release" ]; then
		printf '%s\n' "$final"
		return
	fi
	need apt-get apt-cache dpkg flock
	mkdir -p "$cache_root/kernels"
	exec {lock}>"$cache_root/kernels/.lock"
	flock -w 900 "$lock" || die "another fetch of kernels has not ended in 15 minutes"
	if [ -r "$final/release" ]; then
		exec {lock}>&-
		printf '%s\n' "$final"
		return
	fi
	read -ra suites <<<"$(kernel_suites "$version")"
	for suite in "${suites[@]}"; do
		kernel_update "$suite"
		image=$(kernel_choose "$version" "$flavour")
		[ -z "$image" ] || break
	done
	# Suites move on, sid above all: the next version then stands in for one that this lab names.
	if [ -z "$image" ] && [[ " $kernel_versions " == *" $version "* ]]; then
		suite=${suites[0]}
		kernel_apt "$suite"
		image=$(kernel_choose "$version" "$flavour" or-later)
		[ -z "$image" ] ||
			printf 'lab: Debian has no %s any more; taking %s\n' "$version" "$image" >&2
	fi
	if [ -z "$image" ]; then
		there=$(kernel_candidates "$flavour" | tail -n 3 | paste -sd ' ')
		die "no $flavour kernel $version in ${suites[*]}; $suite has: ${there:-none}"
	fi
	kernel_unpack "$image" "$final"
	exec {lock}>&-
	printf '%s\n' "$final"
}

kernel_main()
{
	kernel_fetch "${1:-6.1}" "${2:-cloud}"
}
