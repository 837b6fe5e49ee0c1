/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Scope-bound cleanup: a variable marked with one of these is released when its scope ends.
 */
#ifndef GS_UTIL_CLEANUP_H
#define GS_UTIL_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <gpusentinel/error.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void gs_cleanup_free(void *p)
{
	free(*(void **)p);
}

/** free() at the end of the scope. */
#define _cleanup_free_ _cleanup_(gs_cleanup_free)

static inline void gs_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/** close() at the end of the scope unless negative. */
#define _cleanup_close_ _cleanup_(gs_cleanup_close)

static inline void gs_cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

/** fclose() at the end of the scope unless NULL. */
#define _cleanup_fclose_ _cleanup_(gs_cleanup_fclose)

static inline void gs_cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/** closedir() at the end of the scope unless NULL. */
#define _cleanup_closedir_ _cleanup_(gs_cleanup_closedir)

static inline void gs_cleanup_error(struct gs_error **err)
{
	gs_error_destroy(*err);
}

/** gs_error_destroy() at the end of the scope. */
#define _cleanup_error_ _cleanup_(gs_cleanup_error)

/** Hand over a pointer that has a cleanup: gives its value and leaves NULL behind. */
#define no_cleanup_ptr(p)                    \
	({                                   \
		__typeof__(p) __taken = (p); \
		(p) = NULL;                  \
		__taken;                     \
	})

/** Hand over a file descriptor that has a cleanup: gives its value and leaves -1 behind. */
#define no_cleanup_fd(fd)           \
	({                          \
		int __taken = (fd); \
		(fd) = -1;          \
		__taken;            \
	})

#endif
