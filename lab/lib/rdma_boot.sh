# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

rdma_boot_help()
{
	cat <<-'END'
	usage: lab/rdma boot SET [OPTION...]

	Boot A, B and C, and wait until all answer and B and C have each an RDMA device rxe0.
	  --kernel 5.10|6.1|6.12|6.18|7.2   A's kernel, as of lab/guest boot; default 6.1
	  --card-kernel VERSION             that of B and C, of Debian's generic flavour; default 6.1
	  --ram 512M                        A's memory, up to 2G; B has it whole as /dev/dax0.0
	  --monitor-ram 1536M               C's memory, of which half is /tmp
	  --procs N                         A has N sleeping processes more
	  --append 'ARGS'                   A's kernel is told these as well
	  --build DIR                       gpusentinel and grass, with their libraries and detectors, go from this build
	                                    into B and C; default "build", if it is there
	  --with PROGRAM                    goes into /bin of B and C; can be given several times
	  --timeout SECONDS                 end the guests after that long; default 1800
	  --wait SECONDS                    how long the boot may take; default 180

	B and C run Debian's generic flavour, since cloud has no RDMA. Their network is a pair of Unix sockets between
	their QEMUs. The guests are ordinary guests of lab/guest, named SET-a, SET-b and SET-c.
	END
}

# B's own memory lies below 512 MiB, A's begins at 4 GiB.
rdma_card_ram=512M
rdma_card_append='nokaslr memmap=%s%%0x100000000-1+0xefffffff'

# Bytes of a size such as 512M.
rdma_bytes()
{
	case $1 in
	*G) echo $((${1%G} << 30)) ;;
	*) echo $((${1%M} << 20)) ;;
	esac
}

# rdma_network b|c: set rdma_net, that guest's end of the network.
rdma_network()
{
	local own=$1 other mac

	case $own in
	b) other=c mac=52:54:00:00:00:02 ;;
	c) other=b mac=52:54:00:00:00:03 ;;
	esac
	rdma_net=(
		-netdev "dgram,id=n,local.type=unix,local.path=$set_dir/$own.sock,remote.type=unix,remote.path=$set_dir/$other.sock"
		# Without a ROM: nobody boots from it.
		-device "virtio-net-pci,netdev=n,romfile=,host_mtu=9000,mac=$mac"
	)
}

# Start B or C, whose files are gone, and wait until it is there. In a subshell.
rdma_boot_member()
{
	local member=$1 kernel_dir ram_a append='' memory=() boot_why='' boot_pid size address

	kernel_dir=$(kernel_fetch "$set_card_kernel" generic)
	guest_name "$set-a"
	ram_a=$ram
	guest_name "$set-$member"
	boot_claim
	if [ "$member" = b ]; then
		address=10.0.0.2
		# Shown to the kernel as memory of another kind, which its allocator does not take.
		# shellcheck disable=SC2059
		printf -v append "$rdma_card_append" "$set_ram"
		memory=(
			-machine q35,max-ram-below-4g=$rdma_card_ram
			-m $((($(rdma_bytes $rdma_card_ram) + $(rdma_bytes "$set_ram")) >> 20))
			-object "memory-backend-ram,id=own,size=$rdma_card_ram"
			-object "memory-backend-file,id=watched,size=$set_ram,mem-path=$ram_a,share=on"
			-numa node,nodeid=0,cpus=0,memdev=own -numa node,nodeid=1,memdev=watched
		)
		size=$rdma_card_ram
	else
		address=10.0.0.3
		size=$set_monitor_ram
		memory=(-machine q35 -m "$size")
	fi
	printf '%s\n' "kernel=$set_card_kernel-generic" "image=$kernel_dir/vmlinuz" "ram=$size" smp=1 \
		"cpu=$boot_default_cpu" procs=0 "timeout=$set_timeout" >"$dir/config"
	rdma_network "$member"
	boot_options
	# One CPU: soft-RoCE is faster on it than on two, which QEMU runs by turns.
	boot_start "$set_timeout" "$qemu" "${boot_common[@]}" -cpu "$boot_default_cpu,$boot_cpu_quirks" -smp 1 \
		"${memory[@]}" "${boot_virtio_channel[@]}" "${rdma_net[@]}" \
		-kernel "$kernel_dir/vmlinuz" -initrd "$set_dir/initramfs.cpio" \
		-append "$boot_append lab.name=$guest lab.port=$boot_virtio_port $append"
	if ! boot_wait "$set_wait"; then
		tail -n 60 "$dir/console.log" >&2 2>/dev/null || true
		die "$guest: did not boot: $boot_why"
	fi
	labctl sh -t 30 "$dir/shell.sock" "
		ip link set lo up && ip link set eth0 mtu 9000 up && ip addr add $address/24 dev eth0 &&
		rdma link add rxe0 type rxe netdev eth0 && [ -e /dev/infiniband/uverbs0 ] &&
		{ [ $member = c ] || [ -c /dev/dax0.0 ]; }" >&2 ||
		die "$guest: has no RDMA device or no memory of A; see 'lab/rdma log $set $member'"
}

# In the background, all three at a time; fails if one does.
rdma_boot_all()
{
	local pids=() pid status=0 i

	"$lab/guest" boot "$set-a" --kernel "$set_kernel" --ram "$set_ram" --procs "$set_procs" \
		--append "$set_append" --timeout "$set_timeout" --wait "$set_wait" >&2 9>&- &
	pids+=($!)
	(rdma_boot_member c) &
	pids+=($!)
	# A's QEMU makes the file that is its memory, after the boot has removed an old one.
	guest_name "$set-a"
	for i in {1..300}; do
		[ ! -s "$ram" ] || break
		kill -0 "${pids[0]}" 2>/dev/null || break
		sleep 0.1
	done
	if [ -s "$ram" ]; then
		(rdma_boot_member b) &
		pids+=($!)
	else
		status=1
	fi
	for pid in "${pids[@]}"; do
		wait "$pid" || status=1
	done
	return $status
}

rdma_boot_main()
{
	local set_kernel=6.1 set_card_kernel=6.1 set_ram=512M set_monitor_ram=1536M set_procs=0 set_append='' set_timeout=1800 set_wait=180
	local build='' programs=() started=$EPOCHREALTIME took kernel_dir

	rdma_name "${1:-}"
	shift
	[ ! -d build ] || build=build
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage_error "boot: $1 wants a value; see 'lab/rdma boot --help'"
		case $1 in
		--kernel) set_kernel=$2 ;;
		--card-kernel) set_card_kernel=$2 ;;
		--ram) set_ram=$2 ;;
		--monitor-ram) set_monitor_ram=$2 ;;
		--procs) set_procs=$2 ;;
		--append) set_append=$2 ;;
		--build) build=$2 ;;
		--with) programs+=("$2") ;;
		--timeout) set_timeout=$2 ;;
		--wait) set_wait=$2 ;;
		*) usage_error "boot: unknown option $1; see 'lab/rdma boot --help'" ;;
		esac
		shift 2
	done
	[[ $set_ram =~ ^[0-9]{1,4}[MG]$ ]] && [ "$(rdma_bytes "$set_ram")" -le $((2 << 30)) ] ||
		usage_error "--ram: \"$set_ram\" is not a size of up to 2G"
	[[ $set_monitor_ram =~ ^[0-9]{1,5}[MG]$ ]] || usage_error "--monitor-ram: \"$set_monitor_ram\" is not a size"
	need_number --timeout "$set_timeout"
	need_number --wait "$set_wait"
	[ -z "$build" ] || [ -x "$build/src/cli/gpusentinel" ] ||
		die "$build/src/cli/gpusentinel: not there; build the tree, or name its build directory by --build"
	need "$qemu" setsid timeout flock

	mkdir -p "$state_root"
	exec 9>"$state_root/.$set-rdma.lock"
	flock -n 9 || die "$set: another command boots it right now"
	[ ! -d "$set_dir" ] || die "$set: is there already; 'lab/rdma stop $set' ends it"
	mkdir -p "$set_dir"
	kernel_dir=$(kernel_fetch "$set_card_kernel" generic)
	rdma_initramfs "$kernel_dir" "$build" "$set_dir/initramfs.cpio" "${programs[@]}"
	declare -p set_card_kernel set_ram set_monitor_ram set_timeout set_wait >"$set_dir/options"
	if ! rdma_boot_all; then
		rdma_stop_set
		die "$set: did not come up; see above"
	fi
	took=$((${EPOCHREALTIME/[.,]/} - ${started/[.,]/}))
	printf '%s: A with %s of memory, B (10.0.0.2) with it as /dev/dax0.0, C (10.0.0.3); up in %d.%d s\n' "$set" \
		"$set_ram" $((took / 1000000)) $((took / 100000 % 10))
}

rdma_restart_help()
{
	cat <<-'END'
	usage: lab/rdma restart SET b|c

	End a guest and boot it anew, with what was packed when the set was booted.
	END
}

rdma_restart_main()
{
	rdma_running "${1:-}"
	need_member "${2:-}" bc
	# shellcheck source=/dev/null
	. "$set_dir/options"
	guest_name "$set-$2"
	[ ! -d "$dir" ] || stop_guest
	(rdma_boot_member "$2")
	printf '%s-%s: booted anew\n' "$set" "$2"
}
