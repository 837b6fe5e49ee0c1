/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The system as a whole: its names, its time, its health.
 */
#ifndef GPUSENTINEL_KERNEL_SYSTEM_H
#define GPUSENTINEL_KERNEL_SYSTEM_H

#include <gpusentinel/kernel/base.h>

/** include/linux/utsname.h */
#define __NEW_UTS_LEN 64

struct new_utsname {
	char sysname[__NEW_UTS_LEN + 1];
	char nodename[__NEW_UTS_LEN + 1];
	char release[__NEW_UTS_LEN + 1];
	char version[__NEW_UTS_LEN + 1];
	char machine[__NEW_UTS_LEN + 1];
} __kernel_type;

struct uts_namespace {
	struct new_utsname name;
} __kernel_type;

extern struct uts_namespace init_uts_ns __ksym;

/** The CPU that panicked, or PANIC_CPU_INVALID. */
extern int panic_cpu __ksym;
#define PANIC_CPU_INVALID -1

/** include/linux/kernel.h */
enum system_states {
	SYSTEM_RUNNING,
};

extern unsigned int system_state __ksym;

/** False while the kernel boots: its text is still being patched, its constants are not sealed. */
static __always_inline bool system_is_up(void)
{
	return system_state >= bpf_core_enum_value(enum system_states, SYSTEM_RUNNING);
}

extern unsigned long tainted_mask __ksym;
/**
 * Since Linux kernel commit 9db89b411170 ("exit: Expose "oops_count" to sysfs") (in v6.2, and
 * stable kernels).
 */
extern int oops_count __ksym __weak;

/** kernel/panic.c; the letter for a bit of tainted_mask. */
struct taint_flag {
	char c_true;
} __kernel_type;

extern const struct taint_flag taint_flags[] __ksym;

/** Load averages over 1, 5 and 15 minutes in fixed point. include/linux/sched/loadavg.h */
extern unsigned long avenrun[3] __ksym;
#define FSHIFT 11
#define FIXED_1 (1 << FSHIFT)

struct seqcount {
	unsigned int sequence;
} __kernel_type;

/** A clock as of the last update. include/linux/timekeeper_internal.h */
struct tk_read_base {
	/** Nanoseconds shifted left by @ref shift, to be added to base. */
	u64 xtime_nsec;
	u32 shift;
	ktime_t base;
} __kernel_type;

struct timekeeper {
	struct tk_read_base tkr_mono;
	/** Nanoseconds in suspend. */
	ktime_t offs_boot;
} __kernel_type;

/**
 * Since v6.13 ("timekeeping: Add struct tk_data as wrapper for timekeeper data"), timekeepers lie
 * in a struct tk_data. Before that, in an anonymous struct of a sequence counter and the
 * timekeeper.
 */
struct tk_data {
	struct timekeeper timekeeper;
} __kernel_type;

struct seqcount_raw_spinlock {
	struct seqcount seqcount;
} __kernel_type;

extern struct tk_data tk_core __ksym __weak;
/**
 * Since v6.17 ("timekeeping: Introduce timekeeper ID") an array whose first element is the
 * system's.
 */
extern struct tk_data timekeeper_data[] __ksym __weak;

/** The system's timekeeper. */
static inline struct timekeeper *tk_core_timekeeper(void)
{
	struct tk_data *data = &timekeeper_data ? &timekeeper_data[0] : &tk_core;

	if (bpf_core_type_exists(struct tk_data))
		return &data->timekeeper;
	return (struct timekeeper *)((unsigned long)&tk_core +
				     ALIGN(bpf_core_type_size(struct seqcount_raw_spinlock), 8UL));
}

/** Nanoseconds of CLOCK_MONOTONIC at the last update, as ktime_get_boottime() below. */
static inline u64 ktime_get(void)
{
	const struct timekeeper *tk = tk_core_timekeeper();
	u64 shift = tk->tkr_mono.shift & 63;

	return tk->tkr_mono.base + (tk->tkr_mono.xtime_nsec >> shift);
}

/**
 * Nanoseconds since boot, time in suspend included, as of the last tick of the CPU that keeps the
 * time: what has passed since then is in a hardware counter, not in memory. It stands still when
 * the machine does.
 */
static inline u64 ktime_get_boottime(void)
{
	return ktime_get() + tk_core_timekeeper()->offs_boot;
}

/** arch/x86/include/asm/processor.h */
#define X86_FEATURE_HYPERVISOR (4 * 32 + 31)

struct cpuinfo_x86 {
	/** Bits X86_FEATURE_*. */
	u32 x86_capability[X86_FEATURE_HYPERVISOR / 32 + 1];
} __kernel_type;

extern struct cpuinfo_x86 boot_cpu_data __ksym;

/** Whether the kernel runs in a virtual machine that does not hide it. */
static inline bool on_hypervisor(void)
{
	return boot_cpu_data.x86_capability[X86_FEATURE_HYPERVISOR / 32] >>
		       (X86_FEATURE_HYPERVISOR % 32) &
	       1;
}

#endif
