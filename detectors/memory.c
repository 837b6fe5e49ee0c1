// SPDX-License-Identifier: Apache-2.0
// /proc/meminfo, and what eats the memory when little is left.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

PARAM(warn_percent, 10, "percent of MemTotal: less MemAvailable is a warning");
PARAM(critical_percent, 5, "percent of MemTotal: less MemAvailable is critical");
PARAM(clear_percent, 15, "percent of MemTotal: with more MemAvailable memory is no longer short");

ALARMS(shortage, 1, .fall_ms = 500);

// Percent of MemTotal: below, the largest process is remembered, since it may be gone when the OOM
// killer's work is seen.
#define WATCH_PERCENT 25

// 5-level and 4-level paging: arch/x86/include/asm/pgtable_64_types.h.
#define VMALLOC_SIZE_TB_L5 12800UL
#define VMALLOC_SIZE_TB_L4 32UL

// Huge pages of 2 MiB.
#define HPAGE_PMD_ORDER 9

// What a process is called and has resident.
struct eater {
	int pid;
	char comm[TASK_COMM_LEN];
	unsigned long rss;
};

static struct eater largest;
static bool is_short;
static unsigned long seen_oom_kills;

#define show_val_kb(name, pages) row(name "=%lu", (unsigned long)(pages) << (PAGE_SHIFT - 10))

#define show_node_stat(name, item)                                         \
	do {                                                               \
		if (bpf_core_enum_value_exists(enum node_stat_item, item)) \
			show_val_kb(name, global_node_page_state(item));   \
	} while (0)

// The state that findings depend on.
struct meminfo {
	unsigned long total, available;
};

// block/bdev.c
static unsigned long nr_blockdev_pages(void)
{
	unsigned long pages = 0;
	struct inode *inode;

	list_for_each_entry (inode, &blockdev_superblock->s_inodes, i_sb_list)
		pages += inode->i_mapping->nrpages;
	return pages;
}

// mm/swap_state.c
static unsigned long total_swapcache_pages(void)
{
	unsigned long pages = 0;

	if (bpf_core_enum_value_exists(enum node_stat_item, NR_SWAPCACHE))
		return global_node_page_state(NR_SWAPCACHE);
	if (!&swapper_spaces || !&nr_swapper_spaces || !&swap_info)
		return 0;
	for (unsigned int type = 0; type < MAX_SWAPFILES; type++) {
		if (!swap_info[type])
			continue;
		for (unsigned int i = 0; i < nr_swapper_spaces[type]; i++)
			pages += kernel_array_at(swapper_spaces[type], i)->nrpages;
	}
	return pages;
}

static unsigned long low_wmark_pages_total(void)
{
	unsigned int zones =
		min((unsigned int)bpf_core_enum_value(enum zone_type, __MAX_NR_ZONES), 16U);
	unsigned long pages = 0;

	for (unsigned int nid = 0; nid < nr_nodes(); nid++) {
		struct pglist_data *pgdat = NODE_DATA(nid);

		for (unsigned int i = 0; pgdat && i < zones; i++)
			pages += low_wmark_pages(kernel_array_at(pgdat->node_zones, i));
	}
	return pages;
}

// mm/show_mem.c
static unsigned long si_mem_available(void)
{
	unsigned long wmark_low = low_wmark_pages_total();
	long available = global_zone_page_state(NR_FREE_PAGES) - totalreserve_pages;
	unsigned long pagecache =
		global_node_page_state(NR_ACTIVE_FILE) + global_node_page_state(NR_INACTIVE_FILE);
	unsigned long reclaimable = global_node_page_state(NR_SLAB_RECLAIMABLE_B) +
				    global_node_page_state(NR_KERNEL_MISC_RECLAIMABLE);

	available += pagecache - min(pagecache / 2, wmark_low);
	available += reclaimable - min(reclaimable / 2, wmark_low);
	return max(available, 0L);
}

// mm/swapfile.c, si_swapinfo(): areas that are being turned off still count with what they hold.
static void show_swap(void)
{
	unsigned int types = &nr_swapfiles ? min(nr_swapfiles, (unsigned int)MAX_SWAPFILES) : 0;
	unsigned long to_be_unused = 0;

	for (unsigned int type = 0; type < types; type++) {
		struct swap_info_struct *si = swap_info[type];

		if (si && (si->flags & (SWP_USED | SWP_WRITEOK)) == SWP_USED)
			to_be_unused +=
				kernel_read_unsigned(si, inuse_pages) & ~SWAP_USAGE_OFFLIST_BIT;
	}
	show_val_kb("SwapTotal", (&total_swap_pages ? total_swap_pages : 0) + to_be_unused);
	show_val_kb("SwapFree", (&nr_swap_pages ? nr_swap_pages : 0) + to_be_unused);
}

static unsigned int hstate_count(void)
{
	return &hugetlb_max_hstate
		       ? min((unsigned int)hugetlb_max_hstate, (unsigned int)HUGE_MAX_HSTATE)
		       : 0;
}

static unsigned long hugetlb_total_pages(void)
{
	unsigned long pages = 0;

	for (unsigned int i = 0; i < hstate_count(); i++) {
		const struct hstate *h = kernel_array_at(hstates, i);

		pages += h->nr_huge_pages << (h->order & 31);
	}
	return pages;
}

// mm/hugetlb.c, hugetlb_report_meminfo(); the first four count huge pages.
static void show_hugetlb(void)
{
	if (!hstate_count() || !&default_hstate_idx)
		return;

	const struct hstate *h =
		kernel_array_at(hstates, min(default_hstate_idx, hstate_count() - 1));

	row("HugePages_Total=%lu", h->nr_huge_pages);
	row("HugePages_Free=%lu", h->free_huge_pages);
	row("HugePages_Rsvd=%lu", h->resv_huge_pages);
	row("HugePages_Surp=%lu", h->surplus_huge_pages);
	show_val_kb("Hugepagesize", 1UL << (h->order & 31));
	show_val_kb("Hugetlb", hugetlb_total_pages());
}

// mm/util.c
static unsigned long vm_commit_limit(unsigned long totalram)
{
	unsigned long swap = &total_swap_pages ? total_swap_pages : 0;

	if (&sysctl_overcommit_kbytes && sysctl_overcommit_kbytes)
		return (sysctl_overcommit_kbytes >> (PAGE_SHIFT - 10)) + swap;
	return (totalram - hugetlb_total_pages()) * (unsigned int)sysctl_overcommit_ratio / 100 +
	       swap;
}

static void show_lru(void)
{
	unsigned long active_anon = global_node_page_state(NR_ACTIVE_ANON);
	unsigned long inactive_anon = global_node_page_state(NR_INACTIVE_ANON);
	unsigned long active_file = global_node_page_state(NR_ACTIVE_FILE);
	unsigned long inactive_file = global_node_page_state(NR_INACTIVE_FILE);

	show_val_kb("Active", active_anon + active_file);
	show_val_kb("Inactive", inactive_anon + inactive_file);
	show_val_kb("Active(anon)", active_anon);
	show_val_kb("Inactive(anon)", inactive_anon);
	show_val_kb("Active(file)", active_file);
	show_val_kb("Inactive(file)", inactive_file);
	show_node_stat("Unevictable", NR_UNEVICTABLE);
	show_val_kb("Mlocked", global_zone_page_state(NR_MLOCK));
}

static void show_kernel(void)
{
	unsigned long sreclaimable = global_node_page_state(NR_SLAB_RECLAIMABLE_B);
	unsigned long sunreclaim = global_node_page_state(NR_SLAB_UNRECLAIMABLE_B);

	show_val_kb("KReclaimable",
		    sreclaimable + global_node_page_state(NR_KERNEL_MISC_RECLAIMABLE));
	show_val_kb("Slab", sreclaimable + sunreclaim);
	show_val_kb("SReclaimable", sreclaimable);
	show_val_kb("SUnreclaim", sunreclaim);
	row("KernelStack=%lu", global_node_page_state(NR_KERNEL_STACK_KB));
	show_val_kb("PageTables", global_pagetable_pages());
	show_node_stat("SecPageTables", NR_SECONDARY_PAGETABLE);
	if (bpf_core_enum_value_exists(enum zone_stat_item, NR_BOUNCE))
		show_val_kb("Bounce", global_zone_page_state(NR_BOUNCE));
	show_node_stat("WritebackTmp", NR_WRITEBACK_TEMP);
}

static void show_vmalloc(void)
{
	unsigned long terabytes = VMALLOC_SIZE_TB_L4;

	if (&ptrs_per_p4d && ptrs_per_p4d > 1)
		terabytes = VMALLOC_SIZE_TB_L5;
	row("VmallocTotal=%lu", ((terabytes << 40) - 1) >> 10);
	if (bpf_core_enum_value_exists(enum node_stat_item, NR_VMALLOC))
		show_val_kb("VmallocUsed", global_node_page_state(NR_VMALLOC));
	else if (&nr_vmalloc_pages)
		show_val_kb("VmallocUsed", nr_vmalloc_pages);
	if (&pcpu_nr_populated && &pcpu_nr_units)
		show_val_kb("Percpu", pcpu_nr_populated * (unsigned int)pcpu_nr_units);
	if (&num_poisoned_pages)
		show_val_kb("HardwareCorrupted", num_poisoned_pages);
}

// Since Linux kernel commit 69473e5de873 ("mm: memcontrol: convert NR_ANON_THPS account to
// pages") (in v5.12) and its neighbours these count small pages. Before that, huge ones. Nothing
// in the types tells the two apart but what else came in v5.12 (NR_SWAPCACHE, with CONFIG_SWAP)
// or soon after (struct per_cpu_zonestat, in v5.14).
static void show_huge(void)
{
	bool small = bpf_core_enum_value_exists(enum node_stat_item, NR_SWAPCACHE) ||
		     bpf_core_type_exists(struct per_cpu_zonestat);
	unsigned int shift = small ? 0 : HPAGE_PMD_ORDER;

	show_val_kb("AnonHugePages", global_node_page_state(NR_ANON_THPS) << shift);
	show_val_kb("ShmemHugePages", global_node_page_state(NR_SHMEM_THPS) << shift);
	show_val_kb("ShmemPmdMapped", global_node_page_state(NR_SHMEM_PMDMAPPED) << shift);
	show_val_kb("FileHugePages", global_node_page_state(NR_FILE_THPS) << shift);
	show_val_kb("FilePmdMapped", global_node_page_state(NR_FILE_PMDMAPPED) << shift);
	if (&totalcma_pages && &cma_area_count) {
		show_val_kb("CmaTotal", totalcma_pages);
		show_val_kb("CmaFree", global_zone_page_state(NR_FREE_CMA_PAGES));
	}
	if (bpf_core_enum_value_exists(enum zone_stat_item, NR_UNACCEPTED))
		show_val_kb("Unaccepted", global_zone_page_state(NR_UNACCEPTED));
	show_node_stat("Balloon", NR_BALLOON_PAGES);
	show_node_stat("GPUActive", NR_GPU_ACTIVE);
	show_node_stat("GPUReclaim", NR_GPU_RECLAIM);
	show_hugetlb();
}

// arch/x86/mm/pat/set_memory.c, arch_report_meminfo()
static void show_direct_map(void)
{
	if (!&direct_pages_count)
		return;
	row("DirectMap4k=%lu", direct_pages_count[PG_LEVEL_4K] << 2);
	row("DirectMap2M=%lu", direct_pages_count[PG_LEVEL_2M] << 11);
	if (&direct_gbpages && direct_gbpages)
		row("DirectMap1G=%lu", direct_pages_count[PG_LEVEL_1G] << 20);
}

// fs/proc/meminfo.c
static void meminfo_proc_show(struct meminfo *i)
{
	unsigned long bufferram = nr_blockdev_pages(), swapcache = total_swapcache_pages();
	long cached = global_node_page_state(NR_FILE_PAGES) - swapcache - bufferram;

	i->total = _totalram_pages;
	i->available = si_mem_available();
	show_val_kb("MemTotal", i->total);
	show_val_kb("MemFree", global_zone_page_state(NR_FREE_PAGES));
	show_val_kb("MemAvailable", i->available);
	show_val_kb("Buffers", bufferram);
	show_val_kb("Cached", max(cached, 0L));
	show_val_kb("SwapCached", swapcache);
	show_lru();
	show_swap();
	show_node_stat("Dirty", NR_FILE_DIRTY);
	show_node_stat("Writeback", NR_WRITEBACK);
	show_node_stat("AnonPages", NR_ANON_MAPPED);
	show_node_stat("Mapped", NR_FILE_MAPPED);
	show_node_stat("Shmem", NR_SHMEM);
	show_kernel();
	show_val_kb("CommitLimit", vm_commit_limit(i->total));
	show_val_kb("Committed_AS", percpu_counter_sum_positive(&vm_committed_as));
	show_vmalloc();
	show_huge();
	show_direct_map();
}

static void remember(struct eater *eater, const struct task_struct *p, unsigned long rss)
{
	eater->pid = p->pid;
	__builtin_memcpy(eater->comm, p->comm, TASK_COMM_LEN);
	eater->comm[TASK_COMM_LEN - 1] = 0;
	eater->rss = rss;
}

// The process with the most resident memory, and one that dies by the OOM killer: false if there
// is none.
static bool find_eaters(struct eater *most, struct eater *victim)
{
	bool found = false;
	struct task_struct *p;

	most->rss = 0;
	for_each_process (p) {
		struct mm_struct *mm = p->mm, *oom_mm = p->signal->oom_mm;
		unsigned long rss = mm ? get_mm_rss(mm) : 0;

		if (rss > most->rss)
			remember(most, p, rss);
		if (!oom_mm)
			continue;
		// It may have given back a part by now.
		remember(victim, p, max(get_mm_rss(oom_mm), oom_mm->hiwater_rss));
		found = true;
	}
	return found;
}

static void check_oom_kills(const struct eater *victim)
{
	unsigned long kills = vm_events(bpf_core_enum_value(enum vm_event_item, OOM_KILL));
	unsigned long fresh = kills - seen_oom_kills;

	if (kills == seen_oom_kills)
		return;
	seen_oom_kills = kills;
	// A victim that is gone was in all likelihood the largest process of the run before.
	if (victim)
		finding(CRITICAL, "out of memory: kills=%lu, killed: pid=%d comm=%s rss_kb=%lu",
			fresh, victim->pid, victim->comm, victim->rss << (PAGE_SHIFT - 10));
	else if (largest.pid)
		finding(CRITICAL,
			"out of memory: kills=%lu, largest before: pid=%d comm=%s rss_kb=%lu",
			fresh, largest.pid, largest.comm, largest.rss << (PAGE_SHIFT - 10));
	else
		finding(WARNING, "out of memory: kills=%lu since boot", fresh);
}

static void check_available(const struct meminfo *i, const struct eater *most)
{
	unsigned long percent = i->total / 100;

	is_short = i->available <
		   percent * (is_short ? max(clear_percent, warn_percent) : warn_percent);
	if (is_short)
		alarm(shortage, 0, i->available < percent * critical_percent ? CRITICAL : WARNING,
		      "memory is short: available_kb=%lu of total_kb=%lu, "
		      "largest process: pid=%d comm=%s rss_kb=%lu",
		      i->available << (PAGE_SHIFT - 10), i->total << (PAGE_SHIFT - 10), most->pid,
		      most->comm, most->rss << (PAGE_SHIFT - 10));
	alarms_end(shortage);
}

DETECTOR(memory, .description = "/proc/meminfo, and who eats the memory", .period_ms = 200)
{
	unsigned long kills = vm_events(bpf_core_enum_value(enum vm_event_item, OOM_KILL));
	struct eater most = {}, victim = {};
	struct meminfo i;
	bool killed = false, watch;

	meminfo_proc_show(&i);
	watch = is_short || i.available < i.total / 100 * max(WATCH_PERCENT, warn_percent);
	if (watch || kills != seen_oom_kills)
		killed = find_eaters(&most, &victim);
	check_oom_kills(killed ? &victim : NULL);
	if (watch)
		largest = most;
	check_available(&i, &most);
}
