/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the integrity detector says: neighbouring bytes that differ are one change, which is told
 * once, and again when it is another one or none any more.
 */
#ifndef INTEGRITY_REPORT_H
#define INTEGRITY_REPORT_H

#include "integrity_patches.h"

#define CHANGES_MAX 256
// Findings and pages of one look.
#define TELL_MAX 32
#define FOREIGN_PAGES_MAX 64
// Looks at all pages after which a difference is told that is another one each time, or that is there while the system
// stands still, or has just begun to go on and is at a static call: a virtual machine may be paused in the midst of
// patching itself.
#define LOOKS_MAX 4
// Bytes that are equal between two that differ, within one change.
#define GAP_MAX 8
// Bytes of a change that are shown: as many as code_at() gives.
#define SHOWN_MAX JCC32_INSN_SIZE

struct change {
	u64 start, end;
	// Of all bytes that differ.
	u64 hash;
	u64 owner;
	u32 kind;
	// Looks that have seen it.
	u32 looks;
	bool told, seen;
};

static struct change changes[CHANGES_MAX];
static u32 change_count;
// What this look sees, in order of addresses within an area.
static struct change found[CHANGES_MAX];
static u32 found_count;
// The system has gone on since the look before, and is not at changing a static call.
static bool moves;
static u32 told_now;
// Not all of memory was looked at: what was not seen need not be gone.
static bool cut_short;

static u64 foreign[SLOTS_MAX / 64];

struct hex {
	char text[3 * SHOWN_MAX];
};

static char hex_digit(u32 digit)
{
	return digit < 10 ? '0' + digit : 'a' + digit - 10;
}

static void print_hex(struct hex *hex, u64 bytes, u32 count)
{
	u32 n = 0;

	for (u32 i = 0; i < count; i++) {
		u32 byte = (bytes >> (8 * i)) & 0xff;

		if (i)
			hex->text[n++] = ' ';
		hex->text[n++] = hex_digit(byte >> 4);
		hex->text[n++] = hex_digit(byte & 15);
	}
	hex->text[n] = 0;
}

// The copy's and memory's first bytes of a change.
static void print_bytes(const struct change *c, struct hex *old, struct hex *new)
{
	u64 index = locate(c->start);
	u32 count = min(c->end - c->start, (u64)SHOWN_MAX);

	print_hex(old, index < sizeof(baseline) ? copy_at(index) : 0, count);
	print_hex(new, code_at(c->start), count);
}

// Intel SDM volume 3, 6.14.1: where the gate leads.
static void *gate_offset(u64 low, u64 high)
{
	return (void *)((low & 0xffff) | (low >> 48 << 16) | high << 32);
}

static bool is_system_call(u64 address)
{
	return address - (u64)sys_call_table < SYSCALLS_MAX * 8;
}

// Entries of these tables are told one by one.
static u64 unit_of(u32 kind, u64 address)
{
	if (kind == AREA_IDT)
		return address >> 4;
	if (kind == AREA_RODATA && is_system_call(address))
		return address >> 3;
	return 0;
}

static void tell_gate(const struct change *c)
{
	u64 gate = c->start & ~15ULL, index = locate(gate) / 8;
	const u64 *now = (const u64 *)gate;

	if (index + 2 > ARRAY_SIZE(baseline))
		return;
	finding(CRITICAL, "interrupt table changed: vector=%u was=%pS is=%pS at=%pS",
		(u32)(gate - (u64)idt_table) / 16,
		gate_offset(baseline[index], baseline[index + 1]), gate_offset(now[0], now[1]),
		(void *)c->start);
}

static bool tell_system_call(const struct change *c)
{
	u64 entry = c->start & ~7ULL, index = locate(entry) / 8;

	// What follows the table is no part of it; its entries lead into text.
	if (index >= ARRAY_SIZE(baseline) || !in_kernel_text(baseline[index]))
		return false;
	finding(CRITICAL, "system-call table changed: number=%u was=%pS is=%pS at=%pS",
		(u32)(entry - (u64)sys_call_table) / 8, (void *)baseline[index],
		*(void *const *)entry, (void *)c->start);
	return true;
}

static void tell(const struct change *c)
{
	u32 bytes = c->end - c->start;
	struct hex old, new;

	if (c->kind == AREA_IDT) {
		tell_gate(c);
		return;
	}
	if (c->kind == AREA_RODATA && is_system_call(c->start) && tell_system_call(c))
		return;
	print_bytes(c, &old, &new);
	if (c->kind == AREA_TEXT)
		finding(CRITICAL, "kernel text changed: %pS bytes=%u was=%s is=%s",
			(void *)c->start, bytes, old.text, new.text);
	else if (c->kind == AREA_RODATA)
		finding(CRITICAL, "kernel rodata changed: %pS bytes=%u was=%s is=%s",
			(void *)c->start, bytes, old.text, new.text);
	else if (c->kind == AREA_MODULE_TEXT)
		finding(CRITICAL, "module text changed: %pS module=%s bytes=%u was=%s is=%s",
			(void *)c->start, ((const struct module *)c->owner)->name, bytes, old.text,
			new.text);
	else
		finding(CRITICAL, "module rodata changed: %pS module=%s bytes=%u was=%s is=%s",
			(void *)c->start, ((const struct module *)c->owner)->name, bytes, old.text,
			new.text);
}

static void note_change(const struct change *now)
{
	u32 i;

	for (i = 0; i < change_count; i++) {
		if (!changes[i].seen && changes[i].end > now->start && changes[i].start < now->end)
			break;
	}
	if (i == change_count) {
		if (change_count == CHANGES_MAX)
			cut_short = true;
		else
			changes[change_count++] = *now;
		return;
	}

	bool same = changes[i].hash == now->hash && changes[i].start == now->start &&
		    changes[i].end == now->end;
	bool told = changes[i].told;
	u32 looks = changes[i].looks + 1;
	bool tell_now = told ? !same : (same && moves) || looks >= LOOKS_MAX;

	changes[i] = *now;
	changes[i].looks = looks;
	// What is beyond the limit has its turn in the next looks.
	if (tell_now && told_now < TELL_MAX) {
		told_now++;
		tell(&changes[i]);
		told = true;
	}
	changes[i].told = told;
}

// The copy would keep what was changed before it was made. Vectors of exceptions that no CPU has
// still lead to the handlers of the boot, whose memory is given away.
static void check_tables(void)
{
	for (u32 i = 0; i < IDT_ENTRIES; i++) {
		u64 low = idt_table[2 * i], high = idt_table[2 * i + 1];
		void *handler = gate_offset(low, high);

		// Bit 47: present.
		if ((low >> 47) & 1 && !in_kernel_image((u64)handler))
			finding(CRITICAL,
				"interrupt gate leads out of the kernel: vector=%u is=%pS", i,
				handler);
	}
	for (u32 i = 0; i < SYSCALLS_MIN; i++) {
		if (!in_kernel_text(sys_call_table[i]))
			finding(CRITICAL, "system call leads out of the kernel: number=%u is=%pS",
				i, (void *)sys_call_table[i]);
	}
}

// FNV-1a.
static u64 hash_byte(u64 hash, u8 byte)
{
	return (hash ^ byte) * 0x100000001b3ULL;
}

static void found_change(const struct change *c)
{
	if (found_count == CHANGES_MAX)
		cut_short = true;
	else
		found[found_count++] = *c;
}

static u32 area_of(u32 slot)
{
	u32 i;

	for (i = 0; i < area_count; i++) {
		if (slot - areas[i].slot < areas[i].pages)
			break;
	}
	return i;
}

// Changes of one page; @c is the one that may go on from the page before.
static void report_page(u32 slot, struct change *c)
{
	u32 area = area_of(slot);

	if (area == area_count)
		return;
	for (u32 word = 0; word < PAGE_WORDS; word++) {
		u64 differs = foreign_bytes(slot, word);
		u64 then = baseline[slot * PAGE_WORDS + word], now = then ^ differs;
		u64 address = slot_address[slot] + 8 * word;

		for (u32 byte = 0; differs && byte < 8; byte++) {
			u64 at = address + byte;

			if (!((differs >> (8 * byte)) & 0xff))
				continue;
			if (c->end && (at - c->end > GAP_MAX || c->kind != areas[area].kind ||
				       unit_of(c->kind, at) != unit_of(c->kind, c->start))) {
				found_change(c);
				c->end = 0;
			}
			if (!c->end) {
				c->start = at;
				c->hash = 0xcbf29ce484222325ULL;
				c->owner = areas[area].owner;
				c->kind = areas[area].kind;
				c->looks = 1;
				c->told = false;
				c->seen = true;
			}
			c->end = at + 1;
			c->hash = hash_byte(hash_byte(c->hash, at), now >> (8 * byte));
		}
	}
}

static void begin_report(void)
{
	static u64 jiffies_before;
	u64 jiffies = jiffies_64;

	moves = jiffies != jiffies_before && !static_call_active();
	jiffies_before = jiffies;
	told_now = 0;
	found_count = 0;
	cut_short = false;
	for (u32 i = 0; i < change_count; i++)
		changes[i].seen = false;
}

static void report_foreign(void)
{
	struct change c = {};
	u32 pages = 0;

	for (u32 i = 0; i < (slot_count + 63) / 64; i++) {
		u64 slots = __atomic_load_n(&foreign[i], __ATOMIC_RELAXED);

		for (; slots; slots &= slots - 1) {
			if (pages++ == FOREIGN_PAGES_MAX) {
				cut_short = true;
				break;
			}
			report_page(i * 64 + __builtin_ctzll(slots), &c);
		}
	}
	if (c.end)
		found_change(&c);
	if (static_call_active())
		moves = false;
	for (u32 i = 0; i < found_count; i++)
		note_change(&found[i]);
}

// What was not seen in this look is gone: as it was, or with its module.
static void end_report(void)
{
	u32 i = 0;

	while (i < change_count && !cut_short) {
		if (changes[i].seen) {
			i++;
			continue;
		}
		if (changes[i].told && locate(changes[i].start) != NOWHERE)
			finding(INFO, "as it was again: %pS bytes=%u", (void *)changes[i].start,
				(u32)(changes[i].end - changes[i].start));
		change_count--;
		changes[i] = changes[change_count];
	}
}

#endif
