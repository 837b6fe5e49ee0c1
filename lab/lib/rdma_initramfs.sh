# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the card and the monitor have beside a guest's user space: RDMA, and the project's programs.

# Soft-RoCE over virtio, with verbs for programs, on which newer rdma_rxe does not depend; what it asks for by name
# at run time; the network that fails; A's memory as a device.
rdma_modules="virtio_net ib_uverbs rdma_rxe crc32_generic crc32-pclmul sch_netem dax_hmem device_dax"

# Debian's programs, and where libibverbs looks for its drivers.
rdma_tools="rdma tc ib_read_lat ib_write_lat ib_read_bw"

# copy_libraries ROOT FILE...: the libraries that programs need, at their own paths.
copy_libraries()
{
	local root=$1 library
	shift

	libraries "$@" | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -Lu "$library" "$root$library"
	done
}

# Build's programs lie as in the build tree, where they find their detectors.
rdma_pack_build()
{
	local root=$1 build=$2 program

	mkdir -p "$root/gpusentinel/detectors"
	cp "$build"/detectors/{*.so,log.rules} "$root/gpusentinel/detectors/"
	for program in src/cli/gpusentinel $(cd "$build" && find src -maxdepth 2 -type f -name grass); do
		mkdir -p "$root/gpusentinel/$(dirname "$program")"
		strip -o "$root/gpusentinel/$program" "$build/$program"
		ln -s "/gpusentinel/$program" "$root/bin/$(basename "$program")"
	done
}

rdma_pack_tools()
{
	local root=$1 tool path provider

	for tool in $rdma_tools; do
		path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$tool") || continue
		cp -L "$path" "$root/bin/$tool"
	done
	[ -x "$root/bin/rdma" ] && [ -x "$root/bin/tc" ] || die "rdma, tc: not installed (iproute2)"
	# Its path has the ABI of its libibverbs in its name.
	provider=$(find /usr/lib -path '*/libibverbs/librxe-rdmav*.so' -print -quit)
	[ -n "$provider" ] || die "libibverbs has no driver for soft-RoCE: not installed (ibverbs-providers)"
	mkdir -p "$root$(dirname "$provider")" "$root/etc/libibverbs.d"
	cp -L "$provider" "$root$provider"
	echo 'driver rxe' >"$root/etc/libibverbs.d/rxe.driver"
	copy_libraries "$root" "$provider"
}

# rdma_initramfs KERNEL-DIRECTORY BUILD OUT [PROGRAM...]: write the initramfs of B and C.
rdma_initramfs()
{
	local kernel=$1 build=$2 out=$3 base release root name
	shift 3

	need cpio strip ldd
	base=$(initramfs_build "$kernel")
	release=$(<"$kernel/release")
	root=$(mktemp -d "$(dirname "$out")/.build-XXXXXX")
	chmod 755 "$root"
	mkdir -p "$root"/{bin,modules,etc,gpusentinel}
	: >"$root/modules/order"
	for name in $initramfs_wanted $rdma_modules; do
		module_add "$kernel/lib/modules/$release" "$name" "$root/modules"
	done
	[ -e "$root/modules/rdma_rxe.ko" ] || die "kernel $release has no soft-RoCE (rdma_rxe)"
	[ -z "$build" ] || rdma_pack_build "$root" "$build"
	rdma_pack_tools "$root"
	for name; do
		[ -x "$name" ] || die "$name: no program"
		strip -o "$root/bin/$(basename "$name")" "$name"
	done
	find "$root/bin" "$root/gpusentinel" -type f -perm -u+x -print0 |
		while read -rd '' name; do
			copy_libraries "$root" "$name"
		done
	# The kernel unpacks one archive after the other, later files over earlier ones.
	{
		cat "$base"
		(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0)
	} >"$out.new"
	mv -f "$out.new" "$out"
	rm -rf "$root"
}
