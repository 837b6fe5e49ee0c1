/* SPDX-License-Identifier: Apache-2.0 */
// Where the parts of a mailbox lie (gpusentinel/mailbox.h): laid out by engines, checked by readers.
#ifndef GS_MAILBOX_LAYOUT_H
#define GS_MAILBOX_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include <gpusentinel/control.h>
#include <gpusentinel/crc32c.h>
#include <gpusentinel/mailbox.h>

// Slots of each ring if nobody says otherwise: 256 KiB of findings, 16 MiB of rows and metrics.
enum { MAILBOX_FINDING_SLOTS = 4096, MAILBOX_DATA_SLOTS = 262144 };

// Fill in what describes the layout: sizes and offsets of all areas, and a random instance. The caller
// adds what it knows, then seals the header.
void mailbox_layout(struct gs_mailbox_header *header, enum gs_mailbox_engine engine,
		    const uint64_t slots[GS_MAILBOX_RINGS]);
void mailbox_seal_header(struct gs_mailbox_header *header);

// True if everything in the header can be relied on.
bool mailbox_check_header(const struct gs_mailbox_header *header);

// Slots of the ring in this area.
uint64_t mailbox_ring_slots(const struct gs_mailbox_area *area);

// A detector's row, as it is before its first run, and its way into a mailbox at @address.
void mailbox_row(struct gs_mailbox_detector *row, const char *name, uint32_t period_us);
void mailbox_writer(struct gs_mailbox_writer *writer, const struct gs_mailbox_header *header,
		    uint64_t address, uint64_t crc32c, uint32_t detector);

// The CRC of a structure, whose own CRC at @crc counts as 0.
uint32_t mailbox_crc(const void *structure, size_t size, const uint32_t *crc);

const struct gs_crc32c *mailbox_crc32c(void);

#endif
