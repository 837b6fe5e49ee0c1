# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Memory that lies, and a checker of the kernels' own accesses.

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

damaged_images()
{
	local seconds=$((limit - SECONDS - 45)) workers status

	if [ ! -s "$work/core" ]; then
		check "damaged images ($engine)" skip "there is no image of a guest"
		return
	fi
	# Time for the sanitizer is left.
	[ "$seconds" -lt 180 ] || seconds=180
	[ "$seconds" -gt 20 ] || seconds=20
	# The GPU runs the kernels of one process at a time, those that only wait as well.
	workers=$(nproc)
	[ "$workers" -le 2 ] || workers=2
	bounded $((seconds + 60)) bash -c 'program mutate "$@"' - -e "$engine" -p -j "$workers" -t "$seconds" \
		"$work/core" "$kit/detectors" "$images" >"$out/hostile.txt" 2>&1
	status=$?
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
	if [ $((limit - SECONDS)) -lt 60 ]; then
		check memcheck skip "no time is left for it"
		return
	fi
	bounded $((limit - SECONDS - 30 < 75 ? limit - SECONDS - 30 : 75)) env LD_LIBRARY_PATH="$libraries" "$tool" --tool memcheck --error-exitcode 99 \
		"$kit/bin/compare" "qemu:$(name_of "$1")" "$kit"/detectors/*.so >"$log" 2>&1
	status=$?
	# Under the sanitizer kernels are many times slower: whether heartbeats were fast enough is no matter.
	if grep -qE '=+ (Invalid|ERROR SUMMARY: [1-9]|Misaligned)' "$log" || [ "$status" = 99 ]; then
		check memcheck FAIL "$(grep -m 1 -E '=+ (Invalid|ERROR|Misaligned)' "$log") (more in memcheck.txt)"
	elif grep -q 'ERROR SUMMARY: 0 errors' "$log"; then
		check memcheck ok "0 errors; compare ended with status $status"
	else
		check memcheck skip "no verdict, status $status at its time limit: $(tail -n 1 "$log")"
	fi
}
