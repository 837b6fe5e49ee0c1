# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# On memory that does not change: what is read is right, and the same on both engines.

# lists VERSION: as many as were started, by the engine under test.
lists()
{
	local name count

	name=$(name_of "$1")
	bounded 90 bash -c 'program gpusentinel "$@"' - -e "$engine" -t "qemu:$name" \
		run --once --rows --json processes >"$out/processes-$1.json" 2>"$work/err"
	count=$(grep -c '"proc-[0-9]*"' "$out/processes-$1.json")
	if [ "$count" = "$procs" ]; then
		check "processes $1 ($engine)" ok "$count of $procs sleeping processes listed"
	else
		check "processes $1 ($engine)" FAIL "$count of $procs listed: $(tail -n 1 "$work/err")"
	fi
}

# milliseconds FILE WORDS: the number behind them
milliseconds()
{
	sed -nE "s/^.*$2 ([0-9.]+) ms.*/\1/p" "$1" | head -n 1
}

# compare SHORT NAME DETECTOR...: of a guest; exit status of the check, so that times are only taken from a run that worked
compare()
{
	local guest=$1 short=$2 status equal log=$out/compare-$2.txt
	shift 2

	if [ -n "$no_gpu" ]; then
		check "cuda equals cpu $short" skip "$no_gpu"
		return 1
	fi
	bounded 90 bash -c 'program compare "$@"' - "qemu:$(name_of "$guest")" "$@" >"$log" 2>&1
	status=$?
	equal=$(grep -cE '^ok .*: [0-9]+ records' "$log")
	case $status in
	0)
		check "cuda equals cpu $short" ok "$equal detectors record for record; heartbeat and runs seen"
		return 0
		;;
	124 | 137) check "cuda equals cpu $short" FAIL "not at its end after 90 s: $(tail -n 1 "$log")" ;;
	77) check "cuda equals cpu $short" FAIL "no usable GPU: $(tail -n 1 "$log")" ;;
	*)
		check "cuda equals cpu $short" FAIL "$equal detectors equal, exit status $status: $(grep -m 1 \
			-E '^(differs|SLOW|NO RUNS|compare:)' "$log" || tail -n 1 "$log") (more in compare-$short.txt)"
		;;
	esac
	return 1
}

# start_time SHORT LIMIT-MS: what compare has measured
start_time()
{
	local log=$out/compare-$1.txt ready loaded beat total

	ready=$(milliseconds "$log" 'GPU and memory ready in')
	loaded=$(milliseconds "$log" 'all detectors loaded in')
	beat=$(milliseconds "$log" 'third heartbeat seen, after')
	if [ -z "$ready" ] || [ -z "$loaded" ] || [ -z "$beat" ]; then
		check "start $1" FAIL "compare has printed no times"
		return
	fi
	measure "GPU and memory ready $1" "$ready" ms
	measure "detectors loaded $1" "$loaded" ms
	measure "launch to third heartbeat $1" "$beat" ms
	total=$(calc "$ready + $loaded + $beat")
	judge "start $1" "$total" ms at-most "$2" "register, load, launch, third heartbeat"
}

frozen()
{
	local version

	for version in ${up[@]+"${up[@]}"}; do
		freeze "$version"
		lists "$version"
		if compare "$version" "$version" "$kit"/detectors/*.so; then
			start_time "$version" 3000
		fi
	done
}

# The start on 16 GiB.
big()
{
	if [ -n "$big_why" ]; then
		check "start 16g" skip "$big_why"
	elif booted 16g; then
		freeze 16g
		if compare 16g 16g "$kit"/detectors/*.so; then
			start_time 16g 3000
		fi
		guest stop "$(name_of 16g)" >>"$out/log.txt"
	fi
}
