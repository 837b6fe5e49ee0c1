// SPDX-License-Identifier: Apache-2.0
#include "engine/fat.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/format.h"
#include "util/array.h"
#include "util/cleanup.h"

// Larger than any detector; keeps a wrong path (a disk image) from being read into memory.
#define FAT_MAX_SIZE (UINT64_C(64) << 20)

static struct gs_error *damaged(const struct gs_fat *fat, const char *what)
{
	return gs_error_create(GS_ERROR_DETECTOR,
			       "%s: damaged detector: %s; compile it again with llview", fat->path,
			       what);
}

static void cleanup_fat(struct gs_fat **fat)
{
	gs_fat_close(*fat);
}

static void cleanup_elf(Elf **elf)
{
	elf_end(*elf);
}

struct section {
	const uint8_t *data;
	size_t size;
};

// What the dynamic loader maps must be there: it does not check, and ends the process with SIGBUS.
static struct gs_error *check_segments(const struct gs_fat *fat, Elf *elf)
{
	size_t count;

	if (elf_getphdrnum(elf, &count) || !count)
		return damaged(fat, "no program headers");
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr phdr;

		if (!gelf_getphdr(elf, (int)i, &phdr))
			return damaged(fat, "truncated program headers");
		if (phdr.p_type == PT_LOAD && (phdr.p_offset > fat->image_size ||
					       phdr.p_filesz > fat->image_size - phdr.p_offset))
			return damaged(fat, "truncated, a segment lies behind its end");
	}
	return NULL;
}

static struct gs_error *find_sections(struct gs_fat *fat, struct section *manifest,
				      struct section *ptx)
{
	if (elf_version(EV_CURRENT) == EV_NONE)
		return gs_error_create(GS_ERROR_OTHER, "libelf is too old");
	if (fat->image_size < SELFMAG || memcmp(fat->image, ELFMAG, SELFMAG)) {
		return gs_error_create(
			GS_ERROR_DETECTOR,
			"%s: not a detector: no ELF file; detectors are made by llview", fat->path);
	}

	_cleanup_(cleanup_elf) Elf *elf = elf_memory((char *)fat->image, fat->image_size);
	GElf_Ehdr ehdr;

	if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &ehdr))
		return damaged(fat, "truncated ELF header");
	if (ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_ident[EI_DATA] != ELFDATA2LSB ||
	    ehdr.e_type != ET_DYN || ehdr.e_machine != EM_X86_64) {
		return gs_error_create(
			GS_ERROR_DETECTOR,
			"%s: not a detector: no x86-64 shared object; detectors are made by llview",
			fat->path);
	}

	size_t names;
	Elf_Scn *scn = NULL;

	if (elf_getshdrstrndx(elf, &names))
		return damaged(fat, "truncated, the section names are missing");
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr shdr;

		if (!gelf_getshdr(scn, &shdr))
			return damaged(fat, "truncated section headers");

		const char *name = elf_strptr(elf, names, shdr.sh_name);
		struct section *section = !name				      ? NULL
					  : !strcmp(name, GS_FAT_SECTION)     ? manifest
					  : !strcmp(name, GS_FAT_PTX_SECTION) ? ptx
									      : NULL;

		if (!section || section->data)
			continue;
		if (shdr.sh_type == SHT_NOBITS || shdr.sh_offset > fat->image_size ||
		    shdr.sh_size > fat->image_size - shdr.sh_offset)
			return damaged(fat, "truncated, a section lies behind its end");
		section->data = fat->image + shdr.sh_offset;
		section->size = shdr.sh_size;
	}
	if (!manifest->data) {
		// A file cut in the middle has lost its section headers, which come last.
		if (!ehdr.e_shoff || ehdr.e_shoff >= fat->image_size)
			return damaged(fat, "truncated, its section headers are missing");
		return gs_error_create(GS_ERROR_DETECTOR,
				       "%s: not a detector: no section " GS_FAT_SECTION
				       "; detectors are made by llview",
				       fat->path);
	}
	return check_segments(fat, elf);
}

static bool table_fits(const struct gs_fat_header *header, const struct gs_fat_table *table,
		       size_t entry, size_t align)
{
	return table->offset % align == 0 && table->offset >= sizeof(*header) &&
	       table->offset <= header->size &&
	       (uint64_t)table->count * entry <= header->size - table->offset;
}

static struct gs_error *find_tables(struct gs_fat *fat, const struct section *section)
{
	if (section->size < sizeof(struct gs_fat_header))
		return damaged(fat, "the manifest is too short");

	fat->manifest = malloc(section->size);
	if (!fat->manifest)
		return &gs_enomem;
	memcpy(fat->manifest, section->data, section->size);

	const struct gs_fat_header *header = (const struct gs_fat_header *)fat->manifest;

	if (memcmp(header->magic, GS_FAT_MAGIC, sizeof(header->magic)))
		return damaged(fat, "the manifest does not begin with its magic");
	if (header->version != GS_FAT_VERSION) {
		return gs_error_create(
			GS_ERROR_DETECTOR,
			"%s: its format is version %u, this program reads version %d; "
			"compile it again with this program's llview",
			fat->path, header->version, GS_FAT_VERSION);
	}
	if (header->size < sizeof(*header) || header->size > section->size)
		return damaged(fat, "the manifest is truncated");

	if (!table_fits(header, &header->detectors, sizeof(struct gs_fat_detector), 8) ||
	    !table_fits(header, &header->slots, sizeof(struct gs_fat_slot), 8) ||
	    !table_fits(header, &header->formats, sizeof(struct gs_fat_format), 8) ||
	    !table_fits(header, &header->sites, sizeof(struct gs_fat_site), 8) ||
	    !table_fits(header, &header->loads, sizeof(struct gs_fat_load), 8) ||
	    !table_fits(header, &header->strings, 1, 1))
		return damaged(fat, "a table lies outside the manifest");

	fat->header = header;
	fat->detectors = (const void *)(fat->manifest + header->detectors.offset);
	fat->slots = (const void *)(fat->manifest + header->slots.offset);
	fat->formats = (const void *)(fat->manifest + header->formats.offset);
	fat->sites = (const void *)(fat->manifest + header->sites.offset);
	fat->strings = (const char *)(fat->manifest + header->strings.offset);
	if (!header->strings.count || fat->strings[header->strings.count - 1])
		return damaged(fat, "its strings do not end");
	return NULL;
}

static bool string_ok(const struct gs_fat *fat, uint32_t offset)
{
	return offset < fat->header->strings.count;
}

static bool is_identifier(const char *s)
{
	if (!*s || (*s >= '0' && *s <= '9'))
		return false;
	for (; *s; s++) {
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		      (*s >= '0' && *s <= '9') || *s == '_'))
			return false;
	}
	return true;
}

static struct gs_error *check_detectors(const struct gs_fat *fat)
{
	uint32_t count = fat->header->detectors.count;

	if (!count)
		return damaged(fat, "it defines no detector");
	for (uint32_t i = 0; i < count; i++) {
		const struct gs_fat_detector *detector = &fat->detectors[i];

		if (!string_ok(fat, detector->name) || !string_ok(fat, detector->function) ||
		    !string_ok(fat, detector->description) ||
		    detector->site >= fat->header->sites.count)
			return damaged(fat, "a detector refers to nothing");
		if (!is_identifier(fat_string(fat, detector->name)) ||
		    !is_identifier(fat_string(fat, detector->function)))
			return damaged(fat, "a detector has no proper name");
		if (!detector->threads || detector->threads > GS_FAT_MAX_THREADS ||
		    (detector->threads > 1 && detector->threads % GS_FAT_WARP) ||
		    !detector->blocks || detector->blocks > GS_FAT_MAX_BLOCKS)
			return damaged(fat, "a detector has no proper number of threads");
		for (uint32_t j = 0; j < i; j++) {
			if (!strcmp(fat_string(fat, detector->name),
				    fat_string(fat, fat->detectors[j].name)))
				return damaged(fat, "two detectors have one name");
		}
	}
	return NULL;
}

static struct gs_error *check_sites(const struct gs_fat *fat)
{
	for (uint32_t i = 0; i < fat->header->sites.count; i++) {
		if (!string_ok(fat, fat->sites[i].file) || !string_ok(fat, fat->sites[i].function))
			return damaged(fat, "a place in the source has no name");
	}

	const struct gs_fat_load *loads = (const void *)(fat->manifest + fat->header->loads.offset);

	for (uint32_t i = 0; i < fat->header->loads.count; i++) {
		if (!string_ok(fat, loads[i].why) || loads[i].site >= fat->header->sites.count)
			return damaged(fat, "a load refers to nothing");
	}
	return string_ok(fat, fat->header->producer) ? NULL
						     : damaged(fat, "its producer has no name");
}

static bool slot_kind_ok(uint16_t kind)
{
	return kind <= GS_SLOT_FIELD_RSHIFT ||
	       (kind >= GS_SLOT_TYPE_ID_TARGET && kind <= GS_SLOT_TYPE_MATCHES) ||
	       kind == GS_SLOT_SYMBOL || kind == GS_SLOT_PARAM;
}

static struct gs_error *check_slots(struct gs_fat *fat)
{
	for (uint32_t i = 0; i < fat->header->slots.count; i++) {
		const struct gs_fat_slot *slot = &fat->slots[i];

		if (!string_ok(fat, slot->name) || !string_ok(fat, slot->path) ||
		    slot->site >= fat->header->sites.count)
			return damaged(fat, "a slot refers to nothing");
		if (!slot_kind_ok(slot->kind) || slot->type_kind > 31)
			return damaged(fat, "a slot is of unknown kind");
		if (slot->kind == GS_SLOT_PARAM && !is_identifier(fat_string(fat, slot->name)))
			return damaged(fat, "a parameter has no proper name");
		if (slot->kind == GS_SLOT_PARAM)
			fat->params++;
		else if (slot->kind == GS_SLOT_SYMBOL)
			fat->symbols++;
		else
			fat->fields++;
	}
	return NULL;
}

static struct gs_error *check_formats(struct gs_fat *fat)
{
	uint32_t count = fat->header->formats.count;

	fat->parsed = calloc(count ? count : 1, sizeof(*fat->parsed));
	if (!fat->parsed)
		return &gs_enomem;
	for (uint32_t i = 0; i < count; i++) {
		const struct gs_fat_format *format = &fat->formats[i];

		if (!string_ok(fat, format->format) || format->site >= fat->header->sites.count)
			return damaged(fat, "a format refers to nothing");
		if (format->kind < GS_RECORD_ROW || format->kind > GS_RECORD_ALARM)
			return damaged(fat, "a format is of unknown kind");

		struct gs_error *err = format_parse(fat_string(fat, format->format), format->kind,
						    &fat->parsed[i]);

		if (err)
			return gs_error_prefix(err, "%s", fat->path);
		if (fat->parsed[i]->count != format->nargs)
			return damaged(fat, "a format does not fit its arguments");
	}
	return NULL;
}

struct gs_error *fat_create_take(const char *path, uint8_t *image, size_t size, struct gs_fat **ret)
{
	_cleanup_(cleanup_fat) struct gs_fat *fat = calloc(1, sizeof(*fat));

	if (!fat) {
		free(image);
		return &gs_enomem;
	}
	fat->image = image;
	fat->image_size = size;
	fat->path = strdup(path);
	if (!fat->path)
		return &gs_enomem;

	struct section manifest = {}, ptx = {};
	struct gs_error *err = find_sections(fat, &manifest, &ptx);

	if (!err)
		err = find_tables(fat, &manifest);
	if (!err)
		err = check_sites(fat);
	if (!err)
		err = check_detectors(fat);
	if (!err)
		err = check_slots(fat);
	if (!err)
		err = check_formats(fat);
	if (err)
		return err;

	if (ptx.size) {
		if (ptx.data[ptx.size - 1])
			return damaged(fat, "its PTX does not end");
		fat->ptx = (const char *)ptx.data;
		fat->ptx_size = strlen(fat->ptx);
	}
	*ret = no_cleanup_ptr(fat);
	return NULL;
}

static struct gs_error *read_file(const char *path, uint8_t **ret, size_t *size_ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return gs_error_errno(GS_ERROR_DETECTOR, errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return gs_error_create(GS_ERROR_DETECTOR, "%s: not a file", path);
	if ((uint64_t)st.st_size > FAT_MAX_SIZE) {
		return gs_error_create(GS_ERROR_DETECTOR, "%s: not a detector: larger than 64 MiB",
				       path);
	}

	size_t size = (size_t)st.st_size, done = 0;
	_cleanup_free_ uint8_t *image = malloc(size ? size : 1);

	if (!image)
		return &gs_enomem;
	while (done < size) {
		ssize_t n = read(fd, image + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gs_error_errno(GS_ERROR_DETECTOR, errno, "%s", path);
		if (!n)
			break;
		done += (size_t)n;
	}
	*ret = no_cleanup_ptr(image);
	*size_ret = done;
	return NULL;
}

struct gs_error *gs_fat_open(const char *path, struct gs_fat **ret)
{
	uint8_t *image;
	size_t size;
	struct gs_error *err = read_file(path, &image, &size);

	return err ? err : fat_create_take(path, image, size, ret);
}

void gs_fat_close(struct gs_fat *fat)
{
	if (!fat)
		return;
	if (fat->parsed) {
		for (uint32_t i = 0; i < fat->header->formats.count; i++)
			format_destroy(fat->parsed[i]);
	}
	free(fat->parsed);
	free(fat->manifest);
	free(fat->image);
	free(fat->path);
	free(fat);
}

bool gs_fat_same(const struct gs_fat *a, const struct gs_fat *b)
{
	return a->image_size == b->image_size && !memcmp(a->image, b->image, a->image_size);
}

size_t gs_fat_detector_count(const struct gs_fat *fat)
{
	return fat->header->detectors.count;
}

void gs_fat_detector_info(const struct gs_fat *fat, size_t index, struct gs_detector_info *ret)
{
	*ret = (struct gs_detector_info){};
	if (index >= fat->header->detectors.count)
		return;

	const struct gs_fat_detector *detector = &fat->detectors[index];

	*ret = (struct gs_detector_info){
		.name = fat_string(fat, detector->name),
		.description = fat_string(fat, detector->description),
		.file = fat->path,
		.period_us = detector->period_us,
		.threads = detector->threads,
		.blocks = detector->blocks,
		.budget = detector->budget,
		.fields = fat->fields,
		.symbols = fat->symbols,
		.ptx_size = fat->ptx_size,
	};
}

uint32_t fat_param_slot(const struct gs_fat *fat, size_t index)
{
	uint32_t slot = 0;

	for (; slot < fat->header->slots.count; slot++) {
		if (fat->slots[slot].kind == GS_SLOT_PARAM && !index--)
			break;
	}
	return slot;
}

size_t gs_fat_param_count(const struct gs_fat *fat)
{
	return fat->params;
}

void gs_fat_param_info(const struct gs_fat *fat, size_t index, struct gs_param_info *ret)
{
	uint32_t slot = fat_param_slot(fat, index);

	*ret = (struct gs_param_info){};
	if (slot == fat->header->slots.count)
		return;
	*ret = (struct gs_param_info){
		.name = fat_string(fat, fat->slots[slot].name),
		.description = fat_string(fat, fat->slots[slot].path),
		.value = fat->slots[slot].local_value,
	};
}

bool fat_find_param(const struct gs_fat *fat, const char *name, uint32_t *slot_ret)
{
	for (uint32_t i = 0; i < fat->header->slots.count; i++) {
		if (fat->slots[i].kind == GS_SLOT_PARAM &&
		    !strcmp(fat_string(fat, fat->slots[i].name), name)) {
			*slot_ret = i;
			return true;
		}
	}
	return false;
}

void fat_site_name(const struct gs_fat *fat, uint32_t site, bool column, char *buf, size_t len)
{
	if (site >= fat->header->sites.count) {
		snprintf(buf, len, "?");
		return;
	}

	const struct gs_fat_site *s = &fat->sites[site];
	const char *file = fat_string(fat, s->file);

	if (!s->line)
		snprintf(buf, len, "%s", *file ? file : "?");
	else if (!column || !s->column)
		snprintf(buf, len, "%s:%u", file, s->line);
	else
		snprintf(buf, len, "%s:%u:%u", file, s->line, s->column);
}
