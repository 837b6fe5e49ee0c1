/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The configuration of `gpusentinel serve`: gpusentinel.conf(5).
 *
 * Lines of "key = value", what the options of the command line say; behind a line "[DETECTOR]" what is for that detector
 * alone: its period, and its parameters.
 */
#ifndef GS_CLI_CONFIG_H
#define GS_CLI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

/** What a key's value is. */
enum config_kind {
	CONFIG_TEXT,
	/** yes or no; @ref config_entry.number is 1 or 0. */
	CONFIG_BOOLEAN,
	/** Decimal or 0x... */
	CONFIG_NUMBER,
	/** Milliseconds; @ref config_entry.number is in microseconds. */
	CONFIG_PERIOD,
	/** As CONFIG_TEXT, and may be given more than once. */
	CONFIG_LIST,
};

struct config_entry {
	/** Name of the detector; empty: of the service. */
	char *section;
	char *name, *value;
	uint64_t number;
	unsigned int line;
};

/** Zero-initialise; end it with config_deinit(). */
struct config {
	char *path;
	/** In the order of the file. */
	struct config_entry *list;
	size_t count, capacity;
};

/** Read @p size bytes of @p text; @p path is for messages: "PATH:LINE: what is wrong". Whatever it returns, end @p config. */
struct gs_error *config_parse(struct config *config, const char *text, size_t size,
			      const char *path);
/** Read a file; otherwise as config_parse(). */
struct gs_error *config_load(struct config *config, const char *path);
void config_deinit(struct config *config);

/**
 * The next entry of that name, behind @p after (NULL: the first one); NULL: there is none. A @p config of NULL has none.
 */
const struct config_entry *config_next(const struct config *config, const char *section,
				       const char *name, const struct config_entry *after);
static inline const struct config_entry *config_find(const struct config *config,
						     const char *section, const char *name)
{
	return config_next(config, section, name, NULL);
}

/** Both say the same of @p name, which is of the service. */
bool config_same(const struct config *a, const struct config *b, const char *name);

/** Names of the keys of the service, by number; NULL: there are no more. @p restart_ret: wants a restart. */
const char *config_key(size_t index, bool *restart_ret);

/** GS_ERROR_USAGE "PATH:LINE: NAME: ..." */
struct gs_error *config_bad(const struct config *config, const struct config_entry *entry,
			    const char *format, ...) __attribute__((format(printf, 3, 4)));
/** Put "PATH:LINE" before an error; NULL stays NULL. */
struct gs_error *config_blame(const struct config *config, const struct config_entry *entry,
			      struct gs_error *err);

/** Milliseconds, which may have a fraction, as microseconds. */
bool config_parse_period(const char *text, uint32_t *ret);
/** A decimal number, or 0x... */
bool config_parse_number(const char *text, uint64_t *ret);

#endif
