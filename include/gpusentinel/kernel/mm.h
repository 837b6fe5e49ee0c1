/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Memory management: counters, zones, swap, huge pages, what a process has resident.
 *
 * Unless it says otherwise a number counts pages.
 */
#ifndef GPUSENTINEL_KERNEL_MM_H
#define GPUSENTINEL_KERNEL_MM_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/fs.h>

/*
 * Members of mm_struct.rss_stat. An anonymous enum since Linux kernel commit eca56ff906bd ("mm,
 * shmem: add internal shmem resident memory accounting") (in v4.5).
 */
enum {
	MM_FILEPAGES,
	MM_ANONPAGES,
	MM_SWAPENTS,
	MM_SHMEMPAGES,
	NR_MM_COUNTERS,
};

/** Address space of a process. include/linux/mm_types.h */
struct mm_struct {
	struct percpu_counter rss_stat[NR_MM_COUNTERS];
	/** Most resident pages so far; may lag behind what is resident now. */
	unsigned long hiwater_rss;
	/** Bytes of its page tables. */
	atomic_long_t pgtables_bytes;
} __kernel_type;

/**
 * Since Linux kernel commit f1a7941243c1 ("mm: convert mm's rss stats into percpu_counter") (in
 * v6.2), rss_stat is an array of percpu_counter. Before that, it is a struct of atomics.
 */
struct mm_rss_stat {
	atomic_long_t count[NR_MM_COUNTERS];
} __kernel_type;

struct mm_struct___rss_atomic {
	struct mm_rss_stat rss_stat;
} __kernel_type;

/** One of MM_*PAGES. */
static inline unsigned long get_mm_counter(const struct mm_struct *mm, int member)
{
	if (bpf_core_type_exists(struct mm_rss_stat)) {
		const struct mm_struct___rss_atomic *old =
			(const struct mm_struct___rss_atomic *)mm;

		return max((&old->rss_stat.count[0].counter)[member], (s64)0);
	}
	return percpu_counter_sum_positive(kernel_array_at(mm->rss_stat, member));
}

/**
 * Resident pages. /proc/PID/status shows this sum since Linux kernel commit 82241a83cd15 ("mm:
 * fix the inaccurate memory statistics issue for users") (in v6.16, and stable kernels);
 * /proc/PID/stat still leaves out what CPUs have not yet added up, as status did from v6.2 on.
 */
static inline unsigned long get_mm_rss(const struct mm_struct *mm)
{
	return get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_ANONPAGES) +
	       get_mm_counter(mm, MM_SHMEMPAGES);
}

/**
 * include/linux/mmzone.h. Values differ from kernel to kernel: enumerators are only ever named in
 * node_page_state() and zone_page_state(), which ask for them.
 */
enum node_stat_item {
	NR_INACTIVE_ANON,
	NR_ACTIVE_ANON,
	NR_INACTIVE_FILE,
	NR_ACTIVE_FILE,
	NR_UNEVICTABLE,
	NR_SLAB_RECLAIMABLE_B,
	NR_SLAB_UNRECLAIMABLE_B,
	NR_ANON_MAPPED,
	NR_FILE_MAPPED,
	NR_FILE_PAGES,
	NR_FILE_DIRTY,
	NR_WRITEBACK,
	NR_WRITEBACK_TEMP,
	NR_SHMEM,
	NR_SHMEM_THPS,
	NR_SHMEM_PMDMAPPED,
	NR_FILE_THPS,
	NR_FILE_PMDMAPPED,
	NR_ANON_THPS,
	NR_KERNEL_MISC_RECLAIMABLE,
	/** KiB */
	NR_KERNEL_STACK_KB,
	/**
	 * Since Linux kernel commit f0c0c115fb81 ("mm: memcontrol: account pagetables per node")
	 * (in v5.11). Before that, it counts in zones.
	 */
	NR_PAGETABLE,
	/**
	 * Since Linux kernel commit ebc97a52b5d6 ("mm: add NR_SECONDARY_PAGETABLE to count
	 * secondary page table uses.") (in v6.1).
	 */
	NR_SECONDARY_PAGETABLE,
	/**
	 * Since Linux kernel commit b6038942480e ("mm: memcg: add swapcache stat for memcg v2")
	 * (in v5.12). Before that, the pages of swapper_spaces[] are added up.
	 */
	NR_SWAPCACHE,
	/** New in 7.x. Before that, nr_vmalloc_pages. */
	NR_VMALLOC,
	NR_BALLOON_PAGES,
	NR_GPU_ACTIVE,
	NR_GPU_RECLAIM,
};

enum zone_stat_item {
	NR_FREE_PAGES,
	NR_MLOCK,
	NR_BOUNCE,
	NR_FREE_CMA_PAGES,
	NR_UNACCEPTED,
	/** Pages of zsmalloc, which zram and zswap store in; with CONFIG_ZSMALLOC. */
	NR_ZSPAGES,
};

/**
 * Sums over all nodes and zones, as /proc/meminfo shows them: without what CPUs keep to
 * themselves up to their thresholds, and possibly below zero.
 */
extern s64 vm_node_stat[] __ksym;
extern s64 vm_zone_stat[] __ksym;

#define global_node_page_state(item) \
	((unsigned long)max(vm_node_stat[bpf_core_enum_value(enum node_stat_item, item)], (s64)0))
#define global_zone_page_state(item) \
	((unsigned long)max(vm_zone_stat[bpf_core_enum_value(enum zone_stat_item, item)], (s64)0))

/** Pages that hold page tables. */
static inline unsigned long global_pagetable_pages(void)
{
	if (bpf_core_enum_value_exists(enum node_stat_item, NR_PAGETABLE))
		return global_node_page_state(NR_PAGETABLE);

	// C gives a name to one enumerator in a scope: here it is the one of zones.
	enum zone_stat_item___pagetable {
		NR_PAGETABLE,
	};

	return max(vm_zone_stat[bpf_core_enum_value(enum zone_stat_item___pagetable, NR_PAGETABLE)],
		   (s64)0);
}

/** Events of virtual memory, counted by each CPU. include/linux/vm_event_item.h */
enum vm_event_item {
	OOM_KILL,
};

struct vm_event_state {
	unsigned long event[1];
} __kernel_type;

extern struct vm_event_state vm_event_states __ksym;

/** One event's count since boot; of all possible CPUs, as percpu_counter_sum_positive(). */
static inline unsigned long vm_events(unsigned int item)
{
	unsigned long sum = 0;
	unsigned int cpu;

	for_each_possible_cpu (cpu) {
		unsigned long *event = per_cpu_ptr(&vm_event_states, cpu)->event;

		sum += event[item];
	}
	return sum;
}

enum zone_watermarks {
	WMARK_LOW = 1,
};

enum zone_type {
	__MAX_NR_ZONES = 5,
};

/** Free blocks of one order. */
struct free_area {
	unsigned long nr_free;
} __kernel_type;

/**
 * Orders of blocks are counted from 0. MAX_ORDER, the first that there is not, until v6.4 ("mm, treewide: redefine
 * MAX_ORDER sanely"); now MAX_PAGE_ORDER. It is 10 or 11 on x86-64 and part of no type.
 */
#define NR_PAGE_ORDERS 11

struct zone {
	unsigned long _watermark[4];
	unsigned long watermark_boost;
	/** Pages that the allocator has of it; 0: the zone is empty. */
	atomic_long_t managed_pages;
	const char *name;
	struct free_area free_area[1];
} __kernel_type;

/** A NUMA node. */
struct per_cpu_zonestat {
	s8 stat_threshold;
} __kernel_type;

struct pglist_data {
	struct zone node_zones[1];
} __kernel_type;

/** include/linux/numa.h: nodes that a kernel may be built for on x86-64. */
#define MAX_NUMNODES 1024

/** CONFIG_NUMA: the nodes, NULL where there is none. */
extern struct pglist_data *node_data[] __ksym __weak;
extern unsigned int nr_node_ids __ksym __weak;
/** Not CONFIG_NUMA: the only node. */
extern struct pglist_data contig_page_data __ksym __weak;

/** Node @p nid, or NULL. */
static inline struct pglist_data *NODE_DATA(unsigned int nid)
{
	if (&node_data)
		return node_data[nid];
	return nid == 0 ? &contig_page_data : NULL;
}

static inline unsigned int nr_nodes(void)
{
	return &nr_node_ids ? min(nr_node_ids, (unsigned int)MAX_NUMNODES) : 1;
}

static inline unsigned long low_wmark_pages(const struct zone *zone)
{
	return (&zone->_watermark[0])[bpf_core_enum_value(enum zone_watermarks, WMARK_LOW)] +
	       zone->watermark_boost;
}

/* atomic_long_t variables are declared as s64. */
extern s64 _totalram_pages __ksym;
extern unsigned long totalreserve_pages __ksym;

/** Committed address space. */
extern struct percpu_counter vm_committed_as __ksym;
extern unsigned long sysctl_overcommit_kbytes __ksym __weak;
extern int sysctl_overcommit_ratio __ksym __weak;

/** include/linux/swap.h */
#define SWP_USED (1UL << 0)
#define SWP_WRITEOK (1UL << 1)
/** Upper bound of MAX_SWAPFILES: swap types take five bits of a page-table entry. */
#define MAX_SWAPFILES 32

struct swap_info_struct {
	unsigned long flags;
	/**
	 * An atomic_long_t whose bit 62 is a flag since Linux kernel commit b228386cf237 ("mm,
	 * swap: clean up plist removal and adding") (in v6.14), unsigned int before:
	 * kernel_read_unsigned().
	 */
	unsigned int inuse_pages;
} __kernel_type;

#define SWAP_USAGE_OFFLIST_BIT (1UL << 62)

extern struct swap_info_struct *swap_info[] __ksym __weak;
extern unsigned int nr_swapfiles __ksym __weak;
extern s64 nr_swap_pages __ksym __weak;
extern long total_swap_pages __ksym __weak;
/** Arrays of swap cache, one a swap area, where NR_SWAPCACHE is not counted. */
extern struct address_space *swapper_spaces[] __ksym __weak;
extern unsigned int nr_swapper_spaces[] __ksym __weak;

/** A size of huge pages. include/linux/hugetlb.h */
struct hstate {
	unsigned int order;
	unsigned long nr_huge_pages;
	unsigned long free_huge_pages;
	unsigned long resv_huge_pages;
	unsigned long surplus_huge_pages;
} __kernel_type;

/** Upper bound of HUGE_MAX_HSTATE: x86-64 has pages of 2 MiB and 1 GiB. */
#define HUGE_MAX_HSTATE 8

extern struct hstate hstates[] __ksym __weak;
extern int hugetlb_max_hstate __ksym __weak;
extern unsigned int default_hstate_idx __ksym __weak;

extern s64 nr_vmalloc_pages __ksym __weak;
/** Entries of a fourth-level table; 512 with 5-level paging, else 1. */
extern unsigned int ptrs_per_p4d __ksym __weak;
/** Pages of one unit of the per-CPU allocator, and units. */
extern unsigned long pcpu_nr_populated __ksym __weak;
extern int pcpu_nr_units __ksym __weak;
extern s64 num_poisoned_pages __ksym __weak;
extern unsigned long totalcma_pages __ksym __weak;
/** With CONFIG_CMA only, unlike totalcma_pages. */
extern unsigned int cma_area_count __ksym __weak;
/** Direct map: number of entries at each level. */
extern unsigned long direct_pages_count[] __ksym __weak;
extern int direct_gbpages __ksym __weak;

enum pg_level {
	PG_LEVEL_4K = 1,
	PG_LEVEL_2M = 2,
	PG_LEVEL_1G = 3,
};

#endif
