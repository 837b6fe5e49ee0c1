// SPDX-License-Identifier: Apache-2.0
// Requests and answers as bytes.
#include <string.h>

#include "mailbox/client.h"
#include "mailbox/layout.h"
#include "util/range.h"

uint64_t mailbox_request_offset(const struct gs_mailbox_header *header, uint32_t monitor,
				uint64_t sequence)
{
	return header->requests.offset +
	       monitor *
		       gs_monitor_share(&header->requests, header->monitor_count, GS_MAILBOX_SLOT) +
	       sequence % GS_REQUEST_DEPTH * GS_REQUEST_SIZE;
}

static uint64_t results_share(const struct gs_mailbox_header *header)
{
	return gs_monitor_share(&header->results, header->monitor_count, GS_MAILBOX_SLOT);
}

uint64_t mailbox_answer_offset(const struct gs_mailbox_header *header, uint32_t monitor,
			       uint64_t sequence)
{
	uint64_t share = results_share(header);

	return header->results.offset + monitor * share + sizeof(struct gs_monitor_state) +
	       sequence % GS_REQUEST_DEPTH * gs_answer_stride(share);
}

uint64_t mailbox_window_size(const struct gs_mailbox_header *header)
{
	return gs_monitor_share(&header->bulk, header->monitor_count, GS_WINDOW_ALIGN);
}

static uint32_t crc_of(uint32_t start, const void *message, uint32_t size)
{
	const struct gs_crc32c *table = mailbox_crc32c();
	uint32_t crc = start;

	for (uint32_t i = 0; i < size / 8; i++) {
		uint64_t word;

		memcpy(&word, (const char *)message + i * 8, sizeof(word));
		crc = gs_crc32c_word(table, crc, i == 1 ? (uint32_t)word : word);
	}
	return gs_crc32c_finish(crc);
}

void mailbox_seal_request(const struct gs_mailbox_header *header, struct gs_request *request,
			  uint32_t size, uint32_t monitor, uint64_t sequence)
{
	request->sequence = sequence;
	request->size = size;
	request->monitor = monitor;
	request->crc = crc_of(gs_mailbox_seed(header), request, size);
}

bool mailbox_check_answer(const struct gs_mailbox_header *header, const struct gs_answer *answer,
			  size_t size, uint32_t monitor, uint64_t sequence)
{
	return size >= sizeof(*answer) && answer->sequence == sequence &&
	       answer->size >= sizeof(*answer) && answer->size <= size && answer->size % 8 == 0 &&
	       answer->monitor == monitor &&
	       answer->crc == crc_of(~gs_mailbox_seed(header), answer, answer->size);
}

bool mailbox_check_read(const struct gs_mailbox_header *header,
			const struct gs_read_request *request, const struct gs_read_answer *answer)
{
	uint32_t monitor = request->request.monitor;
	uint64_t begin = request->address & ~(uint64_t)(GS_READ_UNIT - 1);
	uint64_t window = mailbox_window_size(header);
	uint64_t length = answer->length;
	// A whole address space is more than any window.
	uint64_t wanted = request->length < UINT64_MAX / 2 ? request->length : UINT64_MAX / 2;

	if (answer->answer.kind != GS_REQUEST_READ || answer->answer.size < sizeof(*answer) ||
	    answer->address != begin || !length || length % GS_READ_UNIT ||
	    answer->data % GS_READ_UNIT ||
	    length > wanted + (request->address - begin) + GS_READ_UNIT - 1)
		return false;

	uint64_t pages = mailbox_pages(begin, length);

	if (answer->page_count != pages ||
	    answer->answer.size != sizeof(*answer) + pages * sizeof(answer->pages[0]))
		return false;
	if (request->window != GS_READ_INLINE)
		return answer->data == header->bulk.offset + monitor * window + request->window &&
		       range_inside(request->window, length, 0, window);
	return range_inside(answer->data, length,
			    mailbox_answer_offset(header, monitor, request->request.sequence) +
				    answer->answer.size,
			    gs_answer_stride(results_share(header)) - answer->answer.size);
}
