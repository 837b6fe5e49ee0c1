// SPDX-License-Identifier: GPL-2.0
// Memory of the kernel that is taken and not given back, at a steady rate.
#include "fault.h"

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

enum {
	STEP_MS = 50,
	// Of the size class kmalloc-1k, and of a cache of its own.
	OBJECT = 1000,
	// Large enough that the address space is not what runs out.
	AREA = 64 * 1024,
};

static struct kmem_cache *cache;

// With a constructor no other cache is merged with it.
static void construct(void *unused)
{
}

static void *slab_get(void)
{
	return kmalloc(OBJECT, GFP_KERNEL);
}

static void slab_put(void *object)
{
	kfree(object);
}

static void *cache_get(void)
{
	return cache ? kmem_cache_alloc(cache, GFP_KERNEL) : NULL;
}

static void cache_put(void *object)
{
	kmem_cache_free(cache, object);
}

static void *area_get(void)
{
	return vmalloc(AREA);
}

static void area_put(void *object)
{
	vfree(object);
}

static void *page_get(void)
{
	return (void *)__get_free_page(GFP_KERNEL);
}

static void page_put(void *object)
{
	free_page((unsigned long)object);
}

static struct leak {
	const char *name;
	void *(*get)(void);
	void (*put)(void *object);
	unsigned int size;
	atomic_t running;
	// What was leaked, each with the address of the one before: the lab can undo what no bug would.
	void **last;
} leaks[] = {
	{ "leak-slab", slab_get, slab_put, 1024 },
	{ "leak-cache", cache_get, cache_put, OBJECT },
	{ "leak-vmalloc", area_get, area_put, AREA },
	{ "leak-pages", page_get, page_put, PAGE_SIZE },
};

static bool take(struct leak *leak)
{
	void **object = leak->get();

	if (!object)
		return false;
	*object = leak->last;
	leak->last = object;
	return true;
}

static void leak_until(struct leak *leak, const struct fault_end *end)
{
	u64 taken = 0, due = 0, limit = (u64)fault_count << 20;

	while (!fault_over(end) && (!limit || taken < limit)) {
		for (due += (u64)fault_rate * 1024 * STEP_MS / 1000; taken < due;
		     taken += leak->size) {
			if (take(leak))
				continue;
			pr_emerg("lab_fault: %s: no more memory\n", leak->name);
			fault_wait_interruptible(end);
			return;
		}
		msleep_interruptible(STEP_MS);
	}
	fault_wait_interruptible(end);
}

int fault_leak(void *name)
{
	struct leak *leak = leaks;
	struct fault_end end;

	while (strcmp(leak->name, name) != 0)
		leak++;
	if (atomic_xchg(&leak->running, 1))
		return 0;
	if (leak->get == cache_get)
		cache = kmem_cache_create("lab_leak", OBJECT, 0, 0, construct);
	fault_begins(name, &end);
	leak_until(leak, &end);
	while (leak->last) {
		void **object = leak->last;

		leak->last = *object;
		leak->put(object);
	}
	if (leak->get == cache_get)
		kmem_cache_destroy(cache);
	atomic_set(&leak->running, 0);
	fault_ended(name);
	return 0;
}
