# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

boot_help()
{
	cat <<-'END'
	usage: lab/guest boot NAME [OPTION...]

	Boot a Debian kernel in QEMU (TCG) and wait until its shell answers.
	  --kernel 5.10|6.1|6.12|6.18|7.2|FILE  Debian's kernel of that version, fetched once, or a bzImage
	                                        (without modules); default 6.1
	  --flavour cloud|generic               Debian's flavour; default cloud, which boots faster
	  --ram 512M                            size of memory: a number and M or G
	  --smp 2                               CPUs
	  --cpu MODEL                           QEMU's -cpu; the default has 4-level page tables,
	                                        "max" has 5
	  --procs N                             start N sleeping processes (proc-00001, ...)
	  --append 'ARGS'                       more kernel arguments
	  --timeout SECONDS                     end the guest after that long; default 1800
	  --wait SECONDS                        how long the boot may take; default 180

	The guest's files are in GPUSENTINEL_LAB/NAME (default /run/gpusentinel-lab): qmp.sock for the program
	that watches, qmp-lab.sock and shell.sock for the lab, console.log. Its memory is the shared file
	GPUSENTINEL_LAB_RAM/gpusentinel-lab-NAME.ram (default /dev/shm). KASLR is on; after a panic the
	guest stays dead (panic=0). GPUSENTINEL_QEMU names another QEMU than the one in PATH.

	  lab/guest boot a --kernel 6.12 --procs 100
	  gpusentinel -t qemu:a ps
	END
}

# Without la57 the guest's page tables have 4 levels, as on most machines; "max" alone gives 5.
boot_default_cpu=max,la57=off

# QEMU 7.2 computes the flags after an unlocked cmpxchg16b from stale state; an interrupt right
# behind it saves that as RFLAGS (seen: half a pointer), and the guest dies of a double fault or a
# wild memcpy. SLUB uses the instruction all the time, unless the CPU says that it has none.
boot_cpu_quirks=cx16=off

# All CPUs in one thread of QEMU: no race between one CPU's patching of kernel code and another's
# execution of it, and less CPU time for a boot than with a thread for each.
boot_accel=tcg,thread=single

# Set boot_common: QEMU's options that every guest of the lab has.
boot_options()
{
	boot_common=(
		-name "$guest" -accel "$boot_accel"
		-nodefaults -no-user-config -display none -no-reboot
		-chardev "socket,id=shell,path=$dir/shell.sock,server=on,wait=off"
		-serial "file:$dir/console.log"
		-qmp "unix:$dir/qmp.sock,server=on,wait=off"
		-qmp "unix:$dir/qmp-lab.sock,server=on,wait=off"
		-pidfile "$dir/qemu.pid"
	)
}

# The command channel of a kernel with modules.
boot_virtio_channel=(-device virtio-serial-pci -device "virtserialport,chardev=shell")
boot_virtio_port=/dev/vport0p1

# What every guest's kernel is told.
boot_append="console=ttyS0 panic=0 random.trust_cpu=on gpusentinel_lab=1"

# A stale guest's files go; a live one's stay, and the boot fails.
boot_claim()
{
	if [ -d "$dir" ]; then
		! guest_pid >/dev/null ||
			die "$guest: runs already; 'lab/guest stop $guest' ends it"
	fi
	rm -rf "$dir"
	rm -f "$ram"
	mkdir -p "$dir"
}

# Start QEMU in a session of its own, bounded by timeout. When that strikes, the memory goes too: it is
# the machine's. A QEMU that ends otherwise leaves it for whoever watches a dead host.
boot_start()
{
	local seconds=$1
	shift

	# $1.. belong to the inner shell.
	# shellcheck disable=SC2016
	setsid bash -c '
		seconds=$1 dir=$2 ram=$3
		shift 3
		start=$SECONDS
		timeout -k 10 "$seconds" "$@" >"$dir/qemu.log" 2>&1 </dev/null
		if [ $((SECONDS - start)) -ge "$seconds" ]; then
			echo "ended by its time limit of $seconds s" >>"$dir/qemu.log"
			rm -f "$ram"
		fi
	' lab-guest "$seconds" "$dir" "$ram" "$@" </dev/null >/dev/null 2>&1 9>&- &
	boot_pid=$!
}

# Wait until the agent answers; fail with the reason as soon as the boot has failed for good.
boot_wait()
{
	local deadline=$((SECONDS + $1))

	while [ "$SECONDS" -lt "$deadline" ]; do
		if [ -S "$dir/shell.sock" ] && labctl sh -w 1 -t 5 "$dir/shell.sock" true 2>/dev/null; then
			return 0
		fi
		if grep -aq 'Kernel panic - not syncing' "$dir/console.log" 2>/dev/null; then
			boot_why="the kernel panicked"
			return 1
		fi
		if ! kill -0 "$boot_pid" 2>/dev/null; then
			boot_why="QEMU ended: $(tail -n 1 "$dir/qemu.log")"
			return 1
		fi
		sleep 0.1
	done
	boot_why="no answer within $1 s"
	return 1
}

# What a guest is asked for, in the caller's $size, $smp, $seconds and $wait; from here on nobody else boots or stops it.
boot_begin()
{
	[[ $size =~ ^[0-9]{1,6}[MG]$ ]] || usage_error "--ram: \"$size\" is not a size such as 512M"
	need_number --smp "$smp"
	need_number --timeout "$seconds"
	need_number --wait "$wait"
	need "$qemu" setsid timeout flock
	mkdir -p "$state_root"
	exec 9>"$state_root/.$guest.lock"
	flock -n 9 || die "$guest: another command boots or stops it right now"
}

# boot_machine OPTION...: such a machine, with the caller's $cpu and these options of QEMU, until its agent answers.
boot_machine()
{
	boot_options
	boot_start "$seconds" "$qemu" "${boot_common[@]}" \
		-cpu "$cpu,$boot_cpu_quirks" -smp "$smp" -m "$size" \
		-machine q35,memory-backend=ram0 \
		-object "memory-backend-file,id=ram0,size=$size,mem-path=$ram,share=on" "$@"
	boot_wait "$wait" && return
	tail -n 60 "$dir/console.log" >&2 2>/dev/null || true
	stop_guest
	die "$guest: did not boot: $boot_why"
}

boot_main()
{
	local kernel=6.1 flavour=cloud size=512M smp=2 cpu=$boot_default_cpu procs=0 append=''
	local seconds=1800 wait=180
	local image initramfs kernel_dir='' port channel started=$EPOCHREALTIME boot_why='' boot_pid took

	guest_name "${1:-}"
	shift
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || usage_error "boot: $1 wants a value; see 'lab/guest boot --help'"
		case $1 in
		--kernel) kernel=$2 ;;
		--flavour) flavour=$2 ;;
		--ram) size=$2 ;;
		--smp) smp=$2 ;;
		--cpu) cpu=$2 ;;
		--procs) procs=$2 ;;
		--append) append=$2 ;;
		--timeout) seconds=$2 ;;
		--wait) wait=$2 ;;
		*) usage_error "boot: unknown option $1; see 'lab/guest boot --help'" ;;
		esac
		shift 2
	done
	need_number --procs "$procs"
	boot_begin
	if [ -f "$kernel" ]; then
		image=$kernel
		# No modules, hence no driver for a virtio port.
		port=/dev/ttyS1
		channel=(-serial chardev:shell)
	else
		kernel_dir=$(kernel_fetch "$kernel" "$flavour")
		image=$kernel_dir/vmlinuz
		port=$boot_virtio_port
		channel=("${boot_virtio_channel[@]}")
	fi
	initramfs=$(initramfs_build "$kernel_dir")
	boot_claim
	printf '%s\n' "kernel=${kernel_dir:+$kernel-$flavour}" "image=$image" \
		"ram=$size" "smp=$smp" "cpu=$cpu" "procs=$procs" \
		"timeout=$seconds" >"$dir/config"
	boot_machine "${channel[@]}" -kernel "$image" -initrd "$initramfs" \
		-append "$boot_append lab.name=$guest lab.procs=$procs lab.port=$port $append"
	took=$((${EPOCHREALTIME/[.,]/} - ${started/[.,]/}))
	printf '%s: Linux %s, %s, %s CPUs, %s; up in %d.%d s\n' "$guest" \
		"$(labctl sh "$dir/shell.sock" 'uname -r')" "$size" "$smp" "$cpu" \
		$((took / 1000000)) $((took / 100000 % 10))
}
