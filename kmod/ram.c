// SPDX-License-Identifier: GPL-2.0
/*
 * RAM: which there is, and pages of it for who maps them. No page is referenced, and none is pinned: what is mapped are
 * frame numbers.
 */
#include <linux/ioport.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#ifdef HAVE_PFN_T
#include <linux/pfn_t.h>
#endif

#include "kmod.h"

#define RAM_FLAGS (IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY)
#define BLOCK_PAGES (PMD_SIZE / PAGE_SIZE)

/*
 * Nobody has use of a page that is not there, or of whose contents a part is lost. The caller sees to it that it does not go
 * meanwhile: see main.c.
 */
static bool page_is_well(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return page && !PageHWPoison(page);
}

struct list_walk {
	struct gpusentinel_range *ranges;
	u32 capacity, count;
	struct gpusentinel_range range;
};

static void list_range(struct list_walk *walk)
{
	if (!walk->range.size)
		return;
	if (walk->count < walk->capacity)
		walk->ranges[walk->count] = walk->range;
	walk->count++;
	walk->range.size = 0;
}

static int list_resource(struct resource *resource, void *arg)
{
	unsigned long pfn = PFN_UP(resource->start), end = PFN_DOWN(resource->end + 1);
	struct list_walk *walk = arg;

	for (; pfn < end; pfn++) {
		bool well = page_is_well(pfn);

		if (!well || walk->range.start + walk->range.size != PFN_PHYS(pfn))
			list_range(walk);
		if (well) {
			if (!walk->range.size)
				walk->range.start = PFN_PHYS(pfn);
			walk->range.size += PAGE_SIZE;
		}
		if (pfn % BLOCK_PAGES == 0) {
			if (fatal_signal_pending(current))
				return -EINTR;
			cond_resched();
		}
	}
	return 0;
}

int gs_ram_list(struct gpusentinel_range *ranges, u32 capacity, u32 *count)
{
	struct list_walk walk = { .ranges = ranges, .capacity = capacity };
	int err = walk_iomem_res_desc(IORES_DESC_NONE, RAM_FLAGS, 0, -1, &walk, list_resource);

	if (err)
		/* What the walk says if there is none. */
		return err == -EINVAL ? -ENODATA : err;
	list_range(&walk);
	*count = walk.count;
	return 0;
}

struct cover {
	u64 start, end;
};

static int cover_resource(struct resource *resource, void *arg)
{
	struct cover *cover = arg;

	/* Ranges come in order, each cut to what is asked for. */
	if (resource->start > cover->start)
		return 1;
	if (resource->end >= cover->start)
		cover->start = resource->end + 1;
	return cover->start >= cover->end;
}

bool gs_ram_covers(u64 start, u64 size)
{
	struct cover cover = { start, start + size };
	unsigned long pfn, end;

	if (!size || cover.end < start)
		return false;
	walk_iomem_res_desc(IORES_DESC_NONE, RAM_FLAGS, start, cover.end - 1, &cover,
			    cover_resource);
	if (cover.start < cover.end)
		return false;
	/* Memory that is offline is a resource all the same. It goes and comes by whole sections. */
	end = PHYS_PFN(cover.end);
	for (pfn = PHYS_PFN(start); pfn < end; pfn = SECTION_ALIGN_UP(pfn + 1)) {
		if (!pfn_to_online_page(pfn))
			return false;
	}
	return true;
}

/* The frame of an address in the mapping. */
static unsigned long frame_at(struct vm_area_struct *vma, unsigned long address)
{
	return vma->vm_pgoff + ((address - vma->vm_start) >> PAGE_SHIFT);
}

/* With one page its neighbours, as far as the mapping and a block of 2 MiB reach. */
static vm_fault_t ram_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long wanted = vmf->address & PAGE_MASK;
	unsigned long begin = max(wanted & PMD_MASK, vma->vm_start);
	unsigned long end = min((wanted & PMD_MASK) + PMD_SIZE, vma->vm_end);
	unsigned long address;
	vm_fault_t ret;

	if (!page_is_well(frame_at(vma, wanted)))
		return VM_FAULT_SIGBUS;
	ret = vmf_insert_pfn(vma, wanted, frame_at(vma, wanted));
	for (address = begin; address < end && ret == VM_FAULT_NOPAGE; address += PAGE_SIZE) {
		if (address != wanted && page_is_well(frame_at(vma, address)))
			ret = vmf_insert_pfn(vma, address, frame_at(vma, address));
	}
	return ret;
}

#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
static vm_fault_t ram_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long address = vmf->address & PMD_MASK;
	unsigned long pfn, i;

	if (order != PMD_ORDER || address < vma->vm_start || address + PMD_SIZE > vma->vm_end)
		return VM_FAULT_FALLBACK;
	pfn = frame_at(vma, address);
	if (!IS_ALIGNED(pfn, BLOCK_PAGES))
		return VM_FAULT_FALLBACK;
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!page_is_well(pfn + i))
			return VM_FAULT_FALLBACK;
	}
#ifdef HAVE_PFN_T
	return vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(pfn), false);
#else
	return vmf_insert_pfn_pmd(vmf, pfn, false);
#endif
}
#endif

const struct vm_operations_struct gs_ram_vm_ops = {
	.fault = ram_fault,
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
	.huge_fault = ram_huge_fault,
#endif
};
