/* SPDX-License-Identifier: Apache-2.0 */
// Where the parts of a mailbox lie (gpusentinel/mailbox.h): laid out by engines, checked by readers.
#ifndef GS_MAILBOX_LAYOUT_H
#define GS_MAILBOX_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include <gpusentinel/control.h>
#include <gpusentinel/crc32c.h>
#include <gpusentinel/mailbox.h>
#include <gpusentinel/request.h>

// Slots of each ring if nobody says otherwise: 256 KiB of findings, 16 MiB of rows and metrics.
enum { MAILBOX_FINDING_SLOTS = 4096, MAILBOX_DATA_SLOTS = 262144 };

// Fill in what describes the layout: sizes and offsets of all areas, and a random instance. The caller
// adds what it knows, then seals the header.
void mailbox_layout(struct gs_mailbox_header *header, enum gs_mailbox_engine engine,
		    const uint64_t slots[GS_MAILBOX_RINGS]);
void mailbox_seal_header(struct gs_mailbox_header *header);

// True if everything in the header can be relied on.
bool mailbox_check_header(const struct gs_mailbox_header *header);

uint64_t mailbox_metric_count(const struct gs_mailbox_header *header);

// Slots of the ring in this area.
uint64_t mailbox_ring_slots(const struct gs_mailbox_area *area);

// A detector's row, as it is before its first run: made of what the row held before, whose sequences go on.
// @formats: as mailbox_formats() made them; NULL: it has none, as a row without detector.
void mailbox_row(struct gs_mailbox_detector *row, const char *name, uint32_t period_us,
		 uint32_t threads, uint32_t blocks, const struct gs_mailbox_formats *formats);

// A detector's way into a mailbox at @address.
void mailbox_writer(struct gs_mailbox_writer *writer, const struct gs_mailbox_header *header,
		    uint64_t address, uint64_t crc32c, uint32_t detector, uint32_t generation);

// Where the supervisor of a mailbox at @address finds everything but the target's memory and the detectors.
void mailbox_supervisor(struct gs_supervisor *supervisor, const struct gs_mailbox_header *header,
			uint64_t address, uint64_t crc32c);

// Where a row's formats lie, and how many bytes there are for them.
uint64_t mailbox_formats_offset(const struct gs_mailbox_header *header, uint32_t detector);
uint64_t mailbox_formats_room(const struct gs_mailbox_header *header);

// Put format strings into @room bytes at @to; those that do not fit are missing. Each is one of @count: @format(@arg,
// index, ...) says what it is.
struct mailbox_format {
	const char *text;
	uint16_t kind, nargs;
};
typedef struct mailbox_format mailbox_format_fn(const void *arg, uint32_t index);
void mailbox_formats(struct gs_mailbox_formats *to, uint64_t room, uint32_t count,
		     mailbox_format_fn *format, const void *arg);

// The CRC of a structure, whose own CRC at @crc counts as 0.
uint32_t mailbox_crc(const void *structure, size_t size, const uint32_t *crc);

const struct gs_crc32c *mailbox_crc32c(void);

#endif
