// SPDX-License-Identifier: Apache-2.0
#include "cli/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

enum {
	FILE_MAX = 1 << 20,
	ENTRIES_MAX = 4096,
	// inih cuts longer ones without a word.
	SECTION_MAX = 48,
};

static const struct key {
	const char *name;
	enum config_kind kind;
	// Changes only when the service is started again.
	bool restart;
} keys[] = {
	{ "target", CONFIG_TEXT, true },     { "layout", CONFIG_TEXT, true },
	{ "system-map", CONFIG_TEXT, true }, { "engine", CONFIG_TEXT, true },
	{ "detectors", CONFIG_LIST, false }, { "detector-directory", CONFIG_TEXT, false },
	{ "budget", CONFIG_NUMBER, false },  { "period", CONFIG_PERIOD, false },
	{ "rules", CONFIG_TEXT, false },     { "rows", CONFIG_BOOLEAN, true },
	{ "metrics", CONFIG_BOOLEAN, true }, { "json", CONFIG_BOOLEAN, true },
	{ "quiet", CONFIG_BOOLEAN, true },   { "keys", CONFIG_TEXT, true },
	{ "name", CONFIG_TEXT, true },	     { "listen", CONFIG_LIST, true },
	{ "fabric", CONFIG_TEXT, true },     { "device", CONFIG_TEXT, true },
	{ "state", CONFIG_TEXT, true },
};

// The file's text, handed out line by line, and what has become of it.
struct parser {
	struct config *config;
	const char *text;
	size_t left;
	unsigned int line;
	// The first thing that is wrong, in line @ref wrong.
	struct gs_error *err;
	unsigned int wrong;
};

const char *config_key(size_t index, bool *restart_ret)
{
	if (index >= ARRAY_SIZE(keys))
		return NULL;
	*restart_ret = keys[index].restart;
	return keys[index].name;
}

bool config_parse_period(const char *text, uint32_t *ret)
{
	char *end;
	double us = strtod(text, &end) * 1000;

	if (end == text || *end || !(us >= 1 && us <= UINT32_MAX))
		return false;
	// The nearest: decimal fractions are no binary ones.
	*ret = (uint32_t)(us + 0.5 < UINT32_MAX ? us + 0.5 : us);
	return true;
}

bool config_parse_number(const char *text, uint64_t *ret)
{
	bool hex = gs_parse_skip(&text, "0x");

	return (hex ? gs_parse_hex(&text, ret) : gs_parse_decimal(&text, ret)) && !*text;
}

__attribute__((format(printf, 2, 3))) static bool wrong(struct parser *parser, const char *format,
							...)
{
	va_list ap;

	if (parser->err)
		return false;
	parser->wrong = parser->line;
	va_start(ap, format);
	parser->err = gs_error_prefix(gs_error_vcreate(GS_ERROR_USAGE, format, ap), "%s:%u",
				      parser->config->path, parser->line);
	va_end(ap);
	return false;
}

// As fgets(). Lines that it would have to cut, and bytes that no line may hold, end the file.
static char *read_line(char *buf, int size, void *arg)
{
	struct parser *parser = arg;
	const char *end = memchr(parser->text, '\n', parser->left);
	size_t length = end ? (size_t)(end - parser->text) + 1 : parser->left;

	if (!parser->left || parser->err)
		return NULL;
	parser->line++;
	if (length >= (size_t)size) {
		wrong(parser, "a line has up to %d bytes", size - 2);
		return NULL;
	}
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)parser->text[i];

		if (c < ' ' && !memchr("\t\r\n", c, 3)) {
			wrong(parser, "byte 0x%02x is no text", c);
			return NULL;
		}
	}
	memcpy(buf, parser->text, length);
	buf[length] = '\0';
	parser->text += length;
	parser->left -= length;
	return buf;
}

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	}
	return NULL;
}

static bool parse_value(struct parser *parser, enum config_kind kind, const char *name,
			const char *value, uint64_t *ret)
{
	uint32_t us;

	*ret = 0;
	if (!*value)
		return wrong(parser, "%s: nothing behind '='", name);
	switch (kind) {
	case CONFIG_TEXT:
	case CONFIG_LIST:
		return true;
	case CONFIG_BOOLEAN:
		*ret = !strcmp(value, "yes");
		return *ret || !strcmp(value, "no") ||
		       wrong(parser, "%s is yes or no, not '%s'", name, value);
	case CONFIG_NUMBER:
		return config_parse_number(value, ret) ||
		       wrong(parser, "%s is a number up to 2^64-1, decimal or 0x..., not '%s'",
			     name, value);
	case CONFIG_PERIOD:
		if (!config_parse_period(value, &us))
			return wrong(parser,
				     "%s is in milliseconds, from 0.001 to %u, e.g. 100 or 0.5, "
				     "not '%s'",
				     name, UINT32_MAX / 1000, value);
		*ret = us;
		return true;
	}
	return false;
}

static void free_entry(struct config_entry *entry)
{
	free(entry->section);
	free(entry->name);
	free(entry->value);
}

// An ini_handler: zero says that the line is wrong.
static int take(void *arg, const char *section, const char *name, const char *value)
{
	struct parser *parser = arg;
	struct config *config = parser->config;
	struct config_entry entry = { .line = parser->line };
	enum config_kind kind = CONFIG_NUMBER;

	if (strlen(section) >= SECTION_MAX)
		return wrong(parser, "names of detectors have less than %d bytes", SECTION_MAX);
	if (!*section) {
		const struct key *key = find_key(name);

		if (!key)
			return wrong(parser, "'%s' is no key; see gpusentinel.conf(5)", name);
		kind = key->kind;
	} else if (!*name) {
		return wrong(parser, "no name before '='");
	} else if (!strcmp(name, "period")) {
		kind = CONFIG_PERIOD;
	}

	const struct config_entry *before = config_find(config, section, name);

	if (before && kind != CONFIG_LIST)
		return wrong(parser, "%s is in line %u already", name, before->line);
	if (!parse_value(parser, kind, name, value, &entry.number))
		return false;
	if (config->count >= ENTRIES_MAX)
		return wrong(parser, "more than %d values", ENTRIES_MAX);
	entry.section = strdup(section);
	entry.name = strdup(name);
	entry.value = strdup(value);
	if (entry.section && entry.name && entry.value &&
	    gs_array_push(config->list, config->count, config->capacity, entry))
		return true;
	free_entry(&entry);
	return wrong(parser, "no memory");
}

struct gs_error *config_parse(struct config *config, const char *text, size_t size,
			      const char *path)
{
	struct parser parser = { .config = config, .text = text, .left = size };

	*config = (struct config){ .path = strdup(path) };
	if (!config->path)
		return &gs_enomem;
	if (size > FILE_MAX)
		return gs_error_create(GS_ERROR_USAGE, "%s: larger than 1 MiB", path);

	int line = ini_parse_stream(read_line, &parser, take, &parser);

	// It goes on behind a line that it does not understand.
	if (line > 0 && (!parser.err || (unsigned int)line < parser.wrong)) {
		gs_error_destroy(parser.err);
		return gs_error_create(
			GS_ERROR_USAGE,
			"%s:%d: neither 'key = value' nor '[DETECTOR]' nor a comment", path, line);
	}
	return line < 0 && !parser.err ? &gs_enomem : parser.err;
}

struct gs_error *config_load(struct config *config, const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *text = malloc(FILE_MAX + 1);

	*config = (struct config){};
	if (!text)
		return &gs_enomem;
	if (!file)
		return gs_error_errno(GS_ERROR_USAGE, errno, "%s", path);

	size_t size = fread(text, 1, FILE_MAX + 1, file);

	if (ferror(file))
		return gs_error_errno(GS_ERROR_USAGE, errno, "%s", path);
	return config_parse(config, text, size, path);
}

void config_deinit(struct config *config)
{
	for (size_t i = 0; i < config->count; i++)
		free_entry(&config->list[i]);
	free(config->list);
	free(config->path);
	*config = (struct config){};
}

const struct config_entry *config_next(const struct config *config, const char *section,
				       const char *name, const struct config_entry *after)
{
	if (!config)
		return NULL;
	for (size_t i = after ? (size_t)(after - config->list) + 1 : 0; i < config->count; i++) {
		const struct config_entry *entry = &config->list[i];

		if (!strcmp(entry->section, section) && !strcmp(entry->name, name))
			return entry;
	}
	return NULL;
}

bool config_same(const struct config *a, const struct config *b, const char *name)
{
	const struct config_entry *left = NULL, *right = NULL;

	do {
		left = config_next(a, "", name, left);
		right = config_next(b, "", name, right);
		if (!left != !right || (left && strcmp(left->value, right->value) != 0))
			return false;
	} while (left);
	return true;
}

struct gs_error *config_bad(const struct config *config, const struct config_entry *entry,
			    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	struct gs_error *err = gs_error_vcreate(GS_ERROR_USAGE, format, ap);
	va_end(ap);
	return gs_error_prefix(err, "%s:%u: %s%s%s", config->path, entry->line, entry->section,
			       *entry->section ? "." : "", entry->name);
}

struct gs_error *config_blame(const struct config *config, const struct config_entry *entry,
			      struct gs_error *err)
{
	return gs_error_prefix(err, "%s:%u", config->path, entry->line);
}
