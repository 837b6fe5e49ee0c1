// SPDX-License-Identifier: Apache-2.0
#include "mailbox/progress.h"

#include <string.h>

#include "mailbox/layout.h"

struct gs_error *mailbox_read_progress(struct mailbox_reader *reader,
				       struct gs_mailbox_progress *ret)
{
	const struct gs_mailbox_header *header = mailbox_reader_header(reader);
	struct gs_error *err = NULL;

	*ret = (struct gs_mailbox_progress){ .epoch = header->epoch };
	for (uint32_t i = 0; i < GS_MAILBOX_RINGS && !err; i++) {
		struct gs_mailbox_ring ring;

		err = mailbox_read(reader, header->rings[i].offset, &ring, sizeof(ring));
		ret->heads[i] = ring.head;
	}
	for (uint32_t i = 0; i < header->detector_count && !err; i++) {
		struct gs_mailbox_detector row;

		err = mailbox_read_detector(reader, i, &row);
		ret->rows[i].generation = row.generation;
		memcpy(ret->rows[i].records, row.records, sizeof(row.records));
	}
	return err;
}

void mailbox_first_ring(const struct gs_mailbox_progress *from, uint32_t ring,
			struct gs_mailbox_ring *ret)
{
	*ret = (struct gs_mailbox_ring){ .head = from->heads[ring], .first = from->heads[ring] };
}

void mailbox_first_row(const struct gs_mailbox_progress *from, uint32_t index,
		       struct gs_mailbox_detector *ret)
{
	*ret = (struct gs_mailbox_detector){};
	// One that was never used is all zero.
	if (!from->rows[index].generation)
		return;
	ret->generation = from->rows[index].generation;
	memcpy(ret->records, from->rows[index].records, sizeof(ret->records));
	ret->crc = mailbox_crc(ret, sizeof(*ret), &ret->crc);
}
