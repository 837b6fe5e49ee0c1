/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the integrity detector covers: areas of kernel memory, and a copy of each. Areas are whole
 * pages; a page of the copy is a slot.
 */
#ifndef INTEGRITY_AREAS_H
#define INTEGRITY_AREAS_H

#include <gpusentinel/kernel.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define PAGE_WORDS (PAGE_SIZE / 8)
// Kernels take 20 to 32 MiB, modules of a server as much again.
#define SLOTS_MAX (96U << 20 >> PAGE_SHIFT)
#define AREAS_MAX (MODULE_PARTS * MODULES_MAX + 3)
// Of one area; the largest drivers have some 30 MiB.
#define AREA_PAGES_MAX (64U << 20 >> PAGE_SHIFT)
#define NOWHERE (~0ULL)

enum area_kind {
	AREA_TEXT,
	AREA_RODATA,
	AREA_IDT,
	AREA_MODULE_TEXT,
	AREA_MODULE_RODATA,
};

struct area {
	u64 start;
	// The struct module that it is of, or 0, and its module_id().
	u64 owner, id;
	u32 pages, slot;
	u32 kind;
	// The last look at the modules that found it.
	u32 seen;
	// The copy is still to be made.
	u32 fresh;
};

// The interrupt table; 256 gates of 16 bytes. arch/x86/kernel/idt.c
extern u64 idt_table[] __ksym;
extern const u64 sys_call_table[] __ksym;
extern char _stext[] __ksym;
extern char _etext[] __ksym;
extern char _end[] __ksym;
extern char __start_rodata[] __ksym;
extern char __end_rodata[] __ksym;

#define IDT_ENTRIES 256
// Of Linux 5.10; later kernels have more.
#define SYSCALLS_MIN 441
#define SYSCALLS_MAX 1024

static u64 baseline[SLOTS_MAX * PAGE_WORDS];
// Address of the page; 0: the slot is free.
static u64 slot_address[SLOTS_MAX];
// Slots that were ever in use.
static u32 slot_count;
static u32 slot_hint;

static struct area areas[AREAS_MAX];
static u32 area_count;
static u32 pages_covered, pages_left_out;

// Slots whose pages differ from the copy in this run.
static u64 changed[SLOTS_MAX / 64];

static u64 module_list[MODULES_MAX];
static u32 module_count;
static u32 look;

static struct area fresh[AREAS_MAX];
static u32 fresh_count;

// Where the byte at @address is in the copy, counted in bytes.
static u64 locate(u64 address)
{
	for (u32 i = 0; i < area_count; i++) {
		u64 offset = address - areas[i].start;

		if (offset < (u64)areas[i].pages << PAGE_SHIFT)
			return ((u64)areas[i].slot << PAGE_SHIFT) + offset;
	}
	return NOWHERE;
}

static bool slot_changed(u64 slot)
{
	return slot < SLOTS_MAX &&
	       (__atomic_load_n(&changed[slot / 64], __ATOMIC_RELAXED) >> (slot % 64)) & 1;
}

static bool in_kernel_text(u64 address)
{
	return address >= (u64)_stext && address < (u64)_etext;
}

static bool in_kernel_image(u64 address)
{
	return address >= (u64)_stext && address < (u64)_end;
}

// Consecutive free slots; SLOTS_MAX if there are not so many.
static u32 find_slots(u32 pages)
{
	u32 at = slot_hint, found = 0;

	for (u32 tried = 0; tried < 2 * SLOTS_MAX; tried++, at++) {
		if (at >= SLOTS_MAX) {
			at = 0;
			found = 0;
		}
		found = slot_address[at] ? 0 : found + 1;
		if (found == pages) {
			slot_hint = at + 1;
			return at + 1 - pages;
		}
	}
	return SLOTS_MAX;
}

static void add_area(u64 start, u32 pages, u32 kind, u64 owner, u64 id)
{
	u32 slot = area_count < AREAS_MAX ? find_slots(pages) : SLOTS_MAX;

	if (slot >= SLOTS_MAX) {
		pages_left_out += pages;
		return;
	}
	areas[area_count].start = start;
	areas[area_count].owner = owner;
	areas[area_count].id = id;
	areas[area_count].pages = pages;
	areas[area_count].slot = slot;
	areas[area_count].kind = kind;
	areas[area_count].seen = look;
	areas[area_count].fresh = true;
	area_count++;
	// Taken, whatever the next call looks for.
	for (u32 i = 0; i < pages; i++)
		slot_address[slot + i] = start + ((u64)i << PAGE_SHIFT);
	slot_count = max(slot_count, slot + pages);
	pages_covered += pages;
}

static void add_range(u64 start, u64 end, u32 kind)
{
	start &= ~(PAGE_SIZE - 1);
	if (end > start && end - start <= SLOTS_MAX * PAGE_SIZE)
		add_area(start, (end - start + PAGE_SIZE - 1) >> PAGE_SHIFT, kind, 0, 0);
}

static void add_kernel_areas(void)
{
	add_range((u64)_stext, (u64)_etext, AREA_TEXT);
	add_range((u64)__start_rodata, (u64)__end_rodata, AREA_RODATA);
	add_range((u64)idt_table, (u64)(idt_table + 2 * IDT_ENTRIES), AREA_IDT);
}

static void drop_area(u32 i)
{
	u32 slot = areas[i].slot, pages = areas[i].pages;

	for (u32 j = 0; j < pages; j++)
		slot_address[slot + j] = 0;
	pages_covered -= pages;
	area_count--;
	areas[i] = areas[area_count];
}

static void list_modules(void)
{
	struct module *mod;

	module_count = 0;
	fresh_count = 0;
	pages_left_out = 0;
	look++;
	list_for_each_entry (mod, &modules, list) {
		if (module_count == MODULES_MAX)
			break;
		module_list[module_count++] = (u64)mod;
	}
}

// Mark the area of a module's part as seen, or remember it as a new one.
static void match_module(const struct module *mod, u32 part)
{
	u64 start, id = module_id(mod);
	u32 size, pages;

	if (mod->state != bpf_core_enum_value(enum module_state, MODULE_STATE_LIVE))
		return;
	module_part(mod, part, &start, &size);
	pages = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	if (!pages || pages > AREA_PAGES_MAX || start & (PAGE_SIZE - 1))
		return;
	for (u32 i = 0; i < area_count; i++) {
		if (areas[i].start == start && areas[i].owner == (u64)mod && areas[i].id == id &&
		    areas[i].pages == pages) {
			areas[i].seen = look;
			return;
		}
	}

	u32 i = __atomic_fetch_add(&fresh_count, 1, __ATOMIC_RELAXED);

	if (i >= AREAS_MAX)
		return;
	fresh[i].start = start;
	fresh[i].owner = (u64)mod;
	fresh[i].id = id;
	fresh[i].pages = pages;
	fresh[i].kind = part == MODULE_PART_TEXT ? AREA_MODULE_TEXT : AREA_MODULE_RODATA;
}

static void update_areas(void)
{
	u32 i = 0;

	while (i < area_count) {
		if (areas[i].owner && areas[i].seen != look)
			drop_area(i);
		else
			i++;
	}
	for (i = 0; i < min(fresh_count, (u32)AREAS_MAX); i++)
		add_area(fresh[i].start, fresh[i].pages, fresh[i].kind, fresh[i].owner,
			 fresh[i].id);
}

static void copy_area(u32 i)
{
	const u64 *from = (const u64 *)areas[i].start;
	u32 to = areas[i].slot * PAGE_WORDS, words = areas[i].pages * PAGE_WORDS;
	u32 step = block_thread_count();

	for (u32 w = block_thread_index(); w < words; w += 4 * step) {
		u32 w1 = w + step, w2 = w1 + step, w3 = w2 + step;
		u64 a = from[w], b = w1 < words ? from[w1] : 0;
		u64 c = w2 < words ? from[w2] : 0, d = w3 < words ? from[w3] : 0;

		baseline[to + w] = a;
		if (w1 < words)
			baseline[to + w1] = b;
		if (w2 < words)
			baseline[to + w2] = c;
		if (w3 < words)
			baseline[to + w3] = d;
	}
}

// All threads of one block: cover modules that are new, forget those that have gone.
static void follow_modules(void)
{
	if (block_thread_index() == 0)
		list_modules();
	block_barrier();
	for (u32 i = block_thread_index(); i < MODULE_PARTS * module_count;
	     i += block_thread_count())
		match_module((const struct module *)module_list[i / MODULE_PARTS],
			     i % MODULE_PARTS);
	block_barrier();
	if (block_thread_index() == 0)
		update_areas();
	block_barrier();
	for (u32 i = 0; i < area_count; i++) {
		if (areas[i].fresh)
			copy_area(i);
	}
	block_barrier();
	for (u32 i = block_thread_index(); i < area_count; i += block_thread_count())
		areas[i].fresh = false;
	block_barrier();
}

#endif
