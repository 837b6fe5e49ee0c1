/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/gpusentinel: this machine's memory, read-only, for a process that hands it to a GPU.
 *
 * open(O_RDONLY) needs CAP_SYS_RAWIO and a kernel that is not locked down, and succeeds for one opener at a
 * time: EPERM, EBUSY. All else is for the process that opened it, not for what it forks or executes: EPERM.
 *
 * mmap(MAP_SHARED, PROT_READ or PROT_NONE) at an offset that is a physical address maps RAM: a range that
 * lies in one range of GPUSENTINEL_IOC_MAP, else ENXIO. Pages appear when they are first touched, a block of
 * 2 MiB at a time; by one entry of the page tables, where the kernel has such, if address and offset are the same
 * modulo 2 MiB. A page that was poisoned before it appeared gives SIGBUS.
 *
 * poll() reports POLLPRI when memory has come or gone since the last GPUSENTINEL_IOC_MAP. Memory that was mapped
 * does not go offline before the device is closed. While some other memory is on its way offline, mmap() and
 * GPUSENTINEL_IOC_MAP fail with EAGAIN.
 */
#ifndef _UAPI_GPUSENTINEL_H
#define _UAPI_GPUSENTINEL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Grows when what is there changes its meaning; what is new gets a new ioctl. */
#define GPUSENTINEL_ABI 1

/**
 * struct gpusentinel_info - how the kernel's memory is translated
 * @abi: GPUSENTINEL_ABI of the module.
 * @page_table_levels: 4 or 5.
 * @page_table_root: physical address of the kernel's own top-level page table; 0 if VMCOREINFO does not name it.
 * @phys_base: physical address of the kernel's image, less its offset from __START_KERNEL_map.
 * @vmcoreinfo: physical address of the ELF note with VMCOREINFO; 0 if there is none.
 * @vmcoreinfo_size: bytes of the text in it, for GPUSENTINEL_IOC_VMCOREINFO.
 * @reserved: 0.
 */
struct gpusentinel_info {
	__u32 abi;
	__u32 page_table_levels;
	__u64 page_table_root;
	__u64 phys_base;
	__u64 vmcoreinfo;
	__u32 vmcoreinfo_size;
	__u32 reserved;
};

/**
 * struct gpusentinel_range - System RAM that is online and not poisoned
 * @start: physical address, a multiple of the page size.
 * @size: bytes, a multiple of the page size.
 */
struct gpusentinel_range {
	__u64 start;
	__u64 size;
};

/**
 * struct gpusentinel_map - the ranges, in order of their addresses
 * @ranges: address of an array of struct gpusentinel_range.
 * @capacity: elements of it.
 * @count: out: how many there are; no more than @capacity, and 65536, were written.
 * @generation: out: grows when memory comes or goes.
 */
struct gpusentinel_map {
	__u64 ranges;
	__u32 capacity;
	__u32 count;
	__u64 generation;
};

/**
 * struct gpusentinel_text - the text of VMCOREINFO
 * @text: address of a buffer.
 * @capacity: bytes of it.
 * @size: out: bytes of the text, not terminated; no more than @capacity were written.
 */
struct gpusentinel_text {
	__u64 text;
	__u32 capacity;
	__u32 size;
};

#define GPUSENTINEL_IOC_INFO _IOR('S', 0xa0, struct gpusentinel_info)
#define GPUSENTINEL_IOC_MAP _IOWR('S', 0xa1, struct gpusentinel_map)
#define GPUSENTINEL_IOC_VMCOREINFO _IOWR('S', 0xa2, struct gpusentinel_text)

#endif
