# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What -t host rests on: the driver's path to page frames, and what `gpusentinel doctor` says of this machine.

page_frames()
{
	local log=$out/iomem.txt status

	bounded 60 bash -c 'program iomem "$@"' - -e "$engine" -n "$writes" >"$log" 2>"$work/err"
	status=$?
	cat "$work/err" >>"$out/log.txt"
	if [ "$status" = 77 ]; then
		check "page frames" skip "$(sed 's/^iomem: //' "$work/err" | tail -n 1)"
		return
	elif [ "$status" != 0 ]; then
		check "page frames" FAIL "exit status $status: $(tail -n 1 "$work/err") (more in iomem.txt)"
		return
	fi
	check "page frames" ok "$(number_of seen "$log") of $(number_of writes "$log") writes of the CPU seen by a kernel that polls 16 perf rings, registered with IOMEMORY and READ_ONLY; the last half after their mappings were given up"
	measure "page frames, write to answer" "$(number_of round_trip_us "$log")" us
	fact "page frames without IOMEMORY" "$([ "$(number_of refused_without_iomemory "$log")" = 1 ] && echo refused || echo registered)"
}

# said CHECK: verdict and what was found, as the doctor says it; nothing if it says nothing of that
said()
{
	sed -nE "s/^(ok|warning|stop) +$1: (.*)/\1 \2/p" "$out/doctor.txt"
}

# expect CHECK PATTERN WHAT: what the doctor says of it, beside what was found out in another way
expect()
{
	local line

	line=$(said "$1")
	if [[ ! $line =~ $2 ]]; then
		lies+=("$1: the doctor says \"${line:-nothing}\", but $3")
	fi
	truths=$((truths + 1))
}

# From sources that the doctor does not read where there are such: nvidia-smi, sysctl, the shell's own tests.
compare_with_host()
{
	local bus version mode cc group

	if [ -s "$work/smi" ] && bounded 30 nvidia-smi --format=csv,noheader -i 0 \
		--query-gpu=pci.bus_id,driver_version,persistence_mode >"$work/smi-host" 2>>"$out/log.txt"; then
		IFS=, read -r bus version mode <"$work/smi-host"
		# 00000000:3B:00.0 to 0000:3b:00.0
		bus=${bus,,}
		bus=${bus: -12}
		expect GPU "^ok .*$bus" "nvidia-smi has $bus"
		expect driver "^ok ${version// /}" "nvidia-smi has ${version// /}"
		case $mode in
		*Enabled*) expect persistence "^ok" "nvidia-smi says that it is enabled" ;;
		*Disabled*) expect persistence "^warning" "nvidia-smi says that it is disabled" ;;
		esac
		cc=$(timeout 30 nvidia-smi conf-compute -f 2>/dev/null)
		case $cc in
		*OFF*) expect "confidential GPU" "^ok" "nvidia-smi says \"$cc\"" ;;
		*ON*) expect "confidential GPU" "^stop" "nvidia-smi says \"$cc\"" ;;
		esac
		group=$(compgen -G "/sys/kernel/iommu_groups/*/devices/$bus")
		if [ -z "$group" ]; then
			expect IOMMU "^ok none" "no group of an IOMMU has $bus"
		elif [ "$(cat "${group%/devices/*}/type")" = identity ]; then
			expect IOMMU "^ok passes" "the group of $bus is of the type identity"
		else
			expect IOMMU "^stop" "the group of $bus is of the type $(cat "${group%/devices/*}/type")"
		fi
	elif ! compgen -G "/proc/driver/nvidia/gpus/*" >/dev/null; then
		expect GPU "^stop" "no driver of NVIDIA has one"
	fi
	case $(sysctl -n kernel.panic 2>/dev/null || cat /proc/sys/kernel/panic) in
	0) expect panic "^ok" "kernel.panic is 0" ;;
	*) expect panic "^stop" "kernel.panic is not 0" ;;
	esac
	if grep -qx 1 /sys/kernel/kexec_crash_loaded 2>/dev/null; then
		expect kdump "^stop" "kexec_crash_loaded is 1"
	else
		expect kdump "^(ok|warning)" "no crash kernel is loaded"
	fi
	if [ -c /dev/gpusentinel ]; then
		expect module "^ok" "/dev/gpusentinel is there"
	else
		expect module "^stop" "there is no /dev/gpusentinel"
	fi
	if compgen -G "/sys/class/infiniband/*/device" >/dev/null; then
		expect RDMA "^(ok|warning)" "/sys/class/infiniband has one with hardware"
	else
		expect RDMA "^stop" "/sys/class/infiniband has none with hardware"
	fi
}

doctor()
{
	local status wanted=0 truths=0 lies=()

	bounded 60 bash -c 'program gpusentinel doctor' >"$out/doctor.txt" 2>"$work/err"
	status=$?
	cat "$work/err" >>"$out/log.txt"
	bounded 60 bash -c 'program gpusentinel doctor --json' >"$out/doctor.json" 2>>"$out/log.txt"
	if ! grep -qE '^(ok|warning|stop) ' "$out/doctor.txt"; then
		check doctor FAIL "exit status $status: $(tail -n 1 "$work/err")"
		return
	fi
	if grep -q '^stop ' "$out/doctor.txt"; then
		wanted=9
	elif grep -q '^warning ' "$out/doctor.txt"; then
		wanted=8
	fi
	[ "$status" = "$wanted" ] || lies+=("exit status $status instead of $wanted")
	compare_with_host
	if [ ${#lies[@]} = 0 ]; then
		check doctor ok "$truths of what it says are what this host's own tools say; stops: $(sed -nE 's/^stop +([^:]*):.*/\1/p' "$out/doctor.txt" | paste -sd , | sed 's/,/, /g') (all in doctor.txt)"
	else
		check doctor FAIL "$(printf '%s; ' "${lies[@]}")"
	fi
	while read -r status; do
		say '      %s\n' "$status"
	done <"$out/doctor.txt"
}
