# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# On guests that run: what watching costs, and what is found when they break.

# watch SHORT FILE SECONDS ARGUMENT...: gpusentinel run in the background, SECONDS until it runs; sets watcher
watch()
{
	local short=$1 file=$2 seconds=$3
	shift 3

	# Not `program`: the pid must be that of gpusentinel.
	env LD_LIBRARY_PATH="$libraries" "$kit/bin/gpusentinel" -e "$engine" -t "qemu:$(name_of "$short")" \
		run --json "$@" >"$out/$file.json" 2>"$out/$file.err" &
	watcher=$!
	# Modules are compiled and memory registered in this time.
	sleep "$seconds"
	lives "$watcher" && return 0
	wait "$watcher"
	watcher=
	check "watch $short ($engine)" FAIL "has ended: $(tail -n 1 "$out/$file.err")"
	return 1
}

# unwatch NAME: it must end in good order when told to. Without a name only failures are told.
unwatch()
{
	local status i

	kill -TERM "$watcher" 2>/dev/null
	for i in {1..100}; do
		lives "$watcher" || break
		sleep 0.1
	done
	if [ "$i" = 100 ]; then
		check "${1:-end of watching}" FAIL "still there 10 s after SIGTERM"
		end "$watcher"
	else
		wait "$watcher"
		status=$?
		if [ "$status" != 0 ]; then
			check "${1:-end of watching}" FAIL "exit status $status after SIGTERM"
		elif [ -n "${1:-}" ]; then
			check "$1" ok "exit status 0 after SIGTERM"
		fi
	fi
	watcher=
}

# utime and stime of all its threads, in ticks. The name in parentheses may hold anything.
cpu_ticks()
{
	local stat fields

	stat=$(<"/proc/$1/stat") || return 1
	read -ra fields <<<"${stat##*) }"
	echo $((fields[11] + fields[12]))
}

cpu_time()
{
	local seconds=20 hz before after

	[ -z "$small" ] || seconds=5
	hz=$(getconf CLK_TCK 2>/dev/null || echo 100)
	before=$(cpu_ticks "$watcher")
	sleep "$seconds"
	after=$(cpu_ticks "$watcher")
	if ! lives "$watcher" || [ -z "$before" ] || [ -z "$after" ]; then
		check "idle cost ($engine)" FAIL "the watching process has ended"
		return
	fi
	judge "idle cost ($engine)" "$(calc "100 * ($after - $before) / $hz / $seconds")" "% of a core" at-most 0.5 \
		"CPU time of the watching process over $seconds s"
}

# wait_finding SECONDS FILE PATTERN: print the first line that matches
wait_finding()
{
	local deadline=$((SECONDS + $1))

	until grep -m 1 -E "\"kind\": *\"finding\".*$3" "$2"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

message_of()
{
	sed -E 's/.*"message": *"(([^"\\]|\\.)*)".*/\1/' <<<"$1"
}

# fault_found SHORT FILE FAULT PATTERN OPTION...: break the guest and wait for the finding. The pattern is the detector's
# own words: what the kernel says of itself is found in the log as well.
fault_found()
{
	local short=$1 file=$2 fault=$3 pattern=$4 found
	shift 4

	if ! bounded 100 bash "$kit/lab/guest" fault "$(name_of "$short")" "$fault" --timeout 90 "$@" \
		>>"$out/log.txt" 2>&1; then
		check "live $fault ($engine)" FAIL "the guest did not break (more in log.txt)"
	elif found=$(wait_finding 20 "$out/$file.json" "$pattern"); then
		check "live $fault ($engine)" ok "$(message_of "$found")"
	else
		check "live $fault ($engine)" FAIL "no finding within 20 s"
	fi
}

# The CPU comes back after some seconds, and the guest lives on.
lockup()
{
	if [ ! -r "$kit/cache/kernels/$first-cloud/lab_fault.ko" ]; then
		check "live hardlockup ($engine)" skip "this kit has no module that locks up a CPU"
		return
	fi
	fault_found live live hardlockup 'hard lockup: cpu=1' --cpu 1 --for 8
	sleep 6
}

live()
{
	watch live live 5 || return
	cpu_time
	fault_found live live oom 'out of memory: kills='
	lockup
	fault_found live live panic 'kernel panic: cpu='
	unwatch "end of watching ($engine)"
}

now()
{
	date -u +%Y-%m-%dT%H:%M:%S.%NZ
}

# The process that watches is stopped, the guest panics, the process goes on: what came in between bears
# times from the GPU's clock.
stopped()
{
	local short=$1 from to line time name records=0 found='' state stamp='"time": *"([^"]*)"'
	local detectors=()

	if [ "$engine" != cuda ]; then
		check "watcher stopped" skip "detectors on the CPU stop with the process: $no_gpu"
		return
	fi
	thaw "$short"
	for name in system memory panic; do
		[ ! -r "$kit/detectors/$name.so" ] || detectors+=("$name")
	done
	watch "$short" stopped 3 --rows "${detectors[@]}" || return
	kill -STOP "$watcher"
	sleep 0.5
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$watcher/status")
	from=$(now)
	bounded 60 bash "$kit/lab/guest" fault "$(name_of "$short")" panic --timeout 50 >>"$out/log.txt" 2>&1
	sleep 5
	to=$(now)
	kill -CONT "$watcher"
	wait_finding 10 "$out/stopped.json" 'kernel panic: cpu=' >/dev/null
	sleep 1
	while read -r line; do
		# Thousands of lines: no process for each.
		[[ $line =~ $stamp ]] || continue
		time=${BASH_REMATCH[1]}
		[[ $time > $from && $time < $to ]] || continue
		case $line in
		*'"finding"'*'kernel panic: cpu='*) found=$time ;;
		esac
		records=$((records + 1))
	done < <(grep '"time"' "$out/stopped.json" | tail -n 20000)
	measure "records while stopped" "$records" records
	if [ "$state" != T ]; then
		check "watcher stopped" FAIL "SIGSTOP did not stop it: state $state"
	elif [ "$records" -gt 0 ] && [ -n "$found" ]; then
		check "watcher stopped" ok "$records records from $from to $to, the panic among them at $found"
	else
		check "watcher stopped" FAIL "$records records from $from to $to, panic ${found:-not} among them"
	fi
	unwatch "end after being stopped"
}
