/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Errors of libgpusentinel.
 *
 * A function that can fail returns `struct gs_error *`: NULL on success, else an object that carries one
 * line for people (what, where, what to do) and a code for programs. The caller owns it and ends it with
 * gs_error_destroy().
 */
#ifndef GPUSENTINEL_ERROR_H
#define GPUSENTINEL_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * What went wrong. The values are the exit codes of the `gpusentinel` program, hence part of the
 * interface: they do not change once released.
 */
enum gs_error_code {
	/** Success; no error object carries it. */
	GS_OK = 0,
	/** An operating system or library call failed (memory, files, I/O). */
	GS_ERROR_OTHER = 1,
	/** The command line is wrong. */
	GS_ERROR_USAGE = 2,
	/** The target cannot be opened: absent, no permission, not shared, truncated, unknown format. */
	GS_ERROR_TARGET = 3,
	/** The memory holds no Linux kernel that can be read: no VMCOREINFO, kallsyms, BTF, bad page tables. */
	GS_ERROR_KERNEL = 4,
	/** A detector is refused: damaged file, unknown field, missing symbol. */
	GS_ERROR_DETECTOR = 5,
	/** The engine cannot run here. */
	GS_ERROR_ENGINE = 6,
	/**
	 * Results are there but incomplete: a budget ran out, or memory that the walk needed could not be
	 * translated. What was found has been delivered.
	 */
	GS_ERROR_INCOMPLETE = 7,
};

/** An error. */
struct gs_error {
	enum gs_error_code code;
	/** True if @ref address says where in the target it happened. */
	bool has_address;
	/** Virtual or physical address in the target; the message says which. */
	uint64_t address;
	/** One line without newline. */
	char *message;
};

/** Out of memory: a static object, so that reporting it needs no memory. */
extern struct gs_error gs_enomem;

/** Create an error; never returns NULL (@ref gs_enomem if memory is short). */
struct gs_error *gs_error_create(enum gs_error_code code, const char *format, ...)
	__attribute__((format(printf, 2, 3), returns_nonnull));

/** The same, from a list of arguments. */
struct gs_error *gs_error_vcreate(enum gs_error_code code, const char *format, va_list ap)
	__attribute__((format(printf, 2, 0), returns_nonnull));

/** Create an error about the place @p address in the target. */
struct gs_error *gs_error_address(enum gs_error_code code, uint64_t address, const char *format,
				  ...) __attribute__((format(printf, 3, 4), returns_nonnull));

/** Create an error from errno: "<formatted>: <strerror>". */
struct gs_error *gs_error_errno(enum gs_error_code code, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4), returns_nonnull));

/**
 * Put context before a message: "<formatted>: <old message>". Takes @p err and returns the new object;
 * NULL stays NULL.
 */
struct gs_error *gs_error_prefix(struct gs_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** End an error object; NULL is allowed. */
void gs_error_destroy(struct gs_error *err);

#endif
