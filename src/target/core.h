/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Memory saved in a file: what the formats share. Each format is one file and one row in core.c.
 */
#ifndef GS_TARGET_CORE_H
#define GS_TARGET_CORE_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/target.h>

/** An opened file. */
struct gs_core {
	/** Opened for reading; -1 once handed over. */
	int fd;
	const char *path;
	/** Bytes in the file. */
	uint64_t size;
};

/**
 * Read exactly @p size bytes at @p offset.
 * @return GS_ERROR_TARGET "truncated: @p what ..., N bytes are missing", or what the system says.
 */
struct gs_error *gs_core_read(const struct gs_core *core, uint64_t offset, void *buf, size_t size,
			      const char *what);

/** Check that @p size bytes at @p offset are in the file; otherwise as gs_core_read(). */
struct gs_error *gs_core_check(const struct gs_core *core, uint64_t offset, uint64_t size,
			       const char *what);

struct gs_filemem;

/**
 * Make a target of the file, which becomes source 0, and the ranges in @p mem.
 *
 * @param mem From malloc(), with ranges but no sources; always taken, also on error.
 */
struct gs_error *gs_core_create(struct gs_core *core, struct gs_filemem *mem,
				struct gs_target **ret);

/** ELF64 vmcore as /proc/vmcore, makedumpfile -E and QEMU's dump-guest-memory write it. */
struct gs_error *gs_elf_open(struct gs_core *core, struct gs_target **ret);

/** LiME version 1: github.com/504ensicsLabs/LiME, doc/README "lime" format. */
struct gs_error *gs_lime_open(struct gs_core *core, struct gs_target **ret);

/** Core compressed by makedumpfile or by QEMU's dump-guest-memory -z, -l, -s. */
struct gs_error *gs_kdump_open(struct gs_core *core, struct gs_target **ret);

/** Raw image; @p layout as in struct gs_target_options. */
struct gs_error *gs_raw_open(struct gs_core *core, const char *layout, struct gs_target **ret);

/**
 * Replace a file in makedumpfile's flattened format (makedumpfile -F, QEMU's default for compressed
 * dumps) by what it describes, in an unnamed file in $TMPDIR or /var/tmp.
 */
struct gs_error *gs_flat_expand(struct gs_core *core);

#endif
