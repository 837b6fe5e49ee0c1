# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The guest's user space: busybox, lab/inside and the few modules that the faults want.

# The command channel wants a virtio port, the hung-task fault ext4 on a loop device; crc32c is what ext4
# asks for by name at run time.
initramfs_wanted="virtio_pci virtio_console loop ext4 crc32c_generic crc32c-cryptoapi"

# Print the path of a module in a tree by its name ('-' and '_' are the same in module names).
module_find()
{
	local tree=$1 name=${2//[-_]/[-_]}

	find "$tree" \( -name "$name.ko" -o -name "$name.ko.xz" -o -name "$name.ko.zst" \
		-o -name "$name.ko.gz" \) -print -quit
}

module_unpack()
{
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -qdc "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

# module_add TREE NAME OUT: put a module and all that it depends on into OUT, dependencies first in
# OUT/order. What is built into the kernel is not in the tree, and is skipped.
module_add()
{
	local tree=$1 name=${2//-/_} out=$3 file dependency

	[ ! -e "$out/$name.ko" ] || return 0
	file=$(module_find "$tree" "$name")
	[ -n "$file" ] || return 0
	module_unpack "$file" >"$out/$name.ko"
	for dependency in $(tr '\0' '\n' <"$out/$name.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do
		module_add "$tree" "$dependency" "$out"
	done
	printf '%s\n' "$name.ko" >>"$out/order"
}

# initramfs_build [KERNEL-DIRECTORY]: print the path of the initramfs for a kernel of the cache, or of
# one without modules.
initramfs_build()
{
	local kernel=${1:-} release=none box busybox key final root name

	# As in the GPU kit, for hosts that have none of the tools below.
	if [ -n "$kernel" ] && [ -r "$kernel/initramfs.cpio" ]; then
		printf '%s\n' "$kernel/initramfs.cpio"
		return
	fi
	need busybox cpio gzip sha256sum
	busybox=$(command -v busybox)
	[ -z "$kernel" ] || release=$(<"$kernel/release")
	box=$(tool_build box -O2 -static "$lab"/inside/*.c -pthread)
	key=$({
		cat "$busybox" "$box" "$lab/inside/init" "$lab/lib/initramfs.sh"
		echo "$release"
	} | sha256sum)
	final=$cache_root/initramfs/$release-${key:0:16}.cpio
	if [ -r "$final" ]; then
		printf '%s\n' "$final"
		return
	fi
	mkdir -p "$cache_root/initramfs"
	root=$(mktemp -d "$cache_root/initramfs/.build-XXXXXX")
	chmod 755 "$root"
	mkdir -p "$root"/{bin,modules,dev}
	cp "$busybox" "$root/bin/busybox"
	cp "$box" "$root/bin/box"
	cp "$lab/inside/init" "$root/init"
	chmod 755 "$root/bin/busybox" "$root/bin/box" "$root/init"
	for name in $("$box" names); do
		ln -s box "$root/bin/$name"
	done
	: >"$root/modules/order"
	if [ -n "$kernel" ]; then
		for name in $initramfs_wanted; do
			module_add "$kernel/lib/modules/$release" "$name" "$root/modules"
		done
	fi
	# Not compressed: unpacking costs more under TCG than loading does.
	(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$root.cpio"
	mv -f "$root.cpio" "$final"
	rm -rf "$root"
	printf '%s\n' "$final"
}
