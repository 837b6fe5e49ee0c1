/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Ranges of bytes, whose numbers nobody has checked.
 */
#ifndef GS_UTIL_RANGE_H
#define GS_UTIL_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/** Whether [@p offset, @p offset + @p size) lies within [@p begin, @p begin + @p room); no sum of it needs to fit 64 bits. */
static inline bool range_inside(uint64_t offset, uint64_t size, uint64_t begin, uint64_t room)
{
	return offset >= begin && offset - begin <= room && size <= room - (offset - begin);
}

#endif
