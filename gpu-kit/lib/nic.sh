# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The mailbox as a NIC sees it: exported as dma-buf, and asked from outside while the process that watches is stopped.

# ask_from DEVICE NAME SECONDS: its copy engines play the NIC, for so long at most
ask_from()
{
	local log=$out/nic-$1.txt status asked seconds

	bounded 150 bash -c 'program nic "$@"' - -e "$engine" -d "$1" -n "$asks" -s "$3" "core:$work/core" \
		"$kit"/detectors/{panic,processes,log}.so >"$log" 2>"$work/err"
	status=$?
	cat "$work/err" >>"$out/log.txt"
	if [ "$engine" = cuda ] && [ "$1" = 0 ]; then
		if [ -n "$(number_of dma-buf "$log")" ]; then
			check "mailbox as dma-buf" ok "$(number_of dma-buf "$log") bytes, at $engine"
		else
			check "mailbox as dma-buf" FAIL "$(tail -n 1 "$work/err")"
		fi
	fi
	asked=$(number_of requests "$log")
	seconds=$(number_of time "$log")
	if [ "$status" = 0 ] && is_number "$asked" && is_number "$seconds"; then
		check "requests from $2" ok "$asked requests in $seconds s, none lost, done twice or torn; $(number_of reread "$log") answers seen before they were whole"
		measure "requests from $2" "$(calc "$asked / $seconds")" "requests a second"
	else
		check "requests from $2" FAIL "exit status $status: $(tail -n 1 "$work/err") (more in $(basename "$log"))"
	fi
}

nic()
{
	if [ ! -s "$work/core" ]; then
		check "requests from another process" skip "there is no image of a guest"
		return
	fi
	# A GPU gives each process its turn, which takes a third of a millisecond a request.
	ask_from 0 "another process" 30
	if [ "$(grep -c . "$work/smi" 2>/dev/null)" -gt 1 ] && [ "$engine" = cuda ]; then
		ask_from 1 "another GPU" 100
	else
		check "requests from another GPU" skip "needs two GPUs"
	fi
}
