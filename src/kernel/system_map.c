// SPDX-License-Identifier: Apache-2.0
// System.map in place of kallsyms: symbols_init_system_map() of symbols.h.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "symbols.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

enum {
	// Real ones have 5 to 10 MiB.
	MAX_FILE = 256 << 20,
};

static struct gs_error *read_file(const char *path, char **ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return gs_error_errno(GS_ERROR_KERNEL, errno, "System.map %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > MAX_FILE)
		return gs_error_create(GS_ERROR_KERNEL, "System.map %s: not a file of symbols",
				       path);

	_cleanup_free_ char *text = malloc(st.st_size + 1);
	off_t done = 0;

	if (!text)
		return &gs_enomem;
	while (done < st.st_size) {
		ssize_t got = read(fd, text + done, st.st_size - done);

		if (got < 0)
			return gs_error_errno(GS_ERROR_KERNEL, errno, "System.map %s", path);
		if (!got)
			break;
		done += got;
	}
	text[done] = '\0';
	*ret = no_cleanup_ptr(text);
	return NULL;
}

// "ffffffff81000000 T _text"
static bool parse_line(char *text, char *line, struct system_map_entry *entry)
{
	const char *at = line;

	if (!gs_parse_hex(&at, &entry->address) || *at++ != ' ' || !isalpha((unsigned char)*at))
		return false;
	entry->type = *at++;
	if (*at++ != ' ' || !*at)
		return false;
	entry->name = at - text;
	for (char *c = text + entry->name; *c; c++)
		if (!isgraph((unsigned char)*c))
			*c = '?';
	return true;
}

static struct gs_error *parse(struct symbols *symbols, const char *path)
{
	size_t capacity = 0, count = 0;

	for (char *line = symbols->text; line;) {
		char *next = strchr(line, '\n');
		struct system_map_entry entry;

		if (next)
			*next++ = '\0';
		if (parse_line(symbols->text, line, &entry)) {
			if (count == KALLSYMS_MAX)
				return gs_error_create(GS_ERROR_KERNEL,
						       "System.map %s: too many symbols", path);
			if (!gs_array_push(symbols->entries, count, capacity, entry))
				return &gs_enomem;
		}
		line = next;
	}
	symbols->count = count;
	if (!count)
		return gs_error_create(GS_ERROR_KERNEL, "System.map %s has no symbols", path);
	return NULL;
}

static struct gs_error *relocate(struct symbols *symbols, const char *path, uint64_t stext)
{
	struct gs_symbol_query queries[] = { { .name = "_stext" }, { .name = "__per_cpu_end" } };
	struct gs_error *err = symbols_find(symbols, queries, ARRAY_SIZE(queries));

	if (err)
		return err;
	if (!queries[0].found)
		return gs_error_create(
			GS_ERROR_KERNEL,
			"System.map %s has no _stext: a stub? Debian's real one is in the -dbg package",
			path);

	uint64_t slide = stext - queries[0].address;

	if (slide & (GS_PAGE_SIZE - 1))
		return gs_error_create(
			GS_ERROR_KERNEL,
			"System.map %s is of another kernel: _stext differs by 0x%llx", path,
			(unsigned long long)slide);
	// Absolute and 0-based per-CPU symbols do not move.
	for (uint32_t i = 0; i < symbols->count; i++)
		if (symbols->entries[i].address >= KERNEL_MAP_START)
			symbols->entries[i].address += slide;
	return NULL;
}

struct gs_error *symbols_init_system_map(struct symbols *symbols, const char *path, uint64_t stext)
{
	memset(symbols, 0, sizeof(*symbols));

	struct gs_error *err = read_file(path, &symbols->text);

	if (!err)
		err = parse(symbols, path);
	if (!err)
		err = relocate(symbols, path, stext);
	if (err)
		symbols_deinit(symbols);
	return err;
}
