// SPDX-License-Identifier: Apache-2.0
// The control port: a line of either side, which each side takes for each message; what passes holds what it promises.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/mailbox.h>

#include "grass/message.h"
#include "grass/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void try_open(struct json_object *object)
{
	struct message_open open;
	struct gs_error *err = message_read_open(object, &open);

	if (!err) {
		must(strlen(open.fabric) <= 16);
		must(json_object_is_type(open.offer, json_type_object));
	}
	gs_error_destroy(err);
}

static void try_opened(struct json_object *object)
{
	struct message_opened opened;
	struct gs_error *err = message_read_opened(object, &opened);

	if (!err) {
		must(opened.monitor < GS_MAILBOX_MONITORS);
		must(opened.mailbox_size <= UINT64_C(1) << 40);
		must(json_object_is_type(opened.reply, json_type_object));
	}
	gs_error_destroy(err);
}

static void try_symbols(struct json_object *object)
{
	size_t size, text_size;
	struct gs_error *err = message_read_symbols(object, &size, &text_size);

	must(err || (size <= SYMBOLS_SIZE_MAX && text_size <= SYMBOLS_SIZE_MAX));
	gs_error_destroy(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	// Exactly as long as the line, so that a step beyond it is seen.
	char *line = malloc(size ? size : 1);
	_cleanup_json_ struct json_object *object = NULL;
	const char *what;

	must(line);
	if (size)
		memcpy(line, data, size);
	object = message_parse(line, size);
	free(line);
	if (!object)
		return 0;
	must(json_object_is_type(object, json_type_object));
	must(!message_string(object, "do", 16, &what) || strlen(what) <= 16);
	try_open(object);
	try_opened(object);
	try_symbols(object);

	// What one side writes the other one reads.
	size_t length;
	char *again = message_line(object, &length);

	must(again && length == strlen(again) && again[length - 1] == '\n');
	free(again);
	return 0;
}
