/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <gpusentinel/detector.h>

struct list_head {
	struct list_head *next, *prev;
} __kernel_type;

struct load {
	u64 weight;
	union {
		u32 inverse;
		u16 half[2];
	};
} __kernel_type;

struct task_struct {
	int pid;
	char comm[16];
	struct list_head tasks;
	struct load load[3];
	unsigned int in_execve : 1;
	int nice : 6;
	unsigned long long wide : 40;
	struct task_struct *parent;
	const char *name;
} __kernel_type;

extern struct task_struct init_task __ksym;

#define next_task(p)                                      \
	((struct task_struct *)((char *)(p)->tasks.next - \
				bpf_core_field_offset(struct task_struct, tasks)))
