# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Whether a guest that is watched gets less done. Ten pairs of runs, watched and not, their order alternating; of a run
# counts its median round, and the median difference of pairs is compared with their noise.

# Sets took[KIND], microseconds in the guest, for "cpu" and "memory".
work_once()
{
	local kind line

	for kind in cpu memory; do
		line=$(guest sh "$(name_of live)" --timeout 60 "work $kind ${rounds[$kind]}")
		took[$kind]=$(sed -nE 's/^.* round_us=([0-9]+) .*/\1/p' <<<"$line")
		[ -n "${took[$kind]}" ] || return 1
	done
}

# Rounds that take about so many microseconds here.
calibrate()
{
	local -A took=()
	local wanted=1000000 kind

	[ -z "$small" ] || wanted=100000
	rounds=([cpu]=5 [memory]=5)
	work_once && work_once || return 1
	for kind in cpu memory; do
		rounds[$kind]=$((wanted / (took[$kind] + 1) + 1))
	done
}

# pin last|first PID: to a CPU near that end of those that this process may use; where there are few, to none. CPUs
# that share a core are neighbours, or half of all apart: these two are neither.
pin()
{
	local cpus=() part cpu

	while read -r -d , part; do
		for ((cpu = ${part%-*}; cpu <= ${part#*-}; cpu++)); do
			cpus+=("$cpu")
		done
	done < <(sed -n 's/^Cpus_allowed_list:[[:space:]]*\(.*\)/\1,/p' /proc/self/status)
	command -v taskset >/dev/null && [ ${#cpus[@]} -ge 8 ] || return
	if [ "$1" = last ]; then cpu=${cpus[-1]}; else cpu=${cpus[1]}; fi
	taskset -apc "$cpu" "$2" >>"$out/log.txt" 2>&1
}

slowdown_of()
{
	local kind=$1 line median noise mean positive

	line=$("$kit/bin/busybox" awk -v kind="$kind" '
		# This awk may lack its mathematics.
		function root(x, r, i) {
			r = x + 1
			for (i = 0; i < 100; i++) r = (r + x / r) / 2
			return r
		}
		$1 == kind { d[n++] = 100 * ($3 - $2) / $2; sum += d[n - 1]; positive += $3 > $2 }
		END {
			if (n < 2) exit 1
			for (i = 0; i < n; i++)
				for (j = i + 1; j < n; j++)
					if (d[j] < d[i]) { t = d[i]; d[i] = d[j]; d[j] = t }
			mean = sum / n
			for (i = 0; i < n; i++) var += (d[i] - mean) * (d[i] - mean)
			median = n % 2 ? d[(n - 1) / 2] : (d[n / 2 - 1] + d[n / 2]) / 2
			# Student, 97.5%: 9 degrees of freedom, else about that.
			t = n == 10 ? 2.262 : n < 5 ? 4.3 : 2.5
			printf "%.4f %.4f %.4f %d\n", median, t * root(var / (n - 1) / n), mean, positive
		}' "$out/work.txt")
	read -r median noise mean positive <<<"$line"
	judge "slowdown $kind" "${median:-}" "% slower (median of pairs)" at-most "${noise:-0}" \
		"the limit is the noise of $pairs pairs: half of the 95% interval of their mean, $mean%; $positive of $pairs slower when watched"
}

# Guest "live" runs, and nothing else.
slowdown()
{
	local -A took=() rounds=()
	local i order state pid pairs=10 kind
	local -A off=() on=()

	[ -z "$small" ] || pairs=4
	: >"$out/work.txt"
	pid=$(cat "$GPUSENTINEL_LAB/$(name_of live)/qemu.pid" 2>/dev/null)
	pin last "$pid"
	if ! calibrate; then
		check "slowdown" FAIL "the guest does not work"
		return
	fi
	for ((i = 0; i < pairs; i++)); do
		order="off on"
		[ $((i % 2)) = 0 ] || order="on off"
		for state in $order; do
			if [ "$state" = on ] && [ -z "$watcher" ]; then
				watch live work 2 || return
				pin first "$watcher"
			elif [ "$state" = off ] && [ -n "$watcher" ]; then
				unwatch
			fi
			if ! work_once; then
				check "slowdown" FAIL "the guest does not work"
				[ -z "$watcher" ] || unwatch
				return
			fi
			for kind in cpu memory; do
				if [ "$state" = on ]; then on[$kind]=${took[$kind]}; else off[$kind]=${took[$kind]}; fi
			done
		done
		for kind in cpu memory; do
			printf '%s %s %s\n' "$kind" "${off[$kind]}" "${on[$kind]}" >>"$out/work.txt"
		done
	done
	[ -z "$watcher" ] || unwatch
	slowdown_of cpu
	slowdown_of memory
}
