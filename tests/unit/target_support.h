/* SPDX-License-Identifier: Apache-2.0 */
// What the tests of targets share: cores made on the spot.
#ifndef TARGET_SUPPORT_H
#define TARGET_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <gpusentinel/target.h>

#define PAGE 4096ul

// A file under construction, in a memfd that the target opens by path.
struct image {
	int fd;
	char spec[64];
};

static inline struct image image_create(void)
{
	struct image image = { .fd = memfd_create("image", MFD_CLOEXEC) };

	assert_true(image.fd >= 0);
	snprintf(image.spec, sizeof(image.spec), "core:/proc/self/fd/%d", image.fd);
	return image;
}

static inline void image_write(struct image *image, uint64_t offset, const void *data, size_t size)
{
	assert_int_equal(pwrite(image->fd, data, size, offset), size);
}

// Each page of memory begins with its own number, so that a test sees where bytes come from.
static inline void image_write_pages(struct image *image, uint64_t offset, uint64_t pages,
				     uint64_t first)
{
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t page[PAGE / 8] = { first + i };

		image_write(image, offset + i * PAGE, page, PAGE);
	}
}

static inline void image_resize(struct image *image, uint64_t size)
{
	assert_int_equal(ftruncate(image->fd, size), 0);
}

static inline uint64_t image_blocks(const struct image *image)
{
	struct stat st;

	assert_int_equal(fstat(image->fd, &st), 0);
	return st.st_blocks;
}

static inline Elf64_Ehdr elf_header(uint64_t segments)
{
	return (Elf64_Ehdr){
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = segments,
	};
}

static inline Elf64_Phdr elf_load(uint64_t phys, uint64_t offset, uint64_t filesz, uint64_t memsz)
{
	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offset,
		.p_paddr = phys,
		.p_filesz = filesz,
		.p_memsz = memsz,
	};
}

static inline void image_write_elf(struct image *image, const Elf64_Phdr *phdrs, size_t count)
{
	Elf64_Ehdr ehdr = elf_header(count);

	image_write(image, 0, &ehdr, sizeof(ehdr));
	image_write(image, sizeof(ehdr), phdrs, count * sizeof(*phdrs));
}

static inline struct gs_target *open_layout(const char *spec, const char *layout)
{
	struct gs_target_options options = { .size = sizeof(options), .layout = layout };
	struct gs_target *target;
	struct gs_error *err = gs_target_open(spec, &options, &target);

	if (err)
		fail_msg("%s", err->message);
	return target;
}

static inline struct gs_target *open_target(const char *spec)
{
	return open_layout(spec, NULL);
}

// Opening must fail with this code, in one line that holds this text.
static inline void assert_refused_layout(const char *spec, const char *layout,
					 enum gs_error_code code, const char *text)
{
	struct gs_target_options options = { .size = sizeof(options), .layout = layout };
	struct gs_target *target;
	struct gs_error *err = gs_target_open(spec, &options, &target);

	assert_non_null(err);
	if (!strstr(err->message, text) || strchr(err->message, '\n'))
		fail_msg("message is: %s", err->message);
	assert_int_equal(err->code, code);
	gs_error_destroy(err);
}

static inline void assert_refused(const char *spec, const char *text)
{
	assert_refused_layout(spec, NULL, GS_ERROR_TARGET, text);
}

static inline uint64_t read_u64(struct gs_target *target, uint64_t phys)
{
	uint64_t value;
	struct gs_error *err = gs_target_read(target, phys, &value, sizeof(value));

	if (err)
		fail_msg("%s", err->message);
	return value;
}

static inline void assert_no_memory(struct gs_target *target, uint64_t phys)
{
	uint8_t byte;
	struct gs_error *err = gs_target_read(target, phys, &byte, 1);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_TARGET);
	gs_error_destroy(err);
}

static inline size_t count_segments(struct gs_target *target)
{
	size_t count;

	gs_target_segments(target, &count);
	return count;
}

#endif
