/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Programs, maps and links of BPF. include/linux/bpf.h, include/linux/filter.h
 */
#ifndef GPUSENTINEL_KERNEL_BPF_H
#define GPUSENTINEL_KERNEL_BPF_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/sched.h>
#include <gpusentinel/kernel/xarray.h>

#define BPF_OBJ_NAME_LEN 16
#define BPF_TAG_SIZE 8

/** include/linux/sched/user.h */
struct user_struct {
	kuid_t uid;
} __kernel_type;

struct bpf_prog_aux {
	u32 id;
	u32 used_map_cnt;
	char name[BPF_OBJ_NAME_LEN];
	/** Nanoseconds since boot. */
	u64 load_time;
	/** Who loaded it. */
	struct user_struct *user;
	/** What it is attached to when it is loaded for one function of the kernel, or NULL. */
	const char *attach_func_name;
} __kernel_type;

struct bpf_prog {
	/** enum bpf_prog_type */
	unsigned int type;
	/** Instructions, and bytes of machine code; 0: it is interpreted. */
	u32 len;
	u32 jited_len;
	/** Start of a hash over the instructions. */
	u8 tag[BPF_TAG_SIZE];
	struct bpf_prog_aux *aux;
} __kernel_type;

struct bpf_map {
	/** enum bpf_map_type */
	unsigned int map_type;
	/** Bytes. */
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 id;
	char name[BPF_OBJ_NAME_LEN];
} __kernel_type;

struct bpf_link {
	u32 id;
	/** enum bpf_link_type */
	unsigned int type;
	struct bpf_prog *prog;
} __kernel_type;

/* With CONFIG_BPF_SYSCALL. */
extern struct idr prog_idr __ksym __weak;
extern struct idr map_idr __ksym __weak;
extern struct idr link_idr __ksym __weak;

#endif
