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

/*
 * Questions about the watched kernel's types, with libbpf's names (bpf_core_read.h). They are answered
 * when the detector is loaded. What may be absent: a field that is asked for with
 * bpf_core_field_exists(), an enumerator with bpf_core_enum_value_exists(), everything in a type that
 * is asked for with bpf_core_type_exists(), and everything in a type named TYPE___FLAVOR. Anything else
 * that is absent refuses the detector.
 *
 * A field is written as an expression, `task->comm`, or as type and member:
 * bpf_core_field_size(struct task_struct, comm).
 */
#define __core_field_1(field) (field)
#define __core_field_2(type, member) (((type *)0)->member)
#define __core_select(_1, _2, macro, ...) macro
#define __core_field(...) __core_select(__VA_ARGS__, __core_field_2, __core_field_1)(__VA_ARGS__)

/** 1 if the field is in the watched kernel's type, else 0. */
#define bpf_core_field_exists(...) __builtin_preserve_field_info(__core_field(__VA_ARGS__), 2)
/** Bytes of the field; 0 if it is absent. */
#define bpf_core_field_size(...) \
	((size_t)__builtin_preserve_field_info(__core_field(__VA_ARGS__), 1))
/** Bytes from the start of the type to the field; loads through that of an absent field fail. */
#define bpf_core_field_offset(...) \
	((size_t)__builtin_preserve_field_info(__core_field(__VA_ARGS__), 0))
/** 1 if the field is signed. */
#define bpf_core_field_signed(...) __builtin_preserve_field_info(__core_field(__VA_ARGS__), 3)

/** 1 if the watched kernel has the type, whatever is in it. */
#define bpf_core_type_exists(type) __builtin_preserve_type_info(*(type *)0, 0)
/** sizeof(type) in the watched kernel; 0 if it is absent. */
#define bpf_core_type_size(type) ((size_t)__builtin_preserve_type_info(*(type *)0, 1))
/** 1 if the type is there and has all members that the detector declares, with kinds that agree. */
#define bpf_core_type_matches(type) __builtin_preserve_type_info(*(type *)0, 2)

/**
 * 1 if the watched kernel's enum has the enumerator:
 * bpf_core_enum_value_exists(enum zone_type, ZONE_DMA32).
 */
#define bpf_core_enum_value_exists(type, value) \
	__builtin_preserve_enum_value(*(__typeof__(type) *)value, 0)
/** Its number there; 0 if it is absent. */
#define bpf_core_enum_value(type, value) \
	__builtin_preserve_enum_value(*(__typeof__(type) *)value, 1)

/** What a detector says about itself. */
struct gs_detector_def {
	const char *name;
	/** One line on what it finds. */
	const char *description;
	/** Time between the starts of two runs, in one of two units; both 0: 1 s. */
	u32 period_ms, period_us;
	/**
	 * Threads of a block on a GPU, 1024 at most, and blocks, 64 at most; 0: 1. More than one thread is rounded up
	 * to whole warps of 32. Each of them runs the detector's body. The cpu engine runs one.
	 */
	u32 threads, blocks;
	/** Loop iterations of one thread in one run; 0: the engine's default. */
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
#define DETECTOR(id, ...)                                                                         \
	static const struct gs_detector_def gs_def_##id                                           \
		__attribute__((section(".gs.detectors"), used)) = { .name = #id, ##__VA_ARGS__ }; \
	__attribute__((section("detector/" #id), used)) void gs_run_##id(void);                   \
	void gs_run_##id(void)

/**
 * A number that whoever runs the detector may set, `gpusentinel run -p hung_task.limit_ms=500`, also while it runs. At
 * file scope, where all detectors of a file share it:
 *
 *     PARAM(limit_ms, 500, "milliseconds that a task may wait");
 *
 * limit_ms is then a u64 of which only the value can be taken. It costs no load of kernel memory. Detectors clamp what
 * must not be out of bounds.
 */
#define PARAM(id, value, text)                                                       \
	static const struct gs_param_def gs_param_##id                               \
		__attribute__((section(".gs.params"), used)) = { #id, text, value }; \
	extern const u64 id __attribute__((section(".gs.param")))

/** What PARAM() says. */
struct gs_param_def {
	const char *name, *description;
	u64 value;
};

/** Severity of a finding. */
enum severity {
	INFO = 1,
	WARNING = 2,
	ERROR = 3,
	CRITICAL = 4,
};

/**
 * Write a line of this detector's table. The format is a constant; "name=%d" names the column. %s takes a string in
 * kernel memory or a local one, %pS an address to be shown as symbol+offset.
 */
void row(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Report something that happened and that a person should know; what lasts is an alarm() (alarm.h). */
void finding(enum severity severity, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Report a number over time; the format gives name and labels: metric("cpu_idle_ns{cpu=\"%d\"}", ns, cpu). */
void metric(const char *format, u64 value, ...) __attribute__((format(printf, 1, 3)));

/** Nanoseconds of the engine's monotonic clock when this run began. */
u64 now_ns(void);
/** Runs of this detector before this one. */
u64 run_count(void);

/*
 * Threads. Those of all blocks count from 0, block by block. A thread that ends its run early (by return, or because
 * its budget is gone) takes part in all later collectives with what changes nothing: none ever waits for it.
 */

/** This thread among those of all blocks, and how many these are. */
u32 thread_index(void);
u32 thread_count(void);
/** This thread's block, and how many blocks there are. */
u32 block_index(void);
u32 block_count(void);
/** This thread within its block, and how many threads that has. */
u32 block_thread_index(void);
u32 block_thread_count(void);

/*
 * Collectives: every thread of the block calls them, in the same order; all get the same value. What a thread wrote
 * to static variables before one, all threads of its block see behind it.
 */
void block_barrier(void);
u64 block_sum(u64 value);
u64 block_min(u64 value);
u64 block_max(u64 value);
bool block_any(bool value);

/** The threads share the indices from 0 to @p n - 1; neighbours take neighbours. */
#define for_each_index(i, n) \
	for (u64 i = thread_index(), __n_##i = (n); i < __n_##i; i += thread_count())

/**
 * A queue that all threads may write to: QUEUE(found, u64, 4096) is a static variable that takes as many values. It
 * keeps them from run to run until queue_clear().
 */
#define QUEUE(name, type, capacity)    \
	static struct {                \
		u64 pushed;            \
		type values[capacity]; \
	} name

#define __queue_capacity(queue) (sizeof((queue).values) / sizeof((queue).values[0]))

/** Append @p value. @return false if the queue is full: the value is dropped, and counted. */
#define queue_push(queue, value)                                                     \
	({                                                                           \
		u64 __at = __atomic_fetch_add(&(queue).pushed, 1, __ATOMIC_RELAXED); \
		bool __fits = __at < __queue_capacity(queue);                        \
                                                                                     \
		if (__fits)                                                          \
			(queue).values[__at] = (value);                              \
		__fits;                                                              \
	})

/** Values in the queue, those that were dropped, and one of them. Behind a block_barrier(): what all threads pushed. */
#define queue_count(queue)                                                                    \
	({                                                                                    \
		u64 __pushed = __atomic_load_n(&(queue).pushed, __ATOMIC_RELAXED);            \
                                                                                              \
		__pushed < __queue_capacity(queue) ? __pushed : (u64)__queue_capacity(queue); \
	})
#define queue_dropped(queue) \
	(__atomic_load_n(&(queue).pushed, __ATOMIC_RELAXED) - queue_count(queue))
#define queue_at(queue, i) ((queue).values[i])
/** Empty it: one thread, between two barriers. */
#define queue_clear(queue) __atomic_store_n(&(queue).pushed, 0, __ATOMIC_RELAXED)

/** Pages of 4 KiB that the target's memory has. */
u64 ram_pages(void);
/** One of them in the direct map; NULL if it cannot be read now, or there is no direct map. */
const void *ram_page(u64 index);

#include <gpusentinel/alarm.h>

#endif
