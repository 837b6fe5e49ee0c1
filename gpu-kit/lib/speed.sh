# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What detectors reach of what the machine gives: the limits are measured first, and nothing else runs meanwhile.

declare -A limit_of=() time_of=()

# Sets limit_of[NAME] from bin/limits.
limits()
{
	local size=16384 name value unit

	if [ -n "$small" ]; then
		size=256
	elif [ "$(room_mib)" -lt 24576 ]; then
		size=4096
	fi
	if ! bounded 60 bash -c 'program limits "$@"' - -e "$engine" -s "$size" >"$out/limits.txt" \
		2>>"$out/log.txt"; then
		check "limits ($engine)" FAIL "ended early: $(tail -n 1 "$out/log.txt")"
	else
		check "limits ($engine)" ok "measured over $size MiB in 4 KiB pages (all in limits.txt)"
	fi
	while read -r name value unit; do
		is_number "$value" || continue
		limit_of[$name]=$value
		case $name in
		latency_ns | random_block | random_card | stream) measure "limit $name" "$value" "$unit" ;;
		esac
	done <"$out/limits.txt"
}

# A guest with so many processes; more_booted freezes it.
many_processes()
{
	local name born

	many_why=
	if ! booted many; then
		many_why="its guest is not up"
		return
	fi
	name=$(name_of many)
	born=$(guest sh "$name" --timeout 90 "sleepers $many" | tail -n 1)
	if [ "$born" != "$many" ]; then
		many_why="the guest has started ${born:-none} of $many processes"
		check "many processes" FAIL "$many_why"
		return
	fi
	freeze many
}

# count_sectors: in the background, on the CPU, while the GPU has other things to do
count_sectors()
{
	local files=() name

	sectors_pid=
	[ -z "$many_why" ] || return
	for name in walk enumerate; do
		[ ! -r "$kit/bench/$name.so" ] || files+=("$kit/bench/$name.so")
	done
	[ ${#files[@]} -gt 0 ] || return
	timeout -k 5 200 bash -c 'program sectors "$@"' - "qemu:$(name_of many)" "${files[@]}" \
		>"$out/sectors.txt" 2>>"$out/log.txt" &
	sectors_pid=$!
}

# sectors_of NAME: how many one run touches
sectors_of()
{
	sed -nE "s/^$1 loads [0-9]+ sectors ([0-9]+).*/\1/p" "$out/sectors.txt" 2>/dev/null
}

# field NAME WORD: the number behind WORD in the line of a detector in times.txt
field()
{
	sed -nE "s/^$1 .*\b$2 ([0-9]+).*/\1/p" "$out/times.txt" 2>/dev/null
}

# Print the file of a detector that is there to be timed, or of one that watches.
detector_file()
{
	if [ -r "$kit/bench/$1.so" ]; then
		printf '%s\n' "$kit/bench/$1.so"
	else
		printf '%s\n' "$kit/detectors/$1.so"
	fi
}

# time_run SHORT NAME: sets time_of[NAME], nanoseconds
time_run()
{
	local file line

	file=$(detector_file "$2")

	if [ ! -r "$file" ]; then
		time_why="this kit has no detector $2"
		return 1
	fi
	line=$(bounded 60 bash -c 'program times "$@"' - -e "$engine" -n "$runs" "qemu:$(name_of "$1")" "$file" \
		2>"$work/err" | tail -n 1)
	cat "$work/err" >>"$out/log.txt"
	printf '%s\n' "$line" >>"$out/times.txt"
	time_of[$2]=$(field "$2" median_ns)
	if [ -z "${time_of[$2]}" ]; then
		time_why="$2 was not timed: $(tail -n 1 "$work/err")"
		return 1
	fi
	if [ "$(field "$2" stopped)" != 0 ]; then
		time_why="$2: runs ended early: $line"
		return 1
	fi
	measure "one run of $2" "$(calc "${time_of[$2]} / 1e6")" ms
}

count_tasks()
{
	bounded 60 bash -c 'program gpusentinel "$@"' - -e cpu -t "qemu:$(name_of many)" run --once --rows --json \
		processes >"$work/many.json" 2>>"$out/log.txt"
	tasks=$(grep -c '"pid":' "$work/many.json")
	measure "processes in the guest" "$tasks" processes
}

lists_speed()
{
	local sectors time_why=

	if [ -n "$many_why" ]; then
		check "sequential walk" skip "$many_why"
		check "parallel enumeration" skip "$many_why"
		check "share of random reads" skip "$many_why"
		return
	fi
	count_tasks
	if [ -n "$sectors_pid" ]; then
		wait "$sectors_pid"
		sectors_pid=
	fi
	if time_run many walk; then
		judge "sequential walk" "$(calc "${time_of[walk]} / $tasks / ${limit_of[latency_ns]:-0}")" \
			"dependent-load latencies a task" at-most 2 \
			"$(calc "${time_of[walk]} / $tasks") ns a task, latency ${limit_of[latency_ns]:-?} ns; $tasks tasks"
	else
		check "sequential walk" "$(missing walk)" "$time_why"
	fi
	if ! time_run many enumerate; then
		check "parallel enumeration" "$(missing enumerate)" "$time_why"
		check "share of random reads" "$(missing enumerate)" "$time_why"
		return
	fi
	judge "parallel enumeration" "$(calc "${time_of[walk]:-0} / ${time_of[enumerate]}")" \
		"times as fast as the walk" at-least 8 "$tasks tasks by one block in ${time_of[enumerate]} ns"
	sectors=$(sectors_of enumerate)
	judge "share of random reads" \
		"$(calc "100 * ${sectors:-0} / (${time_of[enumerate]} / 1e9) / ${limit_of[random_card]:-0}")" \
		"% of the card's random-read rate" at-least 50 \
		"${sectors:-?} different sectors of 32 bytes touched; card ${limit_of[random_card]:-?}, one block ${limit_of[random_block]:-?} sectors/s"
}

# missing NAME: a kit without it is no failure of the GPU
missing()
{
	if [ -r "$(detector_file "$1")" ]; then echo FAIL; else echo skip; fi
}

# row_value SHORT DETECTOR.so COLUMN: the number that a run reports
row_value()
{
	bounded 60 bash -c 'program gpusentinel "$@"' - -e "$engine" -t "qemu:$(name_of "$1")" run --once --rows --json \
		"$2" 2>>"$out/log.txt" | sed -nE "s/.*\"$3\": *\"?([0-9]+).*/\1/p" | tail -n 1
}

hash_speed()
{
	local bytes values time_why=

	if [ -n "$many_why" ]; then
		check "hash of all memory" skip "$many_why"
		check "integrity checks" skip "$many_why"
		return
	fi
	if time_run many hash; then
		bytes=$(row_value many "$kit/bench/hash.so" bytes)
		judge "hash of all memory" \
			"$(calc "100 * ${bytes:-0} / (${time_of[hash]} / 1e9) / ${limit_of[stream]:-0}")" \
			"% of the streaming-read rate" at-least 90 \
			"${bytes:-?} bytes in ${time_of[hash]} ns; streaming ${limit_of[stream]:-?} bytes/s"
	else
		check "hash of all memory" "$(missing hash)" "$time_why"
	fi
	if time_run many check; then
		values=$(row_value many "$kit/bench/check.so" values)
		judge "integrity checks" "$(calc "${values:-0} / (${time_of[check]} / 1e9)")" \
			"64-bit values a second" at-least 4e9 "${values:-?} values in ${time_of[check]} ns"
	else
		check "integrity checks" "$(missing check)" "$time_why"
	fi
	# The detector that watches compares an eighth in a run, and does more than to compare.
	time_run many integrity
}

# Every detector once, on both engines: a quiet guest with 500 processes. Medians are added up.
full_pass()
{
	local on line sum count

	if ! booted quiet; then
		return
	fi
	freeze quiet
	for on in "$engine" cpu; do
		[ "$on" != cpu ] || [ ! -e "$out/pass-cpu.txt" ] || continue
		bounded 60 bash -c 'program times "$@"' - -e "$on" -n "$runs" "qemu:$(name_of quiet)" \
			"$kit"/detectors/*.so >"$out/pass-$on.txt" 2>>"$out/log.txt"
		sum=0 count=0
		while read -r line; do
			line=${line##* median_ns }
			sum=$((sum + ${line%% *}))
			count=$((count + 1))
		done <"$out/pass-$on.txt"
		if [ "$count" = "$(find "$kit/detectors" -name '*.so' | wc -l)" ]; then
			measure "one run of each of $count detectors ($on)" "$(calc "$sum / 1e6")" ms
		else
			check "full pass ($on)" FAIL "$count detectors were timed, the last lines of log.txt may say why"
		fi
	done
	guest stop "$(name_of quiet)" >>"$out/log.txt"
}

latency()
{
	local file=$kit/detectors/panic.so name value unit p99=''

	if [ ! -r "$file" ]; then
		check "panic to finding" skip "this kit has no detector panic"
		return
	fi
	if [ ! -s "$work/core" ]; then
		check "panic to finding" skip "there is no image of a guest"
		return
	fi
	if ! bounded 60 bash -c 'program latency "$@"' - -e "$engine" -n 50 "$work/core" "$file" \
		>"$out/latency.txt" 2>"$work/err"; then
		cat "$work/err" >>"$out/log.txt"
		check "panic to finding" FAIL "$(tail -n 1 "$work/err")"
		return
	fi
	while read -r name value unit; do
		case $name in
		finding_p99) p99=$value ;;
		esac
		measure "latency $name" "$value" "$unit"
	done <"$out/latency.txt"
	judge "panic to finding" "$p99" us at-most 1000 "p99 of 50 writes of panic_cpu, until the finding can be read"
}

speed()
{
	: >"$out/times.txt"
	limits
	lists_speed
	hash_speed
	latency
	full_pass
}
