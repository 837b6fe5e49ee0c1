/* SPDX-License-Identifier: Apache-2.0 */
// A monitor of a running engine, which gets at its mailbox by the exported memory alone.
#ifndef TESTS_UNIT_MONITOR_H
#define TESTS_UNIT_MONITOR_H

#include <stdlib.h>
#include <string.h>

#include <gpusentinel/engine.h>

#include "mailbox/client.h"

static inline struct gs_error *monitor_read(void *arg, uint64_t offset, void *buf, size_t size)
{
	memcpy(buf, (const char *)arg + offset, size);
	return NULL;
}

static inline struct gs_error *monitor_write(void *arg, uint64_t offset, const void *buf,
					     size_t size)
{
	memcpy((char *)arg + offset, buf, size);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return NULL;
}

// Give the parameter called @name of the detector in row @index another value; @return what it was before.
static inline uint64_t monitor_set(struct gs_engine *engine, uint32_t index, const char *name,
				   uint64_t value)
{
	struct gs_mailbox_export export;
	struct gs_mailbox_formats *formats;
	struct gs_mailbox_detector row;
	struct mailbox_reader *reader;
	struct mailbox_client *client;
	uint64_t before, now;
	uint32_t param = 0;

	assert_null(gs_engine_export(engine, &export));

	// A GPU that is not one has its memory here, too.
	void *memory = export.memory ? export.memory : (void *)(uintptr_t)export.gpu_address;

	assert_null(mailbox_reader_create(monitor_read, memory, &reader));
	assert_null(mailbox_client_create(reader, monitor_write, memory, 1, &client));
	assert_null(mailbox_read_detector(reader, index, &row));
	assert_null(mailbox_read_formats(reader, index, &row, &formats));
	assert_non_null(formats);
	for (uint32_t i = 0; i < formats->count; i++) {
		const char *text = (const char *)formats + formats->entries[i].offset;

		if (formats->entries[i].kind != GS_FORMAT_PARAM)
			continue;
		if (!strncmp(text, name, strlen(name)) && text[strlen(name)] == ':')
			break;
		param++;
	}
	assert_null(mailbox_client_param(client, index, row.generation, param, true, value, &before,
					 &now));
	assert_int_equal(now, value);
	free(formats);
	mailbox_client_destroy(client);
	mailbox_reader_destroy(reader);
	return before;
}

#endif
