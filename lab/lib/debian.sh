# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A whole Debian 12 with systemd on a disk of its own, for tests of packages.

debian_help()
{
	cat <<-'END'
	usage: lab/guest debian NAME [OPTION...]

	Boot Debian 12 with systemd from a disk and wait until its shell answers. The disk is made once, with
	mmdebstrap, from the mirror in this machine's apt sources; what the guest writes is gone with it.
	  --pool PACKAGE[,...]   packages that the guest can install without a network, with what they depend on
	  --disk FILE            as /dev/vdb, read-only: for example a tar archive
	  --module               with what modules are built with: DKMS, a compiler, the kernel's headers
	  --ram 1G, --smp 2, --append 'ARGS', --timeout SECONDS, --wait SECONDS
	                         as of lab/guest boot

	It has no network. After `apt-get update`, `apt-get install` takes packages from the pool.

	  lab/guest debian d --pool libssl3,libibverbs1
	  lab/guest sh d 'systemctl is-system-running --wait'
	END
}

# What every disk has.
debian_packages=systemd-sysv,udev,dbus,kmod,procps,initramfs-tools,linux-image-cloud-amd64
debian_port=/dev/virtio-ports/lab
debian_module_packages=dkms,gcc,libc6-dev,make,linux-headers-cloud-amd64

# Make the disk of a list of packages and a pool in a directory, in one step.
debian_make()
{
	local packages=$1 pool=$2 final=$3 tmp=$3.partial mirror box size unit

	need mmdebstrap mkfs.ext4 dpkg-scanpackages gzip
	mirror=$(kernel_mirror)
	box=$(tool_build box -O2 -static "$lab"/inside/*.c -pthread)
	rm -rf "$tmp"
	mkdir -p "$tmp"
	progress "making a disk with Debian 12"
	# Of the pool's packages those that are there already are left out. $1 belongs to the hook's shell: the new root.
	# shellcheck disable=SC2016
	POOL=${pool//,/ } mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
		--keyring="$(kernel_keyring)" \
		--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
		--customize-hook='mkdir -p "$1/pool/partial"' \
		--customize-hook='[ -z "$POOL" ] || chroot "$1" apt-get -qq -y install --download-only -o Dir::Cache::Archives=/pool $POOL' \
		--customize-hook='rm -rf "$1"/pool/partial "$1"/pool/lock' \
		--customize-hook='cd "$1/pool" && dpkg-scanpackages -m . >Packages 2>/dev/null' \
		--customize-hook='rm -f "$1"/etc/apt/sources.list.d/* && echo "deb [trusted=yes] file:/pool ./" >"$1/etc/apt/sources.list"' \
		--customize-hook='chroot "$1" passwd -dq root' \
		bookworm "$tmp/root" "$mirror" >&2 || die "mmdebstrap: cannot make a Debian 12 from the mirror"

	install -D "$box" "$tmp/root/usr/local/lib/lab/agent"
	cat >"$tmp/root/etc/systemd/system/lab-agent.service" <<-END
	[Unit]
	Description=Runs commands for lab/guest sh
	StartLimitIntervalSec=0

	[Service]
	ExecStart=/usr/local/lib/lab/agent $debian_port
	Environment=HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
	WorkingDirectory=/root
	StandardError=journal+console
	# The port may not be there yet.
	Restart=always
	RestartSec=1
	OOMScoreAdjust=-900

	[Install]
	WantedBy=multi-user.target
	END
	ln -s ../lab-agent.service "$tmp/root/etc/systemd/system/multi-user.target.wants/"
	echo '/dev/vda / ext4 defaults 0 1' >"$tmp/root/etc/fstab"
	echo lab >"$tmp/root/etc/hostname"
	# Nobody logs in, and nothing is to be done at night.
	for unit in timers.target getty.target e2scrub_reap.service; do
		ln -s /dev/null "$tmp/root/etc/systemd/system/$unit"
	done

	cp "$tmp"/root/boot/vmlinuz-* "$tmp/vmlinuz"
	cp "$tmp"/root/boot/initrd.img-* "$tmp/initrd"
	rm -rf "$tmp"/root/boot/*
	size=$(du -sm "$tmp/root" | cut -f 1)
	mkfs.ext4 -q -F -E root_owner=0:0,lazy_itable_init=1 -d "$tmp/root" "$tmp/disk" $((size * 5 / 4 + 768))M >/dev/null
	rm -rf "$tmp/root" "$final"
	mv "$tmp" "$final"
}

# Print the directory of a disk in the cache.
debian_disk()
{
	local packages=$1 pool=$2 key final lock

	key=$({
		echo "$packages $pool"
		declare -f debian_make
		cat "$lab"/inside/*.c
	} | sha256sum)
	final=$cache_root/debian/${key:0:16}
	mkdir -p "$cache_root/debian"
	exec {lock}>"$cache_root/debian/.lock"
	flock -w 900 "$lock" || die "another disk has not been made in 15 minutes"
	[ -r "$final/disk" ] || debian_make "$packages" "$pool" "$final"
	exec {lock}>&-
	printf '%s\n' "$final"
}

debian_main()
{
	local pool='' packages=$debian_packages size=1G smp=2 append='' extra=() seconds=1800 wait=300
	local disk boot_why='' boot_pid cpu=$boot_default_cpu

	guest_name "${1:-}"
	shift
	while [ $# -gt 0 ]; do
		if [ "$1" = --module ]; then
			packages=$packages,$debian_module_packages
			shift
			continue
		fi
		[ $# -ge 2 ] || usage_error "debian: $1 wants a value; see 'lab/guest debian --help'"
		case $1 in
		--pool) pool=$2 ;;
		--disk) extra=(-drive "file=$2,format=raw,if=virtio,readonly=on") ;;
		--ram) size=$2 ;;
		--smp) smp=$2 ;;
		--append) append=$2 ;;
		--timeout) seconds=$2 ;;
		--wait) wait=$2 ;;
		*) usage_error "debian: unknown option $1; see 'lab/guest debian --help'" ;;
		esac
		shift 2
	done
	[[ $pool =~ ^[a-z0-9+.,-]*$ ]] || usage_error "--pool: \"$pool\" is no list of packages with commas"
	boot_begin
	disk=$(debian_disk "$packages" "$pool")
	boot_claim
	printf '%s\n' "kernel=" "image=$disk/vmlinuz" "ram=$size" "smp=$smp" "cpu=$cpu" "procs=0" \
		"timeout=$seconds" >"$dir/config"
	boot_machine \
		-drive "file=$disk/disk,format=raw,if=virtio,snapshot=on" "${extra[@]}" \
		-device virtio-serial-pci -device virtserialport,chardev=shell,name=${debian_port##*/} \
		-kernel "$disk/vmlinuz" -initrd "$disk/initrd" \
		-append "$boot_append root=/dev/vda rw modprobe.blacklist=kvm,kvm_amd $append"
	printf '%s: Linux %s, Debian %s, %s, %s CPUs\n' "$guest" \
		"$(labctl sh "$dir/shell.sock" 'uname -r')" \
		"$(labctl sh "$dir/shell.sock" 'cat /etc/debian_version')" "$size" "$smp"
}
