// SPDX-License-Identifier: Apache-2.0
#include <gpusentinel/detector.h>

PARAM(limit, 10, "what is too much");
PARAM(unused, 0x100000000, "what nobody reads");

// Severity of each condition; 0: it does not hold.
extern u64 raised[8] __ksym;

ALARMS(quick, 4);
ALARMS(slow, 4, .rise_ms = 100, .fall_ms = 200);
ALARMS(lasting, 1);
ALARMS(again, 2);

#define raise(table)                                                                          \
	do {                                                                                  \
		for (u64 i = 0; i < 8; i++) {                                                 \
			if (raised[i])                                                        \
				alarm(table, i, raised[i], "number %d%%: twice=%llu", (int)i, \
				      2 * i);                                                 \
		}                                                                             \
		alarms_end(table);                                                            \
	} while (0)

DETECTOR(quick)
{
	raise(quick);
}

DETECTOR(slow)
{
	raise(slow);
}

DETECTOR(lasting)
{
	if (raised[0])
		alarm_lasting(lasting, 0xffffffff81000000, raised[0] * 1000, ERROR, "nothing else");
	alarms_end(lasting);
}

// The first condition is raised twice, and the run ends early if the second one is not.
DETECTOR(careless)
{
	alarm(again, 0, WARNING, "first");
	alarm(again, 0, CRITICAL, "second");
	if (!raised[1])
		return;
	alarms_end(again);
}

DETECTOR(params)
{
	row("limit=%llu half=%u", limit, (unsigned int)limit / 2);
	if (raised[0] > limit)
		row("more");
}
