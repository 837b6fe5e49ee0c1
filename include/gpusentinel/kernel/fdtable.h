/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Open files of a process, and of the system. include/linux/fdtable.h, fs/file_table.c
 */
#ifndef GPUSENTINEL_KERNEL_FDTABLE_H
#define GPUSENTINEL_KERNEL_FDTABLE_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/sched.h>

struct file;

struct fdtable {
	/** Descriptors that it has a place for. */
	unsigned int max_fds;
	/** NULL where none is open. */
	struct file **fd;
	/** A bit for each. */
	const unsigned long *open_fds;
} __kernel_type;

struct files_struct {
	struct fdtable *fdt;
	/** All below it are in use. */
	unsigned int next_fd;
} __kernel_type;

/** Open files of the system, and how many there may be. */
extern struct percpu_counter nr_files __ksym;

struct files_stat_struct {
	unsigned long max_files;
} __kernel_type;

extern struct files_stat_struct files_stat __ksym;

/** More descriptors of one process are not counted. */
#define FDS_MAX (1U << 20)

/** Descriptors of @p files that are open, as many as /proc/PID/fd shows. */
static inline unsigned int count_open_files(const struct files_struct *files)
{
	const struct fdtable *fdt = files->fdt;
	const unsigned long *open_fds = fdt->open_fds;
	u32 words = min(fdt->max_fds, FDS_MAX) / 64, count = 0;

	for (u32 i = 0; i < words; i++)
		count += __builtin_popcountll(open_fds[i]);
	return count;
}

#endif
