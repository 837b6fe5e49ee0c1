// SPDX-License-Identifier: Apache-2.0
#include "grass/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/mailbox.h>

#include "grass/control.h"
#include "grass/symbols.h"
#include "util/parse.h"

// Objects in objects.
#define DEPTH_MAX 8

struct json_object *message_parse(const char *line, size_t size)
{
	struct json_tokener *tokener =
		size < MESSAGE_SIZE_MAX ? json_tokener_new_ex(DEPTH_MAX) : NULL;

	if (!tokener)
		return NULL;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);

	struct json_object *object = json_tokener_parse_ex(tokener, line, (int)size);
	bool whole = json_tokener_get_error(tokener) == json_tokener_success &&
		     json_object_is_type(object, json_type_object);

	json_tokener_free(tokener);
	if (whole)
		return object;
	json_object_put(object);
	return NULL;
}

bool message_number(struct json_object *object, const char *name, uint64_t max, uint64_t *ret)
{
	struct json_object *member;

	if (!json_object_object_get_ex(object, name, &member) ||
	    !json_object_is_type(member, json_type_int) || json_object_get_int64(member) < 0)
		return false;
	*ret = json_object_get_uint64(member);
	return *ret <= max;
}

bool message_string(struct json_object *object, const char *name, size_t max, const char **ret)
{
	struct json_object *member;

	if (!json_object_object_get_ex(object, name, &member) ||
	    !json_object_is_type(member, json_type_string))
		return false;
	*ret = json_object_get_string(member);

	size_t length = (size_t)json_object_get_string_len(member);

	return length <= max && strlen(*ret) == length;
}

bool message_object(struct json_object *object, const char *name, struct json_object **ret)
{
	return json_object_object_get_ex(object, name, ret) &&
	       json_object_is_type(*ret, json_type_object);
}

bool message_bytes(struct json_object *object, const char *name, void *ret, size_t size)
{
	const char *text;

	if (!message_string(object, name, 2 * size, &text) || strlen(text) != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		const char digits[] = { text[2 * i], text[2 * i + 1], '\0' }, *end = digits;
		uint64_t byte;

		if (!gs_parse_hex(&end, &byte) || *end)
			return false;
		((uint8_t *)ret)[i] = (uint8_t)byte;
	}
	return true;
}

void message_add_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

void message_add_string(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

void message_add_bytes(struct json_object *object, const char *name, const void *bytes, size_t size)
{
	char *text = malloc(2 * size + 1);

	if (!text)
		return;
	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)bytes)[i]);
	message_add_string(object, name, text);
	free(text);
}

char *message_line(struct json_object *object, size_t *size_ret)
{
	char *line;
	int size = asprintf(&line, "%s\n",
			    json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));

	if (size < 0)
		return NULL;
	*size_ret = (size_t)size;
	return line;
}

static struct gs_error *lacks(const char *what)
{
	return gs_error_create(GS_ERROR_OTHER, "the other end's message has no proper \"%s\"",
			       what);
}

static struct gs_error *check_version(struct json_object *object)
{
	uint64_t version;

	if (!message_number(object, "grass", UINT32_MAX, &version))
		return lacks("grass");
	if (version != GRASS_PROTOCOL)
		return gs_error_create(GS_ERROR_OTHER,
				       "the other end speaks version %" PRIu64
				       " of the protocol, this one %d",
				       version, GRASS_PROTOCOL);
	return NULL;
}

struct gs_error *message_read_open(struct json_object *object, struct message_open *ret)
{
	struct gs_error *err = check_version(object);

	if (err)
		return err;
	if (!message_string(object, "fabric", 16, &ret->fabric))
		return lacks("fabric");
	if (!message_bytes(object, "nonce", &ret->nonce, sizeof(ret->nonce)))
		return lacks("nonce");
	if (!message_object(object, "offer", &ret->offer))
		return lacks("offer");
	return NULL;
}

struct gs_error *message_read_opened(struct json_object *object, struct message_opened *ret)
{
	const char *refused;
	uint64_t monitor;

	if (message_string(object, "error", 1024, &refused))
		return gs_error_create(GS_ERROR_OTHER, "refused: %s", refused);

	struct gs_error *err = check_version(object);

	if (err)
		return err;
	if (!message_number(object, "monitor", GS_MAILBOX_MONITORS - 1, &monitor))
		return lacks("monitor");
	ret->monitor = (uint32_t)monitor;
	if (!message_bytes(object, "nonce", &ret->nonce, sizeof(ret->nonce)))
		return lacks("nonce");
	if (!message_bytes(object, "instance", ret->instance, sizeof(ret->instance)))
		return lacks("instance");
	if (!message_number(object, "size", UINT64_C(1) << 40, &ret->mailbox_size))
		return lacks("size");
	if (!message_object(object, "reply", &ret->reply))
		return lacks("reply");
	return NULL;
}

struct gs_error *message_read_symbols(struct json_object *object, size_t *size_ret,
				      size_t *text_size_ret)
{
	uint64_t size, text_size;

	if (!message_number(object, "symbols", SYMBOLS_SIZE_MAX, &size))
		return lacks("symbols");
	if (!message_number(object, "text", SYMBOLS_SIZE_MAX, &text_size))
		return lacks("text");
	*size_ret = size;
	*text_size_ret = text_size;
	return NULL;
}
