// SPDX-License-Identifier: Apache-2.0
#include "pgtable.h"

#include <inttypes.h>
#include <string.h>

#include <gpusentinel/map.h>

enum {
	TABLE_ENTRIES = 512,
	MAX_LEVELS = 5,
	// 1 GiB of tables: as many as map 512 GiB by 4K pages; the direct map uses 2M and 1G.
	MAX_TABLES = 1 << 18,
};

#define FLAGS_ALL_LEVELS (PTE_RW | PTE_USER)

static const char *const level_names[] = { "", "PTE", "PMD", "PUD", "P4D", "PGD" };

static const char *level_name(const struct pgtable *pgtable, unsigned int level)
{
	return level == pgtable->levels ? "PGD" : level_names[level];
}

// Address bits below the index of @level: 12 for the PTE level.
static unsigned int level_shift(unsigned int level)
{
	return GS_PAGE_SHIFT + 9 * (level - 1);
}

static bool canonical(const struct pgtable *pgtable, uint64_t address)
{
	unsigned int bits = level_shift(pgtable->levels + 1);
	int64_t high = (int64_t)address >> (bits - 1);

	return high == 0 || high == -1;
}

static uint64_t sign_extend(const struct pgtable *pgtable, uint64_t address)
{
	unsigned int unused = 64 - level_shift(pgtable->levels + 1);

	return (uint64_t)((int64_t)(address << unused) >> unused);
}

struct gs_error *pgtable_fault(struct gs_error *err, uint64_t address)
{
	if (err != &gs_enomem) {
		err->code = GS_ERROR_KERNEL;
		err->has_address = true;
		err->address = address;
	}
	return err;
}

static struct gs_error *check(const struct pgtable *pgtable)
{
	if (pgtable->levels != 4 && pgtable->levels != 5)
		return gs_error_create(GS_ERROR_KERNEL, "page tables of %u levels are not known",
				       pgtable->levels);
	return NULL;
}

// The tables on the way from the root: a table that occurs in its own path would make the meaning
// of an entry depend on the level it is read at, which Linux never does on purpose.
struct path {
	uint64_t tables[MAX_LEVELS + 1];
};

static struct gs_error *path_enter(const struct pgtable *pgtable, struct path *path, uint64_t table,
				   unsigned int level, uint64_t address)
{
	for (unsigned int above = level + 1; above <= pgtable->levels; above++)
		if (path->tables[above] == table)
			return gs_error_address(GS_ERROR_KERNEL, address,
						"page tables loop: the %s of 0x%" PRIx64
						" points back to its %s at physical 0x%" PRIx64,
						level_name(pgtable, level + 1), address,
						level_name(pgtable, above), table);
	path->tables[level] = table;
	return NULL;
}

static bool is_leaf(uint64_t entry, unsigned int level)
{
	return level == 1 || (level <= 3 && (entry & GS_PTE_PSE));
}

static struct gs_error *check_entry(const struct pgtable *pgtable, uint64_t entry,
				    unsigned int level, uint64_t address)
{
	if (level > 3 && (entry & GS_PTE_PSE))
		return gs_error_address(GS_ERROR_KERNEL, address,
					"0x%" PRIx64 ": %s entry 0x%" PRIx64
					" has the reserved PS bit",
					address, level_name(pgtable, level), entry);
	return NULL;
}

struct gs_error *pgtable_walk(const struct pgtable *pgtable, uint64_t address,
			      struct pgtable_leaf *ret)
{
	struct gs_error *err = check(pgtable);

	if (err)
		return err;
	if (!canonical(pgtable, address))
		return gs_error_address(GS_ERROR_KERNEL, address,
					"0x%" PRIx64 " is not a canonical address", address);

	struct path path;
	uint64_t table = pgtable->root & pgtable->phys_mask & GS_PTE_ADDR;
	uint64_t flags = FLAGS_ALL_LEVELS;

	for (unsigned int level = pgtable->levels; level > 0; level--) {
		err = path_enter(pgtable, &path, table, level, address);
		if (err)
			return err;

		uint64_t index = (address >> level_shift(level)) % TABLE_ENTRIES;
		uint64_t entry;

		err = gs_target_read(pgtable->target, table + index * sizeof(entry), &entry,
				     sizeof(entry));
		if (err)
			return gs_error_prefix(pgtable_fault(err, address),
					       "0x%" PRIx64 ": its %s table lies outside memory",
					       address, level_name(pgtable, level));
		if (!(entry & GS_PTE_PRESENT))
			return gs_error_address(GS_ERROR_KERNEL, address,
						"0x%" PRIx64 " is not mapped (%s entry 0x%" PRIx64
						")",
						address, level_name(pgtable, level), entry);
		err = check_entry(pgtable, entry, level, address);
		if (err)
			return err;

		flags = (flags & entry) | ((flags | entry) & PTE_NX);

		uint64_t target = entry & pgtable->phys_mask & GS_PTE_ADDR;

		if (is_leaf(entry, level)) {
			uint64_t size = UINT64_C(1) << level_shift(level);

			ret->phys = (target & ~(size - 1)) + (address & (size - 1));
			ret->size = size;
			ret->flags = flags;
			return NULL;
		}
		table = target;
	}
	return gs_error_address(GS_ERROR_KERNEL, address, "0x%" PRIx64 " is not mapped", address);
}

struct walker {
	const struct pgtable *pgtable;
	uint64_t start, last;
	bool (*fn)(void *arg, const struct pgtable_range *range);
	void *arg;
	struct path path;
	unsigned int tables;
	bool stopped;
	struct pgtable_range pending;
};

static void flush(struct walker *walker)
{
	if (!walker->pending.size || walker->stopped)
		return;
	if (!walker->fn(walker->arg, &walker->pending))
		walker->stopped = true;
	walker->pending.size = 0;
}

static void add_leaf(struct walker *walker, uint64_t address, uint64_t phys, uint64_t size,
		     uint64_t flags)
{
	uint64_t last = address + (size - 1);

	if (address < walker->start) {
		phys += walker->start - address;
		address = walker->start;
	}
	if (last > walker->last)
		last = walker->last;
	size = last - address + 1;

	struct pgtable_range *pending = &walker->pending;

	if (pending->size && pending->start + pending->size == address &&
	    pending->phys + pending->size == phys && pending->flags == flags) {
		pending->size += size;
		return;
	}
	flush(walker);
	*pending = (struct pgtable_range){ address, size, phys, flags };
}

// Recursion ends with the level, at most MAX_LEVELS deep.
static struct gs_error *walk_table(struct walker *walker, uint64_t table, unsigned int level,
				   uint64_t base, uint64_t flags)
{
	const struct pgtable *pgtable = walker->pgtable;
	struct gs_error *err = path_enter(pgtable, &walker->path, table, level, base);
	uint64_t entries[TABLE_ENTRIES];

	if (err)
		return err;
	if (++walker->tables > MAX_TABLES)
		return gs_error_address(GS_ERROR_INCOMPLETE, base,
					"page tables are absurdly large: stopped at 0x%" PRIx64,
					base);
	err = gs_target_read(pgtable->target, table, entries, sizeof(entries));
	if (err)
		return gs_error_prefix(pgtable_fault(err, base),
				       "0x%" PRIx64 ": its %s table lies outside memory", base,
				       level_name(pgtable, level));

	uint64_t size = UINT64_C(1) << level_shift(level);

	for (unsigned int i = 0; i < TABLE_ENTRIES && !walker->stopped; i++) {
		uint64_t entry = entries[i];
		uint64_t address = base + i * size;

		if (level == pgtable->levels)
			address = sign_extend(pgtable, address);
		if (!(entry & GS_PTE_PRESENT) || address + (size - 1) < walker->start ||
		    address > walker->last)
			continue;
		err = check_entry(pgtable, entry, level, address);
		if (err)
			return err;

		uint64_t below = (flags & entry) | ((flags | entry) & PTE_NX);
		uint64_t target = entry & pgtable->phys_mask & GS_PTE_ADDR;

		if (is_leaf(entry, level)) {
			add_leaf(walker, address, target & ~(size - 1), size, below);
			continue;
		}
		err = walk_table(walker, target, level - 1, address, below);
		if (err)
			return err;
	}
	return NULL;
}

struct gs_error *pgtable_for_each(const struct pgtable *pgtable, uint64_t start, uint64_t last,
				  bool (*fn)(void *arg, const struct pgtable_range *range),
				  void *arg)
{
	struct gs_error *err = check(pgtable);

	if (err)
		return err;

	struct walker walker = {
		.pgtable = pgtable,
		.start = start,
		.last = last,
		.fn = fn,
		.arg = arg,
	};

	err = walk_table(&walker, pgtable->root & pgtable->phys_mask & GS_PTE_ADDR, pgtable->levels,
			 0, FLAGS_ALL_LEVELS);
	flush(&walker);
	return err;
}
