// SPDX-License-Identifier: Apache-2.0
// Processes, modules and sockets that are in one structure of the kernel and not in another. Who hides them takes them
// out of what people are shown; what the kernel itself needs to run them stays.
//
// All of it changes while it is read. What is missing is asked for once more, directly; and it must be missing in
// every run of two seconds, in which nothing is made or ends that long. A system that stands still may do so in the
// middle of a change: its time does not count.
#include "hidden_modules.h"
#include "hidden_sockets.h"
#include "hidden_tasks.h"

DETECTOR(hidden, .description = "processes, modules and sockets that are hidden", .period_ms = 1000,
	 .budget = 64 << 20)
{
	static u64 jiffies_seen;
	u64 now = jiffies_64;

	if (run_count() && now == jiffies_seen)
		return;
	jiffies_seen = now;
	look_at_tasks();
	look_at_modules();
	alarms_end(hidden_objects);
	look_at_sockets();
}
