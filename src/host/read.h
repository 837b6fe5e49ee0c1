/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the kernel tells of this machine in files. Each path is below a root, "" for this machine: tests make trees.
 */
#ifndef GS_HOST_READ_H
#define GS_HOST_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Up to @p size - 1 bytes of the start of a file; @p buf ends with a NUL. @return how many; negative: it cannot be read. */
int host_read(const char *root, const char *path, char *buf, size_t size);
/** Its first line, without newline. */
bool host_read_line(const char *root, const char *path, char *buf, size_t size);
/** Its first line is a decimal number, and nothing else. */
bool host_read_number(const char *root, const char *path, int64_t *ret);
/** The kernel's lockdown: "none", "integrity", "confidentiality". False: it cannot be read. */
bool host_lockdown(const char *root, char *ret, size_t size);
bool host_exists(const char *root, const char *path);

/** Whether a file of words has one; anywhere in its first megabyte. */
bool host_has_word(const char *root, const char *path, const char *word);

/**
 * Names in a directory, sorted; without those that begin with a dot.
 * @return how many there are, up to 64; @p names_ret ends with host_free_names().
 */
size_t host_list(const char *root, const char *path, char **names_ret[]);
void host_free_names(char **names, size_t count);

#endif
