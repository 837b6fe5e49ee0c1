/* SPDX-License-Identifier: Apache-2.0 */
// Clocks of the watched kernel between the moments in which it updates them.
#ifndef DETECTORS_ESTIMATE_H
#define DETECTORS_ESTIMATE_H

#include <gpusentinel/detector.h>

// A clock of the kernel, in nanoseconds, and the engine's time when it was first seen to be so late.
struct estimate {
	u64 seen, at;
};

// What the clock would say now. While all CPUs sleep nobody updates it: it goes on by the clock of the engine. In the
// first run it is what memory says, so that a core file is read as it was.
static inline u64 estimate_clock(struct estimate *e, u64 clock)
{
	u64 now = now_ns();

	if (clock != e->seen) {
		e->seen = clock;
		e->at = now;
	}
	return clock + (now - e->at);
}

#endif
