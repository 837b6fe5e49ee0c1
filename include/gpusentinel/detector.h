/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a detector includes: how it is declared, how it reports, and how it asks about the kernel.
 *
 * A detector is plain C over kernel types (kernel.h). Every load of kernel memory is translated by llview; a load
 * that cannot be translated yields zero and is counted. Every loop is bounded by a budget. See docs/detectors.md.
 */
#ifndef GPUSENTINEL_DETECTOR_H
#define GPUSENTINEL_DETECTOR_H

#ifndef __bpf__
#error "detectors are compiled by llview"
#endif

typedef __UINT8_TYPE__ u8;
typedef __UINT16_TYPE__ u16;
typedef __UINT32_TYPE__ u32;
typedef unsigned long long u64;
typedef __INT8_TYPE__ s8;
typedef __INT16_TYPE__ s16;
typedef __INT32_TYPE__ s32;
typedef long long s64;
typedef __SIZE_TYPE__ size_t;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/** A symbol of the watched kernel, as in /proc/kallsyms; `__weak` if it may be absent (its address is then NULL). */
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))

/** Types whose layout is asked from the watched kernel; kernel.h puts it on everything that it declares. */
#define __kernel_type __attribute__((preserve_access_index))

/** What a detector says about itself. */
struct gs_detector_def {
	const char *name;
	/** One line on what it finds. */
	const char *description;
	/** Milliseconds between the starts of two runs; 0: 1000. */
	u32 period_ms;
	/** Loop iterations in one run; 0: the engine's default. */
	u64 budget;
	/** Bytes of records that a run may write; 0: the engine's default. */
	u64 output;
};

/**
 * Define a detector:
 *
 *     DETECTOR(processes, .period_ms = 100)
 *     {
 *             struct task_struct *p;
 *
 *             for_each_process(p)
 *                     row("pid=%d comm=%s", p->pid, p->comm);
 *     }
 */
#define DETECTOR(id, ...)                                                                          \
	static const struct gs_detector_def gs_def_##id                                            \
		__attribute__((section(".gs.detectors"), used)) = { .name = #id, ##__VA_ARGS__ };  \
	__attribute__((section("detector/" #id), used)) void gs_run_##id(void);                    \
	void gs_run_##id(void)

/** Severity of a finding. */
enum severity {
	INFO = 1,
	WARNING = 2,
	CRITICAL = 3,
};

/**
 * Write a line of this detector's table. The format is a constant; "name=%d" names the column. %s takes a string in
 * kernel memory or a local one, %pS an address to be shown as symbol+offset.
 */
void row(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Report something that a person should know. */
void finding(enum severity severity, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Report a number over time; the format gives name and labels: metric("cpu_idle_ns{cpu=\"%d\"}", ns, cpu). */
void metric(const char *format, u64 value, ...) __attribute__((format(printf, 1, 3)));

/** Nanoseconds of the engine's monotonic clock when this run began. */
u64 now_ns(void);
/** Runs of this detector before this one. */
u64 run_count(void);
/** This thread of the detector, and how many there are. */
u32 thread_index(void);
u32 thread_count(void);

#endif
