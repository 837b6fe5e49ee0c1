/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Time in nanoseconds.
 */
#ifndef GS_UTIL_CLOCK_H
#define GS_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

/** What @p clock shows. */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/** The same as system calls and pthreads take it. */
static inline struct timespec clock_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000),
	};
}

#endif
