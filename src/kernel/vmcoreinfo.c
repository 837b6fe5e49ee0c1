// SPDX-License-Identifier: Apache-2.0
#include "vmcoreinfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char note_name[12] = "VMCOREINFO";

struct note_header {
	uint32_t namesz;
	uint32_t descsz;
	uint32_t type;
	// Padded to 4 bytes, as in every ELF note.
	char name[sizeof(note_name)];
};

enum {
	TEXT_MAX = sizeof(((struct vmcoreinfo *)0)->text) - 1,
	CHUNK_PAGES = 1024,
};
#define CHUNK_SIZE (CHUNK_PAGES * GS_PAGE_SIZE)

static bool header_valid(const struct note_header *header)
{
	return header->namesz == strlen(note_name) + 1 && header->type == 0 && header->descsz > 0 &&
	       header->descsz <= TEXT_MAX && !memcmp(header->name, note_name, sizeof(note_name));
}

// The value of line "key" of @key_len characters and "=", or NULL.
static const char *find_line(const struct vmcoreinfo *info, const char *key, size_t key_len)
{
	const char *line = info->text;

	while (*line) {
		if (!strncmp(line, key, key_len) && line[key_len] == '=')
			return line + key_len + 1;
		line = strchr(line, '\n');
		if (!line)
			return NULL;
		line++;
	}
	return NULL;
}

static bool copy_release(struct vmcoreinfo *info)
{
	static const char key[] = "OSRELEASE";
	const char *value = find_line(info, key, strlen(key));

	if (!value)
		return false;

	size_t len = strcspn(value, "\n");

	// __NEW_UTS_LEN is 64.
	if (len == 0 || len >= sizeof(info->release))
		return false;
	for (size_t i = 0; i < len; i++)
		if (value[i] <= ' ' || value[i] > '~')
			return false;
	memcpy(info->release, value, len);
	info->release[len] = '\0';
	return true;
}

bool vmcoreinfo_parse(const void *data, size_t size, struct vmcoreinfo *ret)
{
	struct note_header header;

	if (size < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	if (!header_valid(&header) || header.descsz > size - sizeof(header))
		return false;

	memcpy(ret->text, (const char *)data + sizeof(header), header.descsz);
	ret->text[header.descsz] = '\0';
	ret->size = header.descsz;
	return copy_release(ret);
}

void vmcoreinfo_search_init(struct vmcoreinfo_search *search, struct gs_target *target)
{
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	*search = (struct vmcoreinfo_search){ .target = target };
	for (size_t i = 0; i < count; i++)
		search->chunks += (segments[i].size + CHUNK_SIZE - 1) / CHUNK_SIZE;
}

static bool chunk_bounds(const struct vmcoreinfo_search *search, uint64_t *start_ret,
			 uint64_t *end_ret)
{
	size_t count;
	const struct gs_segment *segments = gs_target_segments(search->target, &count);
	uint64_t half = search->chunk / 2;
	uint64_t chunk = search->chunk % 2 ? search->chunks - 1 - half : half;

	for (size_t i = 0; i < count; i++) {
		uint64_t chunks = (segments[i].size + CHUNK_SIZE - 1) / CHUNK_SIZE;

		if (chunk < chunks) {
			uint64_t end = segments[i].phys + segments[i].size;

			*start_ret = segments[i].phys + chunk * CHUNK_SIZE;
			*end_ret = end - *start_ret > CHUNK_SIZE ? *start_ret + CHUNK_SIZE : end;
			return true;
		}
		chunk -= chunks;
	}
	return false;
}

static bool read_note(struct gs_target *target, uint64_t phys, struct vmcoreinfo *ret)
{
	struct note_header header;
	const struct note_header *mapped = gs_target_map(target, phys, sizeof(header));

	// One load decides for nearly every page.
	if (!mapped || mapped->namesz != strlen(note_name) + 1)
		return false;
	memcpy(&header, mapped, sizeof(header));
	if (!header_valid(&header))
		return false;

	uint8_t note[sizeof(header) + TEXT_MAX];
	struct gs_error *err = gs_target_read(target, phys, note, sizeof(header) + header.descsz);

	if (err) {
		gs_error_destroy(err);
		return false;
	}
	ret->phys = phys;
	return vmcoreinfo_parse(note, sizeof(header) + header.descsz, ret);
}

bool vmcoreinfo_search_next(struct vmcoreinfo_search *search, struct vmcoreinfo *ret)
{
	uint64_t known;

	// A live machine's memory has copies of what it says in many places, this program's own among them.
	if (gs_target_note(search->target, &known)) {
		bool first = !search->told;

		search->told = true;
		return first && read_note(search->target, known, ret);
	}
	for (; search->chunk < search->chunks; search->chunk++, search->next = 0) {
		uint64_t start, end, page;

		if (!chunk_bounds(search, &start, &end))
			return false;
		if (search->next > start)
			start = search->next;
		while (start < end && gs_target_next_present(search->target, start, &page) &&
		       page < end) {
			start = page + GS_PAGE_SIZE;
			if (read_note(search->target, page, ret)) {
				search->next = start;
				return true;
			}
		}
	}
	return false;
}

static const char *find_value(const struct vmcoreinfo *info, const char *kind, const char *name)
{
	char key[128];
	int len = snprintf(key, sizeof(key), kind, name);

	if (len < 0 || (size_t)len >= sizeof(key))
		return NULL;
	return find_line(info, key, len);
}

static bool parse_u64(const char *value, int base, uint64_t *ret)
{
	char *end;

	// strtoull() would skip blanks and take a sign.
	if (!value || *value <= ' ' || *value == '-' || *value == '+')
		return false;
	errno = 0;

	unsigned long long number = strtoull(value, &end, base);

	if (errno || end == value || (*end != '\n' && *end != '\0'))
		return false;
	*ret = number;
	return true;
}

bool vmcoreinfo_symbol(const struct vmcoreinfo *info, const char *name, uint64_t *ret)
{
	return parse_u64(find_value(info, "SYMBOL(%s)", name), 16, ret);
}

bool vmcoreinfo_sizeof(const struct vmcoreinfo *info, const char *name, uint64_t *ret)
{
	return parse_u64(find_value(info, "SIZE(%s)", name), 10, ret);
}

bool vmcoreinfo_hex(const struct vmcoreinfo *info, const char *name, uint64_t *ret)
{
	return parse_u64(find_value(info, "%s", name), 16, ret);
}

bool vmcoreinfo_number(const struct vmcoreinfo *info, const char *name, int64_t *ret)
{
	const char *value = find_value(info, "NUMBER(%s)", name);
	uint64_t number;

	if (!value)
		return false;

	bool negative = *value == '-';
	bool hex = !strncmp(value, "0x", 2);

	if (!parse_u64(value + negative, hex ? 16 : 10, &number))
		return false;
	*ret = (int64_t)(negative ? -number : number);
	return true;
}
