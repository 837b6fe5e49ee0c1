# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Memory that lies, and a checker of the kernels' own accesses. Both keep the GPU busy: they run at the end.

# The image that is damaged, and in which panics are written.
take_image()
{
	if booted image; then
		freeze image
		bounded 60 bash -c 'program gpusentinel "$@"' - -t "qemu:$(name_of image)" dump -o "$work/core" \
			>>"$out/log.txt" 2>&1 || rm -f "$work/core"
		guest stop "$(name_of image)" >>"$out/log.txt"
	fi
}

hostile_start()
{
	local seconds=$((limit - SECONDS - 45)) workers

	hostile_pid=
	[ -s "$work/core" ] || return
	[ "$seconds" -lt 150 ] || seconds=150
	[ "$seconds" -gt 20 ] || seconds=20
	workers=$(nproc)
	[ "$workers" -le 4 ] || workers=4
	timeout -k 5 $((seconds + 60)) bash -c 'program mutate "$@"' - -e "$engine" -p -j "$workers" -t "$seconds" \
		"$work/core" "$kit/detectors" "$images" >"$out/hostile.txt" 2>&1 &
	hostile_pid=$!
}

hostile_end()
{
	local status

	if [ -z "$hostile_pid" ]; then
		check "damaged images ($engine)" skip "there is no image of a guest"
		return
	fi
	wait "$hostile_pid"
	status=$?
	hostile_pid=
	if [ "$status" = 0 ]; then
		check "damaged images ($engine)" ok "$(tr '\n' ';' <"$out/hostile.txt")"
	else
		check "damaged images ($engine)" FAIL "exit status $status: $(tr '\n' ';' <"$out/hostile.txt")"
	fi
}

sanitizer()
{
	local tool status log=$out/memcheck.txt

	tool=$(PATH=$PATH:/usr/local/cuda/bin:/opt/cuda/bin command -v compute-sanitizer)
	if [ -n "$no_gpu" ] || [ -z "$tool" ]; then
		check memcheck skip "${no_gpu:-compute-sanitizer is not on this host}"
		return
	fi
	bounded 75 env LD_LIBRARY_PATH="$libraries" "$tool" --tool memcheck --error-exitcode 99 \
		"$kit/bin/compare" "qemu:$(name_of "$1")" "$kit"/detectors/*.so >"$log" 2>&1
	status=$?
	# Under the sanitizer kernels are many times slower: whether heartbeats were fast enough is no matter.
	if grep -qE '=+ (Invalid|ERROR SUMMARY: [1-9]|Misaligned)' "$log" || [ "$status" = 99 ]; then
		check memcheck FAIL "$(grep -m 1 -E '=+ (Invalid|ERROR|Misaligned)' "$log") (more in memcheck.txt)"
	elif grep -q 'ERROR SUMMARY: 0 errors' "$log"; then
		check memcheck ok "0 errors; compare ended with status $status"
	else
		check memcheck skip "no verdict, status $status after at most 75 s: $(tail -n 1 "$log")"
	fi
}
