// SPDX-License-Identifier: Apache-2.0
#include "cli/vmcore.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <gpusentinel/target.h>

#include "cli/progress.h"
#include "cli/text.h"
#include "util/cleanup.h"

// Bytes written in one call: large enough for the disk, small enough for the progress bar and ^C.
enum { WRITE_MAX = 4 << 20 };

// A VMCOREINFO text is 2 to 4 KiB; the kernel gives it one page (Linux include/linux/vmcore_info.h).
enum { VMCOREINFO_MAX = 64 << 10 };

struct vmcore {
	struct gs_kernel *kernel;
	struct gs_target *target;
	const struct gs_segment *segments;
	size_t segment_count;
	// Everything before the memory: ELF header, program headers, note.
	uint8_t *head;
	size_t head_size;
	uint64_t present_pages;
	int fd;
	const char *path;
	const volatile bool *stop;
	struct vmcore_result *result;
};

static uint64_t align_page(uint64_t value)
{
	return (value + GS_PAGE_SIZE - 1) & ~(GS_PAGE_SIZE - 1);
}

// Build the note from the kernel's own: @ret gets header, name and text, each padded to 4 bytes.
static struct gs_error *make_note(struct vmcore *core, uint8_t **ret, size_t *size_ret)
{
	static const char name[] = "VMCOREINFO";
	enum { NAME_SIZE = (sizeof(name) + 3) & ~3 };
	struct gs_kernel_facts facts;

	gs_kernel_facts(core->kernel, &facts);
	if (facts.note_size > VMCOREINFO_MAX) {
		return gs_error_address(GS_ERROR_KERNEL, facts.note_phys,
					"VMCOREINFO claims %u bytes, which no kernel writes",
					facts.note_size);
	}

	size_t head = sizeof(Elf64_Nhdr) + NAME_SIZE;
	size_t size = head + ((facts.note_size + 3u) & ~3u);
	_cleanup_free_ uint8_t *note = calloc(1, size);

	if (!note)
		return &gs_enomem;

	Elf64_Nhdr header = { .n_namesz = sizeof(name), .n_descsz = facts.note_size };

	memcpy(note, &header, sizeof(header));
	memcpy(note + sizeof(header), name, sizeof(name));

	struct gs_error *err =
		gs_target_read(core->target, facts.note_phys + head, note + head, facts.note_size);

	if (err)
		return err;
	*ret = no_cleanup_ptr(note);
	*size_ret = size;
	return NULL;
}

static Elf64_Phdr load(uint64_t phys, uint64_t virt, uint64_t offset, uint64_t size)
{
	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_W | PF_X,
		.p_offset = offset,
		.p_vaddr = virt,
		.p_paddr = phys,
		.p_filesz = size,
		.p_memsz = size,
	};
}

// The kernel image's PT_LOAD, if it lies in one segment; @offset is where that segment's bytes begin.
static bool image_load(const struct gs_map *map, const struct gs_segment *segment, uint64_t offset,
		       Elf64_Phdr *ret)
{
	uint64_t into = map->image_phys - segment->phys;

	if (!map->image_size || map->image_phys < segment->phys || into >= segment->size)
		return false;

	uint64_t size = segment->size - into;

	size = map->image_size < size ? map->image_size : size;
	*ret = load(map->image_phys, map->image_base, offset + into, size);
	return true;
}

// Lay out the file: its head, and by the program headers where each segment goes.
static struct gs_error *make_head(struct vmcore *core)
{
	const struct gs_map *map = gs_kernel_map(core->kernel);
	_cleanup_free_ uint8_t *note = NULL;
	size_t note_size, n = 0;
	struct gs_error *err = make_note(core, &note, &note_size);

	if (err)
		return err;

	// e_phnum has 16 bits, and PN_XNUM readers are rare; segments are far fewer (GS_MAP_SEGMENTS).
	size_t most = core->segment_count + 2;

	if (most >= PN_XNUM)
		return gs_error_create(GS_ERROR_OTHER, "too many segments for an ELF core");

	size_t note_offset = sizeof(Elf64_Ehdr) + most * sizeof(Elf64_Phdr);

	core->head_size = align_page(note_offset + note_size);
	core->head = calloc(1, core->head_size);
	if (!core->head)
		return &gs_enomem;

	Elf64_Phdr *phdrs = (Elf64_Phdr *)(core->head + sizeof(Elf64_Ehdr)), image;
	uint64_t offset = core->head_size;
	bool has_image = false;

	phdrs[n++] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = note_offset,
		.p_filesz = note_size,
		.p_memsz = note_size,
		.p_align = 4,
	};
	// The image comes first, as in kdump: readers that take the first match find it by its address.
	for (size_t i = 0; i < core->segment_count && !has_image; i++) {
		has_image = image_load(map, &core->segments[i], offset, &image);
		offset += core->segments[i].size;
	}
	if (has_image)
		phdrs[n++] = image;
	offset = core->head_size;
	for (size_t i = 0; i < core->segment_count; i++) {
		const struct gs_segment *segment = &core->segments[i];
		uint64_t virt = map->direct_base ? map->direct_base + segment->phys : 0;

		phdrs[n++] = load(segment->phys, virt, offset, segment->size);
		if (__builtin_add_overflow(offset, segment->size, &offset) || offset > INT64_MAX)
			return gs_error_create(GS_ERROR_OTHER, "too much memory for one file");
	}
	core->result->size = offset;
	memcpy(core->head + note_offset, note, note_size);

	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT, ELFOSABI_NONE },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = n,
	};

	memcpy(core->head, &header, sizeof(header));
	return NULL;
}

static struct gs_error *check_space(const struct vmcore *core)
{
	uint64_t need = core->head_size + core->present_pages * GS_PAGE_SIZE;
	char need_text[TEXT_NUMBER_MAX], free_text[TEXT_NUMBER_MAX];
	struct statvfs fs;

	if (fstatvfs(core->fd, &fs))
		return NULL;
	if (need / fs.f_frsize < fs.f_bavail)
		return NULL;
	text_size(need_text, need);
	text_size(free_text, fs.f_bavail * fs.f_frsize);
	return gs_error_create(GS_ERROR_OTHER,
			       "%s: needs %s, but its file system has only %s free; choose "
			       "another place with -o",
			       core->path, need_text, free_text);
}

static struct gs_error *write_at(struct vmcore *core, const void *data, size_t size,
				 uint64_t offset)
{
	while (size) {
		if (*core->stop)
			return gs_error_create(GS_ERROR_OTHER,
					       "%s: interrupted, nothing is left of it",
					       core->path);

		ssize_t n = pwrite(core->fd, data, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			return gs_error_errno(GS_ERROR_OTHER, n ? errno : EIO,
					      "%s: cannot write at offset %ju", core->path,
					      (uintmax_t)offset);
		}
		data = (const char *)data + n;
		size -= n;
		offset += n;
		core->result->written += n;
	}
	return NULL;
}

// Write the pages of one segment that have contents, in runs as long as they come.
static struct gs_error *write_segment(struct vmcore *core, const struct gs_segment *segment,
				      uint64_t offset, struct progress *progress)
{
	uint64_t end = segment->phys + segment->size, phys = segment->phys;

	while (gs_target_next_present(core->target, phys, &phys) && phys < end) {
		uint64_t next = phys, run = 0;

		do {
			run += GS_PAGE_SIZE;
		} while (run < WRITE_MAX && phys + run < end &&
			 gs_target_next_present(core->target, phys + run, &next) &&
			 next == phys + run);

		const void *data = gs_target_map(core->target, phys, run);

		// Short of memory for a decompressed page, or the file behind the target has shrunk.
		if (!data) {
			return gs_error_address(GS_ERROR_TARGET, phys,
						"memory at physical 0x%jx cannot be read",
						(uintmax_t)phys);
		}

		struct gs_error *err = write_at(core, data, run, offset + (phys - segment->phys));

		if (err)
			return err;
		core->result->pages += run >> GS_PAGE_SHIFT;
		progress_update(progress, core->result->written);
		phys += run;
	}
	return NULL;
}

static struct gs_error *write_all(struct vmcore *core, struct progress *progress)
{
	struct gs_error *err = write_at(core, core->head, core->head_size, 0);
	uint64_t offset = core->head_size;

	for (size_t i = 0; i < core->segment_count && !err; i++) {
		err = write_segment(core, &core->segments[i], offset, progress);
		offset += core->segments[i].size;
	}
	if (err)
		return err;
	// The length holds the hole at the end; the disk may refuse only now.
	if (ftruncate(core->fd, core->result->size) || fsync(core->fd))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", core->path);
	return NULL;
}

static struct gs_error *exists_error(const char *path)
{
	return gs_error_create(GS_ERROR_OTHER, "%s exists; --force replaces it", path);
}

static struct gs_error *move_in_place(const char *temporary, const char *path, bool force)
{
	int failed = renameat2(AT_FDCWD, temporary, AT_FDCWD, path, force ? 0 : RENAME_NOREPLACE);

	// Not every file system knows the flag (renameat2(2)); there the check above must do.
	if (failed && errno == EINVAL && !force && access(path, F_OK))
		failed = rename(temporary, path);
	if (!failed)
		return NULL;
	if (errno == EEXIST)
		return exists_error(path);
	return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
}

static struct gs_error *write_file(struct vmcore *core, const char *temporary, bool force)
{
	struct gs_error *err = check_space(core);

	if (err)
		return err;

	struct progress progress;

	progress_init(&progress, "dump", core->head_size + core->present_pages * GS_PAGE_SIZE);
	err = write_all(core, &progress);
	progress_deinit(&progress);
	return err ? err : move_in_place(temporary, core->path, force);
}

struct gs_error *vmcore_write(struct gs_kernel *kernel, const char *path, bool force,
			      const volatile bool *stop, struct vmcore_result *ret)
{
	*ret = (struct vmcore_result){};
	if (!force && !access(path, F_OK))
		return exists_error(path);

	struct vmcore core = {
		.kernel = kernel,
		.target = gs_kernel_target(kernel),
		.path = path,
		.stop = stop,
		.result = ret,
	};

	core.segments = gs_target_segments(core.target, &core.segment_count);
	ret->segments = core.segment_count;
	core.present_pages = gs_target_scan(core.target);

	struct gs_error *err = make_head(&core);
	_cleanup_free_ uint8_t *head = core.head;
	_cleanup_free_ char *temporary = NULL;

	if (err)
		return err;
	if (asprintf(&temporary, "%s.tmp-%d", path, (int)getpid()) < 0) {
		temporary = NULL;
		return &gs_enomem;
	}

	// Memory holds keys and passwords: for its owner's eyes alone.
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", temporary);
	core.fd = fd;
	err = write_file(&core, temporary, force);
	if (err)
		unlink(temporary);
	return err;
}
