// SPDX-License-Identifier: Apache-2.0
// What the system is, how long it has been up, and how it fares.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define TAINT_BITS 64

static unsigned int cpumask_weight(const unsigned long *mask)
{
	unsigned int weight = 0, cpu;

	for (cpu = 0; cpu < nr_cpumask_bits(); cpu++)
		weight += cpumask_test_cpu(cpu, mask);
	return weight;
}

// /proc/loadavg shows two decimals, rounded (fs/proc/loadavg.c).
static double load(unsigned long avenrun)
{
	u64 load = avenrun + FIXED_1 / 200;

	return ((load >> FSHIFT) * 100 + (((load & (FIXED_1 - 1)) * 100) >> FSHIFT)) / 100.0;
}

static void show_taint(unsigned long mask)
{
	char flags[TAINT_BITS + 1];
	unsigned int len = 0;

	for (unsigned int bit = 0; bit < TAINT_BITS; bit++) {
		if ((mask >> bit) & 1)
			flags[len++] = kernel_array_at(taint_flags, bit)->c_true;
	}
	flags[len] = 0;
	row("tainted=%lu", mask);
	row("taint_flags=%s", flags);
}

DETECTOR(system, .description = "names, uptime, load and health of the system", .period_ms = 100)
{
	row("release=%s", init_uts_ns.name.release);
	row("version=%s", init_uts_ns.name.version);
	row("machine=%s", init_uts_ns.name.machine);
	row("hostname=%s", init_uts_ns.name.nodename);
	row("uptime_ns=%llu", ktime_get_boottime());
	row("load1=%.2f", load(avenrun[0]));
	row("load5=%.2f", load(avenrun[1]));
	row("load15=%.2f", load(avenrun[2]));
	row("cpus_online=%u", cpumask_weight(__cpu_online_mask));
	row("cpus_possible=%u", cpumask_weight(__cpu_possible_mask));
	row("panic_cpu=%d", panic_cpu);
	show_taint(tainted_mask);
	if (&oops_count)
		row("oops_count=%d", oops_count);
}
