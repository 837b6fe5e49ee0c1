/* SPDX-License-Identifier: Apache-2.0 */
// Records as detectors wrote them, turned into what gpusentinel/engine.h delivers.
#ifndef GS_ENGINE_DECODE_H
#define GS_ENGINE_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/fat.h"
#include "engine/format.h"

// What the records of one run have in common.
struct decode_run {
	const struct gs_fat *fat;
	// Copied into the records.
	struct gs_detector *detector;
	const char *detector_name;
	// Added to a record's time to give nanoseconds since the epoch.
	uint64_t wall_offset_ns;
	format_symbolize_fn *symbolize;
	void *symbolize_arg;
	gs_record_fn *fn;
	void *arg;
	// Bit N: records of kind N are delivered; others are only counted.
	uint32_t kinds;
};

// Deliver the records in @size bytes from @buffer on. Everything in them is checked: a detector
// wrote them. One that is damaged is left out; where its size is wrong, so is all that follows, as nobody knows
// where that begins. @return GS_ERROR_DETECTOR about the first damaged one. @count_ret: records delivered;
// @damaged_ret: those left out, at least.
struct gs_error *decode_records(const struct decode_run *run, const uint8_t *buffer, size_t size,
				uint64_t *count_ret, uint64_t *damaged_ret);

#endif
