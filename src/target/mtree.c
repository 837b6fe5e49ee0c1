// SPDX-License-Identifier: Apache-2.0
#include "target/mtree.h"

#include <string.h>

#include "target/ranges.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

// More lines of RAM than any machine has; hostile text stops here.
#define MTREE_RANGES_MAX 65536

struct line {
	const char *text;
	size_t len;
};

// The next line without its end (LF or CR LF); false behind the last.
static bool next_line(const char **text, struct line *ret)
{
	if (!**text)
		return false;
	ret->text = *text;
	ret->len = strcspn(*text, "\n");
	*text += ret->len + ((*text)[ret->len] == '\n');
	if (ret->len && ret->text[ret->len - 1] == '\r')
		ret->len--;
	return true;
}

static bool line_begins(const struct line *line, const char *prefix)
{
	size_t len = strlen(prefix);

	return line->len >= len && memcmp(line->text, prefix, len) == 0;
}

static bool is_ram(const char *type, size_t len)
{
	// nv-ram is RAM of a persistent backend (-device nvdimm).
	return (len == 3 && memcmp(type, "ram", 3) == 0) ||
	       (len == 6 && memcmp(type, "nv-ram", 6) == 0);
}

static struct gs_error *bad_line(const struct line *line)
{
	int len = line->len < 120 ? (int)line->len : 120;

	return gs_error_create(GS_ERROR_TARGET,
			       "QEMU's \"info mtree -f\" has a line that makes no sense: \"%.*s\"",
			       len, line->text);
}

// A line is "  <first>-<last> (prio <n>, <type>): <region>[ @<offset>][ <accelerator>]".
static struct gs_error *parse_line(const struct line *line, bool *is_ram_ret,
				   struct gs_mtree_range *ret)
{
	const char *p = line->text;
	const char *end = line->text + line->len;
	uint64_t first, last;

	p += strspn(p, " ");
	if (!gs_parse_hex(&p, &first) || !gs_parse_skip(&p, "-") || !gs_parse_hex(&p, &last) ||
	    !gs_parse_skip(&p, " (prio ") || last < first)
		return bad_line(line);

	const char *type = memchr(p, ',', end - p);
	const char *close = type ? memchr(type, ')', end - type) : NULL;

	if (!close || close - type < 2 || end - close < 3 || memcmp(close, "): ", 3) != 0)
		return bad_line(line);
	type += 2;
	*is_ram_ret = is_ram(type, close - type);
	if (!*is_ram_ret)
		return NULL;

	// The backend's id holds no blank; what may follow it does.
	const char *region = close + 3;
	const char *blank = memchr(region, ' ', end - region);
	const char *region_end = blank ? blank : end;
	uint64_t offset = 0;

	if (region_end == region)
		return bad_line(line);
	p = region_end;
	if (end - p >= 2 && gs_parse_skip(&p, " @") && (!gs_parse_hex(&p, &offset) || p > end))
		return bad_line(line);

	uint64_t size = last - first + 1, sum;

	if (last >= GS_PHYS_MAX || __builtin_add_overflow(offset, size, &sum))
		return bad_line(line);
	*ret = (struct gs_mtree_range){
		.phys = first,
		.size = size,
		.offset = offset,
		.region = region,
		.region_len = region_end - region,
	};
	return NULL;
}

// Move text behind the "Root memory region" line of the view that shows the address space "memory".
static bool find_view(const char **text)
{
	struct line line;
	bool is_memory = false;

	while (next_line(text, &line)) {
		if (line_begins(&line, "FlatView #"))
			is_memory = false;
		else if (line_begins(&line, " AS \"memory\", root: "))
			is_memory = true;
		else if (line_begins(&line, " Root memory region: ") && is_memory)
			return true;
	}
	return false;
}

struct gs_error *gs_mtree_parse(const char *text, struct gs_mtree_range **ret, size_t *count_ret)
{
	_cleanup_free_ struct gs_mtree_range *ranges = NULL;
	size_t count = 0, capacity = 0;
	struct line line;

	if (!find_view(&text))
		return gs_error_create(
			GS_ERROR_TARGET,
			"QEMU's \"info mtree -f\" shows no address space \"memory\"");
	while (next_line(&text, &line) && line_begins(&line, "  ")) {
		struct gs_mtree_range range;
		bool ram;

		if (line_begins(&line, "  No rendered FlatView"))
			break;

		struct gs_error *err = parse_line(&line, &ram, &range);

		if (err)
			return err;
		if (!ram)
			continue;
		if (count == MTREE_RANGES_MAX)
			return bad_line(&line);
		if (!gs_array_push(ranges, count, capacity, range))
			return &gs_enomem;
	}
	*ret = no_cleanup_ptr(ranges);
	*count_ret = count;
	return NULL;
}
