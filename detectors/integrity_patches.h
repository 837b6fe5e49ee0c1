/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own patch sites: what it has legally written there is taken over into the copy.
 * All sites are gone through when some page differs, each read once, in place of a search for the
 * site behind each difference: turning on the function tracer changes 50,000 at a time.
 */
#ifndef INTEGRITY_PATCHES_H
#define INTEGRITY_PATCHES_H

#include "integrity_areas.h"

// The kernel patches up to 256 sites at a time (TP_VEC_MAX, TEXT_POKE_ARRAY_MAX).
#define TRANSIT_MAX 1024
// A breakpoint that stays for so long is not on its way to something else, unless the kernel says
// that it is still at it: its CPUs may be stopped.
#define TRANSIT_NS (10 * NSEC_PER_SEC)
#define TARGETS_MAX 256U
// What ftrace no longer uses is taken off its list first and out of all calls then, which takes
// seconds on a slow machine.
#define TARGET_KEEP_NS (60 * NSEC_PER_SEC)
// Those of the kernel, of each module, and some hundred blocks of ftrace records.
#define TABLES_MAX (4 * MODULES_MAX + FTRACE_PAGES_MAX + 5)
#define PROBES_MAX 4096
// Of one table; that of static branches is the longest, with some 10,000.
#define SITES_MAX (1 << 20)

extern struct mutex static_call_mutex __ksym __weak;

// The kernel is at a static call: it changes its key first, and its sites one after the other then.
static bool static_call_active(void)
{
	return &static_call_mutex && atomic_long_read(&static_call_mutex.owner) != 0;
}

// Sites that hold a breakpoint while the rest of the instruction is written, in the look before and
// in this one.
struct transit {
	u64 address;
	u64 since_ns;
};

static struct transit transit[2][TRANSIT_MAX];
static u32 transit_count[2];
static u32 transit_now;

// Bytes of the copy that are not compared in this look: those and kprobes.
struct mask {
	u64 index;
	// Less than 8.
	u32 size;
};

static struct mask masks[TRANSIT_MAX + PROBES_MAX];
static u32 mask_count;

// Where ftrace's calls may lead: from the start of functions to a trampoline, from there to a function.
struct ftrace_target {
	u64 address;
	u64 seen_ns;
	bool trampoline;
};

static struct ftrace_target ftrace_targets[TARGETS_MAX];
static u32 ftrace_target_count;

enum table_kind {
	TABLE_JUMP_LABELS,
	TABLE_STATIC_CALLS,
	TABLE_TRACEPOINTS,
	// Not a table of sites: any four bytes may begin a trampoline.
	TABLE_STATIC_CALL_TEXT,
	TABLE_FTRACE,
	TABLE_FTRACE_CALLS,
	TABLE_LOCKS,
};

struct table {
	u64 base;
	u32 kind, count;
};

static struct table tables[TABLES_MAX];
static u32 table_count;

static void add_mask(u64 index, u32 size)
{
	u32 i = __atomic_fetch_add(&mask_count, 1, __ATOMIC_RELAXED);

	if (i >= ARRAY_SIZE(masks))
		return;
	masks[i].index = index;
	masks[i].size = size;
}

static void add_transit(u64 address, u64 index)
{
	u32 now = transit_now & 1, count = min(transit_count[!now], (u32)TRANSIT_MAX);
	u64 since = now_ns();

	for (u32 i = 0; i < count; i++) {
		if (transit[!now][i].address == address)
			since = transit[!now][i].since_ns;
	}
	if (now_ns() - since < TRANSIT_NS || text_poke_active())
		add_mask(index, JMP32_INSN_SIZE);

	u32 i = __atomic_fetch_add(&transit_count[now], 1, __ATOMIC_RELAXED);

	if (i >= TRANSIT_MAX)
		return;
	transit[now][i].address = address;
	transit[now][i].since_ns = since;
}

// Eight bytes of the copy, as code_at() gives them of memory; slots follow each other.
static u64 copy_at(u64 index)
{
	u32 shift = (index & 7) * 8;
	u64 code = baseline[index / 8] >> shift;

	if (shift > 16 && index / 8 + 1 < ARRAY_SIZE(baseline))
		code |= baseline[index / 8 + 1] << (64 - shift);
	return code;
}

// The code at a patch site, and where that is in the copy, if it is an instruction that differs.
static bool site_code(u64 address, u64 *index, u64 *code)
{
	u64 at = locate(address);

	// Text of the boot is gone; other sites lie in pages that are as they were.
	if (at == NOWHERE ||
	    !(slot_changed(at >> PAGE_SHIFT) || slot_changed((at + JCC32_INSN_SIZE) >> PAGE_SHIFT)))
		return false;
	*index = at;
	*code = code_at(address);
	if (!((*code ^ copy_at(at)) << (64 - 8 * JCC32_INSN_SIZE)))
		return false;
	if (code_byte(*code, 0) != INT3_INSN_OPCODE)
		return true;
	add_transit(address, at);
	return false;
}

// A branch of two bytes cannot become one of five.
static bool same_size(u64 index, u32 size)
{
	u64 was = copy_at(index);

	return code_byte(was, 0) == INT3_INSN_OPCODE ||
	       (code_byte(was, 0) == JMP8_INSN_OPCODE || is_nop2(was)) == (size == JMP8_INSN_SIZE);
}

static u32 jump_label(u64 address, u64 index, u64 code, u64 target)
{
	u32 size = jump_label_size(address, code, target);

	return size && same_size(index, size) ? size : 0;
}

// Whether some static call of the kernel leads to @target. Which key a trampoline belongs to is
// known for tracepoints only.
static bool is_static_call_target(u64 target)
{
	u64 count =
		min((u64)(__stop_static_call_sites - __start_static_call_sites), (u64)SITES_MAX);
	bool found = false;

	for (u32 i = 0; i < count && !found; i++)
		found = static_call_leads_to(
			(u64)static_call_key(&__start_static_call_sites[i])->func, target);
	return found;
}

static u32 static_call_trampoline(u64 address, u64 index, u64 code)
{
	u8 was = code_byte(copy_at(index), 0);
	u64 target = 0;

	// Between trampolines there are others' halves.
	if (was != JMP32_INSN_OPCODE && was != RET_INSN_OPCODE && was != INT3_INSN_OPCODE)
		return 0;
	if (code_byte(code, 0) == JMP32_INSN_OPCODE) {
		target = branch_target(address, code, 1);
		if (!is_static_call_target(target))
			return 0;
	}
	return static_call_size(address, code, target);
}

static bool is_ftrace_target(u64 address, bool trampoline)
{
	bool found = false;

	for (u32 i = 0; i < min(ftrace_target_count, TARGETS_MAX); i++)
		found |= ftrace_targets[i].address == address &&
			 ftrace_targets[i].trampoline == trampoline;
	return found;
}

static u32 ftrace_site(u64 address, u64 code)
{
	u8 opcode = code_byte(code, 0);
	u64 target = branch_target(address, code, 1);

	if (is_nop5(code))
		return CALL_INSN_SIZE;
	if (opcode != CALL_INSN_OPCODE && opcode != JMP32_INSN_OPCODE)
		return 0;
	if (opcode == CALL_INSN_OPCODE && is_ftrace_target(target, true))
		return CALL_INSN_SIZE;
	return ftrace_find_rec_direct(address) == target ? CALL_INSN_SIZE : 0;
}

// The calls inside ftrace_caller and ftrace_regs_caller, and the jump behind them.
static u32 ftrace_own_call(u64 address, u64 code)
{
	u8 opcode = code_byte(code, 0);
	u64 target = branch_target(address, code, 1);
	bool legal = false;

	if (opcode == JMP32_INSN_OPCODE && address == (u64)ftrace_graph_call)
		legal = target == (u64)ftrace_stub || target == (u64)ftrace_graph_caller;
	if (opcode == CALL_INSN_OPCODE && address != (u64)ftrace_graph_call)
		legal = is_ftrace_target(target, false);
	return legal ? CALL_INSN_SIZE : 0;
}

static u32 lock_prefix(u64 code)
{
	return code_byte(code, 0) == LOCK_PREFIX_BYTE || code_byte(code, 0) == DS_PREFIX_BYTE;
}

// Address of one site, and what decides there.
static u64 site_address(const struct table *table, u32 i, u64 *operand)
{
	const struct static_call_site *site;
	const struct jump_entry *entry;
	const struct tracepoint *tp;
	const s32 *lock;

	switch (table->kind) {
	case TABLE_JUMP_LABELS:
		entry = &((const struct jump_entry *)table->base)[i];
		*operand = jump_entry_target(entry);
		return jump_entry_code(entry);
	case TABLE_STATIC_CALLS:
		site = &((const struct static_call_site *)table->base)[i];
		*operand = (u64)static_call_key(site)->func;
		return static_call_addr(site);
	case TABLE_TRACEPOINTS:
		tp = tracepoint_at((const int *)table->base, i);
		*operand = tp->static_call_key ? (u64)tp->static_call_key->func : 0;
		return (u64)tp->static_call_tramp;
	case TABLE_STATIC_CALL_TEXT:
		return table->base + 4 * i;
	case TABLE_FTRACE:
		return ((const struct dyn_ftrace *)table->base)[i].ip;
	case TABLE_FTRACE_CALLS:
		return (u64)(i == 0 ? ftrace_call : i == 1 ? ftrace_regs_call : ftrace_graph_call);
	default:
		lock = &((const s32 *)table->base)[i];
		return (u64)lock + (s64)*lock;
	}
}

// Bytes of the instruction that the kernel may have put there; 0: it has not.
static u32 legal_size(u32 kind, u64 address, u64 index, u64 code, u64 operand)
{
	switch (kind) {
	case TABLE_JUMP_LABELS:
		return jump_label(address, index, code, operand);
	case TABLE_STATIC_CALLS:
	case TABLE_TRACEPOINTS:
		return static_call_size(address, code, operand);
	case TABLE_STATIC_CALL_TEXT:
		return static_call_trampoline(address, index, code);
	case TABLE_FTRACE:
		return ftrace_site(address, code);
	case TABLE_FTRACE_CALLS:
		return ftrace_own_call(address, code);
	default:
		return lock_prefix(code);
	}
}

static void take_over_site(const struct table *table, u32 i)
{
	u8 *bytes = (u8 *)baseline;
	u64 operand = 0, address = site_address(table, i, &operand), index, code;
	u32 size;

	if (!address || !site_code(address, &index, &code))
		return;
	size = legal_size(table->kind, address, index, code, operand);
	for (u32 byte = 0; byte < size; byte++)
		bytes[index + byte] = code_byte(code, byte);
}

static void add_table(u32 kind, const void *base, u64 count)
{
	if (!base || !count || table_count == TABLES_MAX)
		return;
	tables[table_count].kind = kind;
	tables[table_count].base = (u64)base;
	tables[table_count].count = min(count, (u64)SITES_MAX);
	table_count++;
}

static void list_kernel_tables(void)
{
	const struct ftrace_page *pg = &ftrace_pages_start ? ftrace_pages_start : NULL;
	struct smp_alt_module *smp;

	add_table(TABLE_JUMP_LABELS, __start___jump_table,
		  __stop___jump_table - __start___jump_table);
	add_table(TABLE_STATIC_CALLS, __start_static_call_sites,
		  __stop_static_call_sites - __start_static_call_sites);
	add_table(TABLE_TRACEPOINTS, __start___tracepoints_ptrs,
		  __stop___tracepoints_ptrs - __start___tracepoints_ptrs);
	add_table(TABLE_STATIC_CALL_TEXT, (void *)((u64)__static_call_text_start & ~3ULL),
		  (__static_call_text_end - __static_call_text_start) / 4 + 1);
	add_table(TABLE_FTRACE_CALLS, ftrace_call, 3);
	for (u32 pages = 0; pg && pages < FTRACE_PAGES_MAX; pages++, pg = pg->next)
		add_table(TABLE_FTRACE, pg->records, (u32)pg->index);
	if (!&smp_alt_modules)
		return;
	list_for_each_entry (smp, &smp_alt_modules, next)
		add_table(TABLE_LOCKS, smp->locks, smp->locks_end - smp->locks);
}

static void list_module_tables(void)
{
	for (u32 i = 0; i < module_count; i++) {
		const struct module *mod = (const struct module *)module_list[i];

		if (mod->state != bpf_core_enum_value(enum module_state, MODULE_STATE_LIVE))
			continue;
		add_table(TABLE_JUMP_LABELS, mod->jump_entries, mod->num_jump_entries);
		add_table(TABLE_STATIC_CALLS, mod->static_call_sites,
			  (u32)mod->num_static_call_sites);
		add_table(TABLE_TRACEPOINTS, mod->tracepoints_ptrs, mod->num_tracepoints);
	}
}

static void see_ftrace_target(u64 address, bool trampoline)
{
	u32 i;

	for (i = 0; i < ftrace_target_count; i++) {
		if (ftrace_targets[i].address == address &&
		    ftrace_targets[i].trampoline == trampoline)
			break;
	}
	if (!address || i >= TARGETS_MAX)
		return;
	ftrace_targets[i].address = address;
	ftrace_targets[i].seen_ns = now_ns();
	ftrace_targets[i].trampoline = trampoline;
	ftrace_target_count = max(ftrace_target_count, i + 1);
}

// One thread, in each look.
static void list_ftrace_targets(void)
{
	const struct ftrace_ops *ops = &ftrace_ops_list ? ftrace_ops_list : NULL;
	u32 i = 0;

	while (i < ftrace_target_count) {
		if (now_ns() - ftrace_targets[i].seen_ns > TARGET_KEEP_NS)
			ftrace_targets[i] = ftrace_targets[--ftrace_target_count];
		else
			i++;
	}
	see_ftrace_target((u64)ftrace_caller, true);
	see_ftrace_target((u64)ftrace_regs_caller, true);
	see_ftrace_target((u64)ftrace_stub, false);
	see_ftrace_target((u64)ftrace_ops_list_func, false);
	see_ftrace_target((u64)arch_ftrace_ops_list_func, false);
	see_ftrace_target((u64)ftrace_ops_assist_func, false);
	if (&ftrace_trace_function)
		see_ftrace_target(ftrace_trace_function, false);
	// The last one's next is NULL.
	for (i = 0; ops && i < TARGETS_MAX; i++, ops = ops->next) {
		see_ftrace_target(ops->trampoline, true);
		see_ftrace_target((u64)ops->func, false);
	}
}

// A probe is no new form of the code: the copy keeps what is there when the probe goes.
static void mask_kprobe(const struct kprobe *kp)
{
	u64 address = (u64)kp->addr, index = locate(address);

	if (index == NOWHERE || !slot_changed(index >> PAGE_SHIFT))
		return;

	u64 code = code_at(address);

	if (code_byte(code, 0) == INT3_INSN_OPCODE) {
		add_mask(index, INT3_INSN_SIZE);
	} else if (code_byte(code, 0) == JMP32_INSN_OPCODE &&
		   bpf_core_type_exists(struct optimized_kprobe)) {
		const struct optimized_kprobe *op = container_of(kp, struct optimized_kprobe, kp);

		if (branch_target(address, code, 1) == (u64)op->optinsn.insn)
			add_mask(index, JMP32_INSN_SIZE);
	}
}

static void mask_kprobes(void)
{
	if (!&kprobe_table)
		return;
	for (u32 i = block_thread_index(); i < KPROBE_TABLE_SIZE; i += block_thread_count()) {
		struct hlist_node *node = kernel_array_at(kprobe_table, i)->first;

		for (u32 n = 0; node && n < PROBES_MAX; n++, node = node->next)
			mask_kprobe(container_of(node, struct kprobe, hlist));
	}
}

// All threads of one block.
static void take_over_patches(void)
{
	if (block_thread_index() == 0) {
		mask_count = 0;
		table_count = 0;
		list_kernel_tables();
		list_module_tables();
	}
	block_barrier();
	for (u32 t = 0; t < table_count; t++) {
		for (u32 i = block_thread_index(); i < tables[t].count; i += block_thread_count())
			take_over_site(&tables[t], i);
	}
	mask_kprobes();
}

// One thread: what was in transit in this look is looked up in the next one.
static void next_transit(void)
{
	transit_now++;
	transit_count[transit_now & 1] = 0;
}

// Bits of one word of the copy that differ and have no business to.
static u64 foreign_bytes(u32 slot, u32 word)
{
	u64 now = ((const u64 *)slot_address[slot])[word];
	u64 differs = now ^ baseline[slot * PAGE_WORDS + word];
	u64 start = ((u64)slot << PAGE_SHIFT) + 8 * word;
	u32 count = differs ? min(mask_count, (u32)ARRAY_SIZE(masks)) : 0;

	for (u32 i = 0; i < count; i++) {
		u64 bits = (1ULL << (8 * masks[i].size)) - 1;
		s64 offset = masks[i].index - start;

		if (offset >= 0 && offset < 8)
			differs &= ~(bits << (8 * offset));
		else if (offset < 0 && offset > -8)
			differs &= ~(bits >> (-8 * offset));
	}
	return differs;
}

#endif
