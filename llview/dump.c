// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <gelf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libelf.h>

#include "llview.h"

// The file is outside input: nothing in the manifest is used before it is checked.

struct manifest {
	const char *data;
	size_t size;
	const struct gs_fat_header *header;
};

static const char *string_at(const struct manifest *m, uint32_t offset)
{
	return offset < m->header->strings.count ? m->data + m->header->strings.offset + offset
						 : "(bad string)";
}

static bool table_fits(const struct manifest *m, struct gs_fat_table table, size_t element)
{
	return table.offset % (element == 1 ? 1 : 8) == 0 && table.offset <= m->size &&
	       table.count <= (m->size - table.offset) / element;
}

static struct gs_error *check_manifest(struct manifest *m, const char *path)
{
	if (m->size < sizeof(*m->header))
		return gs_error_create(GS_ERROR_DETECTOR, "%s: manifest is cut off", path);
	m->header = (const struct gs_fat_header *)m->data;
	if (memcmp(m->header->magic, GS_FAT_MAGIC, sizeof(m->header->magic)) != 0)
		return gs_error_create(GS_ERROR_DETECTOR, "%s: not a fat detector", path);
	if (m->header->version != GS_FAT_VERSION)
		return gs_error_create(GS_ERROR_DETECTOR,
				       "%s: manifest version %u, this llview knows %d", path,
				       m->header->version, GS_FAT_VERSION);
	if (m->header->size > m->size)
		return gs_error_create(GS_ERROR_DETECTOR, "%s: manifest is cut off", path);
	m->size = m->header->size;

	const struct gs_fat_header *h = m->header;

	if (!table_fits(m, h->detectors, sizeof(struct gs_fat_detector)) ||
	    !table_fits(m, h->slots, sizeof(struct gs_fat_slot)) ||
	    !table_fits(m, h->formats, sizeof(struct gs_fat_format)) ||
	    !table_fits(m, h->sites, sizeof(struct gs_fat_site)) ||
	    !table_fits(m, h->loads, sizeof(struct gs_fat_load)) || !table_fits(m, h->strings, 1) ||
	    !h->strings.count || m->data[h->strings.offset + h->strings.count - 1])
		return gs_error_create(GS_ERROR_DETECTOR, "%s: a table of the manifest is damaged",
				       path);
	return NULL;
}

// A string as it may go to a terminal: the file is outside input. Good until the fourth call after.
static const char *shown_at(const struct manifest *m, uint32_t offset)
{
	static char bufs[4][1024];
	static unsigned int next;
	char *buf = bufs[next++ % ARRAY_SIZE(bufs)];
	size_t len = 0;

	for (const char *s = string_at(m, offset); *s && len < sizeof(bufs[0]) - 5; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			len += snprintf(buf + len, 5, "\\x%02x", (unsigned char)*s);
		else
			buf[len++] = *s;
	}
	buf[len] = 0;
	return buf;
}

static void print_site(const struct manifest *m, uint32_t index)
{
	const struct gs_fat_site *sites = (const void *)(m->data + m->header->sites.offset);

	if (index >= m->header->sites.count)
		return;

	const struct gs_fat_site *site = &sites[index];

	printf("%s:%u:%u", shown_at(m, site->file), site->line, site->column);
	if (string_at(m, site->function)[0])
		printf(" in %s", shown_at(m, site->function));
}

static void print_detectors(const struct manifest *m)
{
	const struct gs_fat_detector *list = (const void *)(m->data + m->header->detectors.offset);

	for (uint32_t i = 0; i < m->header->detectors.count; i++) {
		printf("detector %s: every %.15g ms", shown_at(m, list[i].name),
		       list[i].period_us / 1000.0);
		if (list[i].threads != 1 || list[i].blocks != 1)
			printf(", %u threads in each of %u blocks", list[i].threads,
			       list[i].blocks);
		if (list[i].budget)
			printf(", budget %" PRIu64, list[i].budget);
		if (list[i].output)
			printf(", output %" PRIu64 " bytes", list[i].output);
		printf(", at ");
		print_site(m, list[i].site);
		printf("\n");
		if (string_at(m, list[i].description)[0])
			printf("  %s\n", shown_at(m, list[i].description));
	}
}

static const char *const slot_kinds[] = {
	[GS_SLOT_FIELD_OFFSET] = "offset",
	[GS_SLOT_FIELD_SIZE] = "size",
	[GS_SLOT_FIELD_EXISTS] = "exists",
	[GS_SLOT_FIELD_SIGNED] = "signed",
	[GS_SLOT_FIELD_LSHIFT] = "lshift",
	[GS_SLOT_FIELD_RSHIFT] = "rshift",
	[GS_SLOT_TYPE_ID_TARGET] = "type-id",
	[GS_SLOT_TYPE_EXISTS] = "type-exists",
	[GS_SLOT_TYPE_SIZE] = "type-size",
	[GS_SLOT_ENUMVAL_EXISTS] = "enum-exists",
	[GS_SLOT_ENUMVAL_VALUE] = "enum-value",
	[GS_SLOT_TYPE_MATCHES] = "type-matches",
	[GS_SLOT_SYMBOL] = "symbol",
};

// include/uapi/linux/btf.h
static const char *const type_kinds[] = {
	[1] = "int",   [2] = "pointer", [3] = "array",	 [4] = "struct",
	[5] = "union", [6] = "enum",	[8] = "typedef", [13] = "function",
};

static void print_slot(const struct manifest *m, uint32_t index, const struct gs_fat_slot *slot)
{
	const char *kind = slot->kind < ARRAY_SIZE(slot_kinds) ? slot_kinds[slot->kind] : NULL;
	const char *type =
		slot->type_kind < ARRAY_SIZE(type_kinds) ? type_kinds[slot->type_kind] : NULL;
	const char *path = shown_at(m, slot->path);
	bool enumerator =
		slot->kind == GS_SLOT_ENUMVAL_EXISTS || slot->kind == GS_SLOT_ENUMVAL_VALUE;

	printf("  %3u %-12s %s%s%s%s%s", index, kind ? kind : "?", type ? type : "",
	       type ? " " : "", shown_at(m, slot->name), enumerator ? " " : "", path);
	if (slot->kind != GS_SLOT_SYMBOL)
		printf(", here %" PRIu64, slot->local_value);
	if (slot->local_size)
		printf(", %u bytes", slot->local_size);
	if (slot->flags & GS_SLOT_F_SCALAR)
		printf(", scalar");
	if (slot->flags & GS_SLOT_F_BITFIELD)
		printf(", bit field");
	if (slot->flags & GS_SLOT_F_OPTIONAL)
		printf(", may be absent");
	printf("; ");
	print_site(m, slot->site);
	printf("\n");
}

static void print_params(const struct manifest *m)
{
	const struct gs_fat_slot *list = (const void *)(m->data + m->header->slots.offset);

	printf("parameters:\n");
	for (uint32_t i = 0; i < m->header->slots.count; i++) {
		if (list[i].kind != GS_SLOT_PARAM)
			continue;
		printf("  %3u %s=%" PRIu64 ", %s; ", i, shown_at(m, list[i].name),
		       list[i].local_value, shown_at(m, list[i].path));
		print_site(m, list[i].site);
		printf("\n");
	}
}

static void print_slots(const struct manifest *m, bool symbols)
{
	const struct gs_fat_slot *list = (const void *)(m->data + m->header->slots.offset);

	printf("%s:\n", symbols ? "symbols" : "relocations");
	for (uint32_t i = 0; i < m->header->slots.count; i++) {
		if (list[i].kind != GS_SLOT_PARAM && (list[i].kind == GS_SLOT_SYMBOL) == symbols)
			print_slot(m, i, &list[i]);
	}
}

static void print_format_text(const char *text)
{
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '\n')
			printf("\\n");
		else if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static void print_formats(const struct manifest *m)
{
	static const char *const kinds[] = { "?", "row", "finding", "metric", "alarm" };
	const struct gs_fat_format *list = (const void *)(m->data + m->header->formats.offset);

	printf("formats:\n");
	for (uint32_t i = 0; i < m->header->formats.count; i++) {
		printf("  %3u %-8s \"", i,
		       kinds[list[i].kind < ARRAY_SIZE(kinds) ? list[i].kind : 0]);
		print_format_text(string_at(m, list[i].format));
		printf("\", %u items; ", list[i].nargs);
		print_site(m, list[i].site);
		printf("\n");
	}
}

static const char *const load_kinds[] = {
	[GS_LOAD_KERNEL] = "load", [GS_LOAD_LOCAL] = "local", [GS_LOAD_MIXED] = "mixed",
	[GS_LOAD_COPY] = "copy",   [GS_LOAD_STORE] = "store",
};

static void print_loads(const struct manifest *m, bool translated)
{
	const struct gs_fat_load *list = (const void *)(m->data + m->header->loads.offset);

	printf("%s:\n", translated ? "translated" : "not translated, own memory");
	for (uint32_t i = 0; i < m->header->loads.count; i++) {
		uint32_t kind = list[i].kind;
		const char *name = kind < ARRAY_SIZE(load_kinds) ? load_kinds[kind] : NULL;
		bool own = kind == GS_LOAD_LOCAL || kind == GS_LOAD_STORE;

		if (own == translated)
			continue;
		printf("  %-6s ", name ? name : "?");
		if (list[i].size)
			printf("%4u bytes", list[i].size);
		else
			printf("  any bytes");
		printf(": %s; ", shown_at(m, list[i].why));
		print_site(m, list[i].site);
		printf("\n");
	}
}

static void print_manifest(const struct manifest *m)
{
	printf("made by %s\n", shown_at(m, m->header->producer));
	print_detectors(m);
	print_params(m);
	print_slots(m, false);
	print_slots(m, true);
	print_formats(m);
	print_loads(m, true);
	print_loads(m, false);
}

static struct gs_error *find_section(Elf *elf, const char *path, struct manifest *ret)
{
	size_t names;
	Elf_Scn *section = NULL;

	if (elf_kind(elf) != ELF_K_ELF || elf_getshdrstrndx(elf, &names))
		return gs_error_create(GS_ERROR_DETECTOR, "%s: not an ELF file", path);
	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr header;
		const char *name = gelf_getshdr(section, &header)
					   ? elf_strptr(elf, names, header.sh_name)
					   : NULL;

		if (!name || strcmp(name, GS_FAT_SECTION) != 0)
			continue;

		Elf_Data *data = elf_rawdata(section, NULL);

		if (!data || !data->d_buf)
			break;
		*ret = (struct manifest){ .data = data->d_buf, .size = data->d_size };
		return NULL;
	}
	return gs_error_create(GS_ERROR_DETECTOR, "%s: no section %s: not a fat detector", path,
			       GS_FAT_SECTION);
}

struct gs_error *lv_dump(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
	elf_version(EV_CURRENT);

	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);

	if (!elf)
		return gs_error_create(GS_ERROR_DETECTOR, "%s: not an ELF file", path);

	struct manifest m = {};
	struct gs_error *err = find_section(elf, path, &m);
	_cleanup_free_ char *copy = NULL;

	if (!err) {
		// Aligned, which a section of a damaged file need not be.
		copy = malloc(m.size + 1);
		if (!copy)
			lv_enomem();
		memcpy(copy, m.data, m.size);
		m.data = copy;
		err = check_manifest(&m, path);
	}
	if (!err) {
		print_manifest(&m);
		if (fflush(stdout) || ferror(stdout))
			err = gs_error_errno(GS_ERROR_OTHER, errno, "cannot write the output");
	}
	elf_end(elf);
	return err;
}
