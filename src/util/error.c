// SPDX-License-Identifier: Apache-2.0
#include <gpusentinel/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char enomem_message[] = "out of memory";

struct gs_error gs_enomem = {
	.code = GS_ERROR_OTHER,
	.message = enomem_message,
};

// The message may carry names that come from the target (a guest's file name, a QMP answer): one line
// and no terminal control sequences, whatever they hold.
static void make_one_line(char *message)
{
	for (unsigned char *p = (unsigned char *)message; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = *p == '\n' || *p == '\r' || *p == '\t' ? ' ' : '?';
	}
}

// Takes message.
static struct gs_error *error_new(enum gs_error_code code, char *message)
{
	if (!message)
		return &gs_enomem;

	struct gs_error *err = calloc(1, sizeof(*err));

	if (!err) {
		free(message);
		return &gs_enomem;
	}
	make_one_line(message);
	err->code = code;
	err->message = message;
	return err;
}

static char *format_message(const char *format, va_list ap)
{
	char *message;

	return vasprintf(&message, format, ap) < 0 ? NULL : message;
}

struct gs_error *gs_error_vcreate(enum gs_error_code code, const char *format, va_list ap)
{
	return error_new(code, format_message(format, ap));
}

struct gs_error *gs_error_create(enum gs_error_code code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	struct gs_error *err = gs_error_vcreate(code, format, ap);
	va_end(ap);
	return err;
}

struct gs_error *gs_error_address(enum gs_error_code code, uint64_t address, const char *format,
				  ...)
{
	va_list ap;

	va_start(ap, format);
	char *message = format_message(format, ap);
	va_end(ap);

	struct gs_error *err = error_new(code, message);

	if (err != &gs_enomem) {
		err->has_address = true;
		err->address = address;
	}
	return err;
}

struct gs_error *gs_error_errno(enum gs_error_code code, int errnum, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	char *message = format_message(format, ap);
	va_end(ap);
	if (!message)
		return &gs_enomem;

	char buf[128];
	char *full;

	if (asprintf(&full, "%s: %s", message, strerror_r(errnum, buf, sizeof(buf))) < 0)
		full = NULL;
	free(message);
	return error_new(code, full);
}

struct gs_error *gs_error_prefix(struct gs_error *err, const char *format, ...)
{
	if (!err || err == &gs_enomem)
		return err;

	va_list ap;

	va_start(ap, format);
	char *prefix = format_message(format, ap);
	va_end(ap);

	// Without memory for the context the message alone is better than none.
	if (!prefix)
		return err;

	char *full;

	if (asprintf(&full, "%s: %s", prefix, err->message) >= 0) {
		make_one_line(full);
		free(err->message);
		err->message = full;
	}
	free(prefix);
	return err;
}

void gs_error_destroy(struct gs_error *err)
{
	if (!err || err == &gs_enomem)
		return;
	free(err->message);
	free(err);
}
