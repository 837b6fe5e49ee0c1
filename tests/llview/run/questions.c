// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

struct task_struct___old {
	long state;
} __kernel_type;

struct folio {
	unsigned long flags;
} __kernel_type;

enum zone_type { ZONE_DMA, ZONE_DMA32 };

extern enum { MIB_DROPS = 4 } mib_items;

extern int jiffies __ksym __weak;

DETECTOR(questions)
{
	struct task_struct *p = &init_task;

	row("%u %zu %zu %u", bpf_core_field_exists(p->comm), bpf_core_field_size(p->comm),
	    bpf_core_field_offset(struct task_struct, load[2].inverse),
	    bpf_core_field_signed(p->pid));
	row("%u %zu", bpf_core_type_exists(struct folio), bpf_core_type_size(struct folio));
	row("%llu %llu", (u64)bpf_core_enum_value_exists(enum zone_type, ZONE_DMA32),
	    (u64)bpf_core_enum_value(enum zone_type, ZONE_DMA32));
	row("%llu", (u64)bpf_core_enum_value(typeof(mib_items), MIB_DROPS));
	row("%ld", ((struct task_struct___old *)p)->state);
	row("%s", &jiffies ? "ticks" : "no ticks");
	if (&jiffies)
		row("%d", jiffies);
	if (bpf_core_field_exists(p->name))
		row("%s", p->name);
}
