// SPDX-License-Identifier: Apache-2.0
// Memory that grows and grows: slab caches, vmalloc, page tables, kernel stacks, processes, and pages that nothing
// accounts for. How long it lasts at that pace, and whether what is free is of use.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "leaks_series.h"

PARAM(fast_window_ms, 7500, "milliseconds in which fast growth is looked for");
PARAM(slow_window_ms, 600000, "milliseconds in which slow growth is looked for");
PARAM(fast_kb, 8192, "KiB that is fast growth; at least 1/64 of memory");
PARAM(slow_kb, 4096, "KiB that is slow growth; at least 1/1024 of memory");
PARAM(trend_percent, 80,
      "how steady growth must be: pairs of samples that rose, less those that fell");
PARAM(exhausted_s, 600, "seconds until memory is exhausted: below, a warning");
PARAM(exhausted_soon_s, 60, "seconds until memory is exhausted: below, an error");
PARAM(fragmented_order, 3, "order of blocks that must be left");
PARAM(fragmented_percent, 90, "free memory that is in smaller blocks");
PARAM(swap_percent, 10, "swap that is free: below, a warning");

ALARMS(leak, 256, .fall_ms = 4000);
ALARMS(exhaustion, 1, .fall_ms = 4000);
ALARMS(fragmentation, 1, .rise_ms = 3000, .fall_ms = 5000);
ALARMS(swap, 1, .fall_ms = 2000);

// What is smaller is no leak yet: it gets no series. KiB.
#define SERIES_LEAST_KB 2048UL
#define SERIES_LEAST_PAGES (SERIES_LEAST_KB >> (PAGE_SHIFT - 10))

// Where pages from vmalloc() were asked for.
#define CALLERS_MAX 1024U
#define CALLER_PROBES 32U
// Pages by which vmalloc's sum must have changed for its areas to be walked anew.
#define CALLERS_CHANGE 64UL

struct caller {
	const void *address;
	unsigned long pages;
};

// All in pages.
struct state {
	unsigned long total, free, available, swap_total, swap_free;
	unsigned long vmalloc, pagetables, stacks, shmem, percpu, unaccounted;
};

static struct caller callers[CALLERS_MAX];
static unsigned long callers_sum;

static unsigned long kb(unsigned long pages)
{
	return pages << (PAGE_SHIFT - 10);
}

static unsigned long vmalloc_pages(void)
{
	if (bpf_core_enum_value_exists(enum node_stat_item, NR_VMALLOC))
		return global_node_page_state(NR_VMALLOC);
	return &nr_vmalloc_pages ? max(nr_vmalloc_pages, (s64)0) : 0;
}

static unsigned long hugetlb_pages(void)
{
	unsigned int count = &hugetlb_max_hstate ? hugetlb_max_hstate : 0;
	unsigned long pages = 0;

	for (unsigned int i = 0; i < min(count, (unsigned int)HUGE_MAX_HSTATE); i++) {
		const struct hstate *h = kernel_array_at(hstates, i);

		pages += h->nr_huge_pages << (h->order & 31);
	}
	return pages;
}

static unsigned long lru_pages(void)
{
	return global_node_page_state(NR_INACTIVE_ANON) + global_node_page_state(NR_ACTIVE_ANON) +
	       global_node_page_state(NR_INACTIVE_FILE) + global_node_page_state(NR_ACTIVE_FILE) +
	       global_node_page_state(NR_UNEVICTABLE);
}

static unsigned long slab_pages(void)
{
	return global_node_page_state(NR_SLAB_RECLAIMABLE_B) +
	       global_node_page_state(NR_SLAB_UNRECLAIMABLE_B);
}

// What drivers and modules take by alloc_pages() is in no counter: it is what remains when all counters are added up.
static unsigned long unaccounted_pages(const struct state *s)
{
	unsigned long known = s->free + lru_pages() + slab_pages() + s->pagetables + s->vmalloc +
			      s->percpu + hugetlb_pages();

	// With CONFIG_VMAP_STACK, stacks are in vmalloc's sum already.
	if (!bpf_core_field_exists(struct task_struct, stack_vm_area))
		known += s->stacks;
	if (bpf_core_enum_value_exists(enum zone_stat_item, NR_ZSPAGES))
		known += global_zone_page_state(NR_ZSPAGES);
	if (bpf_core_enum_value_exists(enum node_stat_item, NR_BALLOON_PAGES))
		known += global_node_page_state(NR_BALLOON_PAGES);
	return s->total > known ? s->total - known : 0;
}

static void look(struct state *s)
{
	s->total = _totalram_pages;
	s->free = global_zone_page_state(NR_FREE_PAGES);

	long available = s->free + global_node_page_state(NR_ACTIVE_FILE) +
			 global_node_page_state(NR_INACTIVE_FILE) +
			 global_node_page_state(NR_SLAB_RECLAIMABLE_B) - totalreserve_pages;

	s->available = max(available, 0L);
	s->swap_total = &total_swap_pages ? max(total_swap_pages, 0L) : 0;
	s->swap_free = &nr_swap_pages ? max(nr_swap_pages, (s64)0) : 0;
	s->vmalloc = vmalloc_pages();
	s->pagetables = global_pagetable_pages();
	s->stacks = global_node_page_state(NR_KERNEL_STACK_KB) >> (PAGE_SHIFT - 10);
	s->shmem = global_node_page_state(NR_SHMEM);
	s->percpu = &pcpu_nr_populated && &pcpu_nr_units
			    ? pcpu_nr_populated * (unsigned int)pcpu_nr_units
			    : 0;
	s->unaccounted = unaccounted_pages(s);
}

static void sample_caches(void)
{
	unsigned int left = SLAB_CACHES_MAX, nodes = nr_nodes();
	struct kmem_cache *s;

	// Without CONFIG_SLUB_DEBUG no cache counts its slabs.
	if (!bpf_core_field_exists(struct kmem_cache_node, nr_slabs))
		return;
	list_for_each_entry (s, &slab_caches, list) {
		unsigned long slabs = 0, objects = 0;
		unsigned int order = oo_order(s->oo) & 31;
		bool reclaimable = slab_is_reclaimable(s);

		if (!left--)
			break;
		for (unsigned int nid = 0; nid < nodes; nid++) {
			const struct kmem_cache_node *n = slab_node(s, nid);

			if (!n)
				continue;
			slabs += max(atomic_long_read(&n->nr_slabs), (s64)0);
			objects += max(atomic_long_read(&n->total_objects), (s64)0);
		}
		// What can be taken back is a cache like that of pages: it grows as long as there is memory.
		if (!reclaimable && slabs << order >= SERIES_LEAST_PAGES)
			series_add(KIND_CACHE, (u64)s, 0, slabs << order);
		row("cache=%s objects=%lu object_size=%u objects_per_slab=%u pages_per_slab=%u slabs=%lu "
		    "reclaimable=%d",
		    s->name, objects, s->size, oo_objects(s->oo), 1U << order, slabs, reclaimable);
	}
}

static void count_caller(const void *address, unsigned long pages)
{
	u32 hash = series_hash(KIND_CALLER, (u64)address);

	for (u32 i = 0; i < CALLER_PROBES; i++) {
		struct caller *c = &callers[(hash + i) % CALLERS_MAX];

		if (c->address && c->address != address)
			continue;
		c->address = address;
		c->pages += pages;
		return;
	}
}

static void count_areas(struct list_head *list)
{
	struct vmap_area *va;

	list_for_each_entry (va, list, list) {
		const struct vm_struct *vm = va->vm;
		unsigned long pages = vm ? kernel_read_unsigned(vm, nr_pages) : 0;

		if (pages)
			count_caller(vm->caller, pages);
	}
}

static void count_callers(void)
{
	for (u32 i = 0; i < CALLERS_MAX; i++)
		callers[i] = (struct caller){};
	if (&vmap_area_list) {
		count_areas(&vmap_area_list);
	} else if (bpf_core_type_exists(struct vmap_node) && &vmap_nodes && &nr_vmap_nodes) {
		struct vmap_node *nodes = vmap_nodes;
		u32 count = min((u32)nr_vmap_nodes, (u32)VMAP_NODES_MAX);

		for (u32 i = 0; i < count; i++)
			count_areas(&kernel_array_at(nodes, i)->busy.head);
	}
}

static void sample_callers(unsigned long vmalloc)
{
	unsigned long change = max(vmalloc, callers_sum) - min(vmalloc, callers_sum);

	// In between, callers have what they had.
	if (!callers_sum || change >= CALLERS_CHANGE) {
		count_callers();
		callers_sum = vmalloc;
	}
	for (u32 i = 0; i < CALLERS_MAX; i++) {
		const struct caller *c = &callers[i];

		if (c->pages < SERIES_LEAST_PAGES / 4)
			continue;
		series_add(KIND_CALLER, (u64)c->address, 0, c->pages);
		row("caller=%pS vmalloc_kb=%lu", c->address, kb(c->pages));
	}
}

// Without what CPUs have not added up yet: some hundred pages, which is no trend.
static unsigned long rss_estimate(const struct mm_struct *mm)
{
	s64 pages = 0;

	if (bpf_core_type_exists(struct mm_rss_stat))
		return get_mm_rss(mm);
	for (int member = 0; member < NR_MM_COUNTERS; member++) {
		if (member != MM_SWAPENTS)
			pages += kernel_array_at(mm->rss_stat, member)->count;
	}
	return max(pages, (s64)0);
}

static void sample_processes(void)
{
	struct task_struct *p;

	for_each_process (p) {
		struct mm_struct *mm = p->mm;
		unsigned long rss = mm ? rss_estimate(mm) : 0;

		if (rss >= SERIES_LEAST_PAGES)
			series_add(KIND_PROCESS, (u64)p, p->start_boottime, rss);
	}
}

static void sample(const struct state *s)
{
	sample_caches();
	sample_callers(s->vmalloc);
	sample_processes();
	series_add(KIND_PAGETABLES, 0, 0, s->pagetables);
	series_add(KIND_STACKS, 0, 0, s->stacks);
	series_add(KIND_SHMEM, 0, 0, s->shmem);
	series_add(KIND_PERCPU, 0, 0, s->percpu);
	series_add(KIND_UNACCOUNTED, 0, 0, s->unaccounted);
	series_add(KIND_USED, 0, 0, s->total + s->swap_total - s->available - s->swap_free);
}

// Who has most of something that is counted for the whole system.
static const struct task_struct *most(enum kind kind)
{
	const struct task_struct *found = &init_task;
	unsigned long largest = 0;
	struct task_struct *p;

	for_each_process (p) {
		const struct mm_struct *mm = p->mm;
		unsigned long has = 0;

		if (kind == KIND_PAGETABLES)
			has = mm ? atomic_long_read(&mm->pgtables_bytes) : 0;
		else if (kind == KIND_STACKS)
			has = get_nr_threads(p);
		if (has > largest) {
			largest = has;
			found = p;
		}
	}
	return found;
}

#define SAYS_TREND "kb=%llu grown_kb=%llu in_ms=%llu"
#define TREND(t) (t)->kb, (t)->grown_kb, (t)->ms

static void say_leak(const struct series *s, const struct trend *t)
{
	u64 key = s->id ^ (u64)s->kind << 56;
	const struct task_struct *p;

	switch (s->kind) {
	case KIND_CACHE:
		alarm(leak, key, WARNING, "slab cache grows: cache=%s " SAYS_TREND,
		      ((const struct kmem_cache *)s->id)->name, TREND(t));
		break;
	case KIND_PROCESS:
		p = (const struct task_struct *)s->id;
		alarm(leak, key, WARNING, "process grows: pid=%d comm=%s " SAYS_TREND, p->pid,
		      p->comm, TREND(t));
		break;
	case KIND_CALLER:
		alarm(leak, key, WARNING, "vmalloc grows: caller=%pS " SAYS_TREND,
		      (const void *)s->id, TREND(t));
		break;
	case KIND_PAGETABLES:
		p = most(s->kind);
		alarm(leak, key, WARNING,
		      "page tables grow: " SAYS_TREND ", most has: pid=%d comm=%s", TREND(t),
		      p->pid, p->comm);
		break;
	case KIND_STACKS:
		p = most(s->kind);
		alarm(leak, key, WARNING,
		      "kernel stacks grow: " SAYS_TREND ", most threads has: pid=%d comm=%s",
		      TREND(t), p->pid, p->comm);
		break;
	case KIND_SHMEM:
		alarm(leak, key, WARNING, "shared memory and tmpfs grow: " SAYS_TREND, TREND(t));
		break;
	case KIND_PERCPU:
		alarm(leak, key, WARNING, "per-CPU memory grows: " SAYS_TREND, TREND(t));
		break;
	case KIND_UNACCOUNTED:
		alarm(leak, key, WARNING, "pages that no counter has grow: " SAYS_TREND, TREND(t));
		break;
	default:
		break;
	}
}

#define SAYS_EXHAUSTED "memory is exhausted in about %llu s: available_kb=%lu swap_free_kb=%lu, "

// With what has grown most; NULL if that is nothing of what is looked at.
static void say_exhausted(enum severity severity, u64 seconds, const struct state *now,
			  const struct series *s, u64 grown_kb)
{
	unsigned long available = kb(now->available), swap_free = kb(now->swap_free);
	const struct task_struct *p;

	switch (s ? s->kind : KIND_NONE) {
	case KIND_CACHE:
		alarm(exhaustion, 0, severity,
		      SAYS_EXHAUSTED "most of it by slab cache: cache=%s grown_kb=%llu", seconds,
		      available, swap_free, ((const struct kmem_cache *)s->id)->name, grown_kb);
		break;
	case KIND_PROCESS:
		p = (const struct task_struct *)s->id;
		alarm(exhaustion, 0, severity,
		      SAYS_EXHAUSTED "most of it by process: pid=%d comm=%s grown_kb=%llu", seconds,
		      available, swap_free, p->pid, p->comm, grown_kb);
		break;
	case KIND_CALLER:
		alarm(exhaustion, 0, severity,
		      SAYS_EXHAUSTED "most of it by vmalloc: caller=%pS grown_kb=%llu", seconds,
		      available, swap_free, (const void *)s->id, grown_kb);
		break;
	default:
		alarm(exhaustion, 0, severity, SAYS_EXHAUSTED "grown_kb=%llu", seconds, available,
		      swap_free, grown_kb);
		break;
	}
}

// What has grown most, NULL if nothing of what is looked at has.
static const struct series *find_largest(enum window w, u32 samples, u64 *grown_ret)
{
	const struct series *largest = NULL;

	u32 i;

	*grown_ret = 0;
	for_each_series(i)
	{
		const struct series *s = &series[i];
		u64 grown = s->kind == KIND_USED ? 0 : series_grown(s, w, samples);

		if (grown > *grown_ret) {
			*grown_ret = grown;
			largest = s;
		}
	}
	return largest;
}

static void check_exhaustion(const struct series *used, enum window w, const struct trend *t,
			     const struct state *now)
{
	u64 seconds = trend_exhausts(t, kb(now->available + now->swap_free)), grown;
	// A program that starts may well take most of the memory, and no more.
	bool soon = seconds < exhausted_soon_s && now->available < now->total / 4;
	const struct series *largest;

	if (seconds >= exhausted_s)
		return;
	largest = find_largest(w, used->count[w], &grown);
	say_exhausted(soon ? ERROR : WARNING, seconds, now, largest, largest ? grown : t->grown_kb);
}

static void check_trends(const struct state *now)
{
	const u64 least_kb[WINDOWS] = { max(fast_kb, (u64)kb(now->total) / 64),
					max(slow_kb, (u64)kb(now->total) / 1024) };

	u32 i;

	for (u32 w = 0; w < WINDOWS; w++) {
		for_each_series(i)
		{
			const struct series *s = &series[i];
			struct trend t;

			if (!series_is_live(s)) {
				series_forget(i);
				continue;
			}
			if (!series_trend(s, w, least_kb[w], trend_percent, &t))
				continue;
			if (s->kind == KIND_USED)
				check_exhaustion(s, w, &t, now);
			else
				say_leak(s, &t);
		}
	}
}

// Rows as /proc/buddyinfo.
static void check_fragmentation(const struct state *now)
{
	unsigned int zones =
		min((unsigned int)bpf_core_enum_value(enum zone_type, __MAX_NR_ZONES), 16U);
	unsigned long usable = 0, low = 0, in_blocks = 0;
	u64 wanted = min(fragmented_order, (u64)NR_PAGE_ORDERS - 1);

	for (unsigned int nid = 0; nid < nr_nodes(); nid++) {
		struct pglist_data *pgdat = NODE_DATA(nid);

		for (unsigned int i = 0; pgdat && i < zones; i++) {
			const struct zone *zone = kernel_array_at(pgdat->node_zones, i);
			unsigned long nr_free[NR_PAGE_ORDERS];

			if (!atomic_long_read(&zone->managed_pages))
				continue;
			low += low_wmark_pages(zone);
			for (u32 order = 0; order < NR_PAGE_ORDERS; order++) {
				nr_free[order] = kernel_array_at(zone->free_area, order)->nr_free;
				in_blocks += nr_free[order] << order;
				if (order >= wanted)
					usable += nr_free[order] << order;
			}
			row("node=%u zone=%s free0=%lu free1=%lu free2=%lu free3=%lu free4=%lu free5=%lu "
			    "free6=%lu free7=%lu free8=%lu free9=%lu free10=%lu",
			    nid, zone->name, nr_free[0], nr_free[1], nr_free[2], nr_free[3],
			    nr_free[4], nr_free[5], nr_free[6], nr_free[7], nr_free[8], nr_free[9],
			    nr_free[10]);
		}
	}
	// A machine that is short of memory has small blocks only, and a page cache to make larger ones of.
	if (in_blocks > low * 2 &&
	    (in_blocks - usable) * 100 >= in_blocks * min(fragmented_percent, 100ULL))
		alarm(fragmentation, 0, WARNING,
		      "free memory is in pieces: order=%llu usable_kb=%lu of free_kb=%lu available_kb=%lu",
		      wanted, kb(usable), kb(in_blocks), kb(now->available));
}

static void check_swap(const struct state *now)
{
	if (!now->swap_total || now->swap_free >= now->swap_total / 100 * swap_percent)
		return;
	alarm(swap, 0, now->available < now->total / 20 ? ERROR : WARNING,
	      "swap is exhausted: free_kb=%lu of total_kb=%lu available_kb=%lu", kb(now->swap_free),
	      kb(now->swap_total), kb(now->available));
}

DETECTOR(leaks, .description = "memory that grows without end, and when it will be exhausted",
	 .period_ms = 250, .budget = 16 << 20)
{
	const u64 windows[WINDOWS] = { fast_window_ms, slow_window_ms };
	struct state now;

	if (!system_is_up() || !series_begin(ktime_get(), windows))
		return;
	look(&now);
	sample(&now);
	row("total_kb=%lu available_kb=%lu swap_total_kb=%lu swap_free_kb=%lu vmalloc_kb=%lu pagetables_kb=%lu "
	    "stacks_kb=%lu shmem_kb=%lu percpu_kb=%lu unaccounted_kb=%lu left_out=%u",
	    kb(now.total), kb(now.available), kb(now.swap_total), kb(now.swap_free),
	    kb(now.vmalloc), kb(now.pagetables), kb(now.stacks), kb(now.shmem), kb(now.percpu),
	    kb(now.unaccounted), series_left_out);
	check_trends(&now);
	check_fragmentation(&now);
	check_swap(&now);
	alarms_end(leak);
	alarms_end(exhaustion);
	alarms_end(fragmentation);
	alarms_end(swap);
}
