/* SPDX-License-Identifier: Apache-2.0 */
// What is said on the control port: JSON objects, a line each. All of it is hostile.
#ifndef GS_GRASS_MESSAGE_H
#define GS_GRASS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include <gpusentinel/error.h>

// Bytes of a line at most, with its end.
#define MESSAGE_SIZE_MAX 65536

static inline void message_cleanup(struct json_object **object)
{
	json_object_put(*object);
}

#define _cleanup_json_ __attribute__((cleanup(message_cleanup)))

// An object out of a line of @size bytes without its end; NULL if it is none.
struct json_object *message_parse(const char *line, size_t size);

// Members. False if one is missing, of another type or out of range. Strings end with the object.
bool message_number(struct json_object *object, const char *name, uint64_t max, uint64_t *ret);
bool message_string(struct json_object *object, const char *name, size_t max, const char **ret);
bool message_object(struct json_object *object, const char *name, struct json_object **ret);
// Exactly @size bytes as hexadecimal digits.
bool message_bytes(struct json_object *object, const char *name, void *ret, size_t size);

// Add members; short memory leaves one out, and the other end will miss it.
void message_add_number(struct json_object *object, const char *name, uint64_t value);
void message_add_string(struct json_object *object, const char *name, const char *value);
void message_add_bytes(struct json_object *object, const char *name, const void *bytes,
		       size_t size);

// The line of an object, with its end; the caller ends it with free(). NULL: no memory.
char *message_line(struct json_object *object, size_t *size_ret);

// What a monitor wants.
struct message_open {
	const char *fabric;
	uint64_t nonce;
	struct json_object *offer;
};

// What it gets.
struct message_opened {
	uint32_t monitor;
	uint64_t nonce;
	uint64_t instance[2];
	uint64_t mailbox_size;
	struct json_object *reply;
};

// Check a whole message: @return an error that names what is wrong.
struct gs_error *message_read_open(struct json_object *object, struct message_open *ret);
struct gs_error *message_read_opened(struct json_object *object, struct message_opened *ret);
// Of symbols that follow: compressed and as text.
struct gs_error *message_read_symbols(struct json_object *object, size_t *size_ret,
				      size_t *text_size_ret);

#endif
