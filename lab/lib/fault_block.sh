# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Faults of block devices and of file systems on them. "reader" and "stuck-writer" are the processes that meet them.

fault_block_help()
{
	cat <<-'END'
	Of block devices and file systems:
	  hung-task     "stuck-writer" writes to a frozen ext4 and stays in state D; the kernel complains after 5 s
	  io-error      every request of "reader" to a device (dm-flakey) fails
	  io-slow       each takes --count ms (default 2000; dm-delay)
	  io-suspended  none goes on: the device (dm) is suspended
	  io-hang       a request of "reader" to a SCSI disk (scsi_debug) is never answered; no heal, but --for
	  io-timeout    none is answered, and the kernel gives up each after 2 s
	  fs-readonly   an ext4 at /run/fs-readonly has lost its disk, and turned itself read-only
	END
}

# A device of 16 MiB, /dev/loopN, that is $loop. Part of a command for the guest.
fault_loop='
	set -e
	head -c 16777216 /dev/zero >/run/$fault.img
	loop=$(losetup -f)
	losetup $loop /run/$fault.img
'

# fault_dm TARGET COMMAND: a dm device of that target over a loop device; $device in the command.
fault_dm()
{
	fault_kernel_module dm-mod || return 1
	[ "$1" = linear ] || fault_kernel_module "dm-${1%% *}" || return 1
	fault_undo <<-END || return 1
		dm resume $fault
		killall -9 reader
		sleep 0.3
		umount /run/$fault
		# Whose request is on its way is not gone yet.
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			! dm remove $fault || break
			sleep 0.5
		done
		losetup -d \$(losetup -a | sed -n 's|: .*/run/$fault.img||p')
		rm /run/$fault.img
	END
	# shellcheck disable=SC2016
	fault_sh "fault=$fault; $fault_loop"'
		device=$(dm create $fault "0 32768 linear $loop 0")
		table="0 32768 '"${1%% *}"' $loop 0 '"${1#* }"'"
	'"$2"
}

inject_io-error()
{
	# Never up, and down for an hour; without further arguments all requests fail.
	fault_dm 'flakey 0 3600' '
		begins
		dm table $fault "$table"
		reader $device 200 >/run/reader.log 2>&1 &
		sleep 0.5
		cat $device >/dev/null 2>&1 || true' || return 1
	fault_wait "$seconds" 'Buffer I/O error on dev dm-[0-9]+' "$from" || return 1
	fault_until "$seconds" 'grep -q "Input/output error" /run/reader.log' >/dev/null
}

inject_io-slow()
{
	fault_dm "delay ${count:=2000}" '
		begins
		dm table $fault "$table"
		reader $device >/dev/null 2>&1 &
		begin=$(cut -d" " -f1 /proc/uptime)
		dd if=$device of=/dev/null bs=4k count=1 skip=1000 iflag=direct 2>/dev/null
		echo "$begin $(cut -d" " -f1 /proc/uptime)" |
			awk -v device=$device -v ms='"$count"' "{ if ((\$2 - \$1) * 1000 < ms) exit 1;
				printf \"a read of %s took %.1f s\n\", device, \$2 - \$1 }"'
}

inject_io-suspended()
{
	fault_dm linear '
		reader $device >/dev/null 2>&1 &
		sleep 0.3
		begins
		dm suspend $fault
		echo "$device is suspended"' || return 1
	fault_until "$seconds" '[ "$(cut -d" " -f3 /proc/$(pidof reader)/stat)" = D ]' >/dev/null
}

# A disk of scsi_debug; sets disk to its name.
fault_scsi()
{
	fault_kernel_module sd_mod && fault_kernel_module scsi_debug || return 1
	disk=$(fault_until "$seconds" '
		disk=$(cd /sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*/block && echo *) &&
		[ -b /dev/$disk ] && dd if=/dev/$disk of=/dev/null bs=4k count=1 2>/dev/null && echo $disk') || return 1
}

inject_io-hang()
{
	local disk ticks=1000000000

	# Of 4 ms. One request, so that with --for there is an end.
	[ "$duration" -eq 0 ] || ticks=$((duration * 250))
	fault_scsi || return 1
	# Refused while there is a request.
	fault_undo <<-'END' || return 1
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			! echo 1 >/sys/bus/pseudo/drivers/scsi_debug/delay || break
			sleep 1
		done
	END
	fault_until "$seconds" "echo $ticks >/sys/bus/pseudo/drivers/scsi_debug/delay" >/dev/null || return 1
	fault_sh "
		echo 86400 >/sys/block/$disk/device/timeout
		begins
		(trap '' HUP; exec dd if=/dev/$disk of=/dev/null bs=4k count=1 skip=100 iflag=direct) >/dev/null 2>&1 &
		sleep 1
		set -- \$(cat /sys/block/$disk/inflight)
		[ \$1 = 1 ] && echo '$disk has a request that is not answered'"
}

inject_io-timeout()
{
	local disk

	fault_scsi || return 1
	fault_undo <<-END || return 1
		echo 0 >/sys/bus/pseudo/drivers/scsi_debug/every_nth
		echo 0 >/sys/bus/pseudo/drivers/scsi_debug/opts
		killall -9 reader
		sleep 3
		echo running >/sys/block/$disk/device/state
	END
	# Of scsi_debug: 4 leaves commands without an answer, here each of them.
	fault_sh "
		echo 2 >/sys/block/$disk/device/timeout
		echo 1 >/sys/block/$disk/device/eh_timeout
		# Where there is such a number; else the kernel tries six times.
		(echo 0 >\$(echo /sys/class/scsi_disk/*/max_retries)) 2>/dev/null
		begins
		echo 4 >/sys/bus/pseudo/drivers/scsi_debug/opts
		echo 1 >/sys/bus/pseudo/drivers/scsi_debug/every_nth
		reader /dev/$disk 1000 >/dev/null 2>&1 &" || return 1
	fault_wait "$seconds" "I/O error, dev $disk" "$from"
}

inject_fs-readonly()
{
	fault_dm 'flakey 0 3600' '
		mke2fs -F $device >/dev/null 2>&1
		mkdir -p /run/$fault
		mount -t ext4 -o errors=remount-ro $device /run/$fault
		begins
		dm table $fault "$table"
		# Not read yet.
		ls /run/$fault /run/$fault/file >/dev/null 2>&1 || true' || return 1
	fault_wait "$seconds" 'Remounting filesystem read-only' "$from"
}

inject_hung-task()
{
	# Expanded by the guest's shell.
	# shellcheck disable=SC2016
	fault_sh '
		set -e
		mkdir -p /run/hung
		head -c 16777216 /dev/zero >/run/disk
		mke2fs -F /run/disk >/dev/null 2>&1
		loop=$(losetup -f)
		losetup "$loop" /run/disk
		mount -t ext4 "$loop" /run/hung
		echo 5 >/proc/sys/kernel/hung_task_timeout_secs
		echo -1 >/proc/sys/kernel/hung_task_warnings
		: >/run/hung/file
		sync
		fsfreeze --freeze /run/hung
		begins
		stuck-writer /run/hung/file >/dev/null 2>&1 &
	' || return 1
	fault_undo <<-'END' || return 1
		fsfreeze --unfreeze /run/hung
		sleep 0.3
		umount -d /run/hung
		rm /run/disk
	END
	fault_wait "$seconds" 'task stuck-writer:[0-9]+ blocked for more than' "$from"
}
