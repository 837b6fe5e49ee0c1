// SPDX-License-Identifier: Apache-2.0
// All that the kernel's log holds, again in each run: for those who ask for it, as a remote monitor does. What comes
// as it comes is told by log.c.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "log_records.h"

DETECTOR(dmesg, .description = "the kernel's whole log, once an hour and when it is asked for",
	 .period_ms = 3600 * 1000, .output = 8 << 20)
{
	struct log_walk walk = {};
	struct log_record record;

	if (!log_begin(&walk))
		return;
	while (log_next(&walk, &record))
		log_row(&record);
}
