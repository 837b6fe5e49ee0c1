/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Where the kernel changes its own text while it runs, and what it may write there: static keys,
 * static calls, ftrace, kprobes, lock prefixes. x86-64.
 *
 * Everything else in text stays as it is from the end of the boot on: alternatives, paravirt
 * calls, retpolines and return thunks are patched at boot, and in a module before it goes live.
 */
#ifndef GPUSENTINEL_KERNEL_PATCHING_H
#define GPUSENTINEL_KERNEL_PATCHING_H

#include <gpusentinel/kernel/base.h>

/** Opcodes: Intel SDM volume 2. */
#define INT3_INSN_OPCODE 0xcc
#define CALL_INSN_OPCODE 0xe8
#define JMP32_INSN_OPCODE 0xe9
#define JMP8_INSN_OPCODE 0xeb
#define RET_INSN_OPCODE 0xc3
#define LOCK_PREFIX_BYTE 0xf0
#define DS_PREFIX_BYTE 0x3e

/** Bytes. */
#define INT3_INSN_SIZE 1
#define JMP8_INSN_SIZE 2
#define CALL_INSN_SIZE 5
#define JMP32_INSN_SIZE 5
#define JCC32_INSN_SIZE 6

/** Eight bytes of code, the first one lowest; those behind the page are zero if it has no next. */
static __always_inline u64 code_at(u64 address)
{
	const u64 *word = (const u64 *)(address & ~7UL);
	u32 shift = (address & 7) * 8;
	u64 code = word[0] >> shift;

	// Six bytes are the longest instruction that is looked at.
	if (shift > 16)
		code |= word[1] << (64 - shift);
	return code;
}

static __always_inline u8 code_byte(u64 code, u32 i)
{
	return code >> (8 * i);
}

/** Where the instruction at @p address leads whose last four bytes, from @p offset on, are relative. */
static __always_inline u64 branch_target(u64 address, u64 code, u32 offset)
{
	return address + offset + 4 + (s64)(s32)(code >> (8 * offset));
}

/** One instruction of two bytes; arch/x86/include/asm/nops.h. */
static __always_inline bool is_nop2(u64 code)
{
	return (code & 0xffff) == 0x9066;
}

/**
 * One instruction of five bytes. Before Linux kernel commit a89dfde3dc3c ("x86: Remove dynamic NOP
 * selection") (in v5.13), which one depends on the CPU: those with data16 prefixes, and the one
 * with a lea.
 */
static __always_inline bool is_nop5(u64 code)
{
	code &= 0xffffffffffULL;
	return code == 0x0000441f0fULL || code == 0x9066666666ULL || code == 0x0026748d3eULL;
}

/**
 * Sites that are being patched at the moment. arch/x86/kernel/alternative.c; since v6.16 in an
 * array that has a type of its own and its count, before that counted by tp_vec_nr.
 */
struct smp_text_poke_array {
	int nr_entries;
} __kernel_type;

extern struct smp_text_poke_array text_poke_array __ksym __weak;
extern int tp_vec_nr __ksym __weak;

/** Whether the kernel is at patching several sites at once. */
static __always_inline bool text_poke_active(void)
{
	if (&text_poke_array && bpf_core_type_exists(struct smp_text_poke_array))
		return text_poke_array.nr_entries != 0;
	return &tp_vec_nr && tp_vec_nr != 0;
}

/** A static branch. include/linux/jump_label.h, HAVE_ARCH_JUMP_LABEL_RELATIVE */
struct jump_entry {
	/** Relative to their own addresses. */
	s32 code;
	s32 target;
} __kernel_type;

extern struct jump_entry __start___jump_table[] __ksym;
extern struct jump_entry __stop___jump_table[] __ksym;

static __always_inline u64 jump_entry_code(const struct jump_entry *entry)
{
	return (u64)&entry->code + (s64)entry->code;
}

static __always_inline u64 jump_entry_target(const struct jump_entry *entry)
{
	return (u64)&entry->target + (s64)entry->target;
}

/**
 * Bytes of the static branch that @p code at @p address is, with @p target as its other way; 0 if
 * it is none. Two-byte forms since Linux kernel commit ab3257042c26 ("jump_label, x86: Allow short
 * NOPs") (in v5.14).
 */
static __always_inline u32 jump_label_size(u64 address, u64 code, u64 target)
{
	if (is_nop5(code))
		return JMP32_INSN_SIZE;
	if (is_nop2(code))
		return JMP8_INSN_SIZE;
	if (code_byte(code, 0) == JMP32_INSN_OPCODE && branch_target(address, code, 1) == target)
		return JMP32_INSN_SIZE;
	if (code_byte(code, 0) == JMP8_INSN_OPCODE &&
	    address + JMP8_INSN_SIZE + (s64)(s8)code_byte(code, 1) == target)
		return JMP8_INSN_SIZE;
	return 0;
}

/** include/linux/static_call_types.h */
struct static_call_site {
	/** Relative to their own addresses. */
	s32 addr;
	/** The lowest two bits are flags. */
	s32 key;
} __kernel_type;

struct static_call_key {
	/** What is called; NULL: nothing. */
	void *func;
} __kernel_type;

extern struct static_call_site __start_static_call_sites[] __ksym __weak;
extern struct static_call_site __stop_static_call_sites[] __ksym __weak;
/** Trampolines: what is called where the call is not inlined. */
extern char __static_call_text_start[] __ksym __weak;
extern char __static_call_text_end[] __ksym __weak;
/**
 * Since Linux kernel commit 3f2a8fc4b15d ("static_call/x86: Add __static_call_return0()") (in
 * v5.12).
 */
extern char __static_call_return0[] __ksym __weak;
/**
 * Since Linux kernel commit 923510c88d2b ("x86/static_call: Add support for Jcc tail-calls") (in
 * v6.3, and stable kernels).
 */
extern char __static_call_return[] __ksym __weak;
/** Since Linux kernel commit 0b53c374b9ef ("x86/retpoline: Use -mfunction-return") (in v5.19, and stable kernels). */
extern char __x86_return_thunk[] __ksym __weak;

static __always_inline u64 static_call_addr(const struct static_call_site *site)
{
	return (u64)&site->addr + (s64)site->addr;
}

static __always_inline const struct static_call_key *
static_call_key(const struct static_call_site *site)
{
	return (const struct static_call_key *)(((u64)&site->key + (s64)site->key) & ~3ULL);
}

/** Whether a static call with function @p func may lead to @p target. */
static __always_inline bool static_call_leads_to(u64 func, u64 target)
{
	if (func && target == func)
		return true;
	if (func && target != (u64)__static_call_return0)
		return false;
	// Nothing to call: a return, which may be one by a thunk.
	return target && (target == (u64)__static_call_return0 ||
			  target == (u64)__static_call_return || target == (u64)__x86_return_thunk);
}

/**
 * Bytes of the static call that @p code at @p address is, if it calls @p func; else 0.
 * arch/x86/kernel/static_call.c, __static_call_transform()
 */
static __always_inline u32 static_call_size(u64 address, u64 code, u64 func)
{
	u8 opcode = code_byte(code, 0);
	u64 low5 = code & 0xffffffffffULL;

	if (opcode == CALL_INSN_OPCODE || opcode == JMP32_INSN_OPCODE)
		return static_call_leads_to(func, branch_target(address, code, 1)) ? CALL_INSN_SIZE
										   : 0;
	if (opcode == 0x0f && (code_byte(code, 1) & 0xf0) == 0x80)
		return static_call_leads_to(func, branch_target(address, code, 2)) ? JCC32_INSN_SIZE
										   : 0;
	// xor %eax, %eax in five bytes, with cs or with data16 and rex.w prefixes.
	if (low5 == 0xc0312e2e2eULL || low5 == 0xc031486666ULL)
		return func == (u64)__static_call_return0 ? CALL_INSN_SIZE : 0;
	if (is_nop5(code))
		return func ? 0 : CALL_INSN_SIZE;
	if (opcode == RET_INSN_OPCODE && (!func || func == (u64)__static_call_return0))
		return low5 == 0xccccccccc3ULL ? CALL_INSN_SIZE : 1;
	return 0;
}

/** include/linux/tracepoint-defs.h */
struct tracepoint {
	struct static_call_key *static_call_key;
	void *static_call_tramp;
} __kernel_type;

extern const int __start___tracepoints_ptrs[] __ksym __weak;
extern const int __stop___tracepoints_ptrs[] __ksym __weak;

static __always_inline const struct tracepoint *tracepoint_at(const int *ptrs, u32 i)
{
	return (const struct tracepoint *)((u64)&ptrs[i] + (s64)ptrs[i]);
}

/** The call at the start of a function. include/linux/ftrace.h */
struct dyn_ftrace {
	unsigned long ip;
	/** FTRACE_FL_* and the number of users. */
	unsigned long flags;
} __kernel_type;

/** kernel/trace/ftrace.c */
struct ftrace_page {
	struct ftrace_page *next;
	struct dyn_ftrace *records;
	/** Records in use. */
	int index;
} __kernel_type;

/** Records of one struct ftrace_page: a block of pages of 16 to 32 bytes each. */
#define FTRACE_RECORDS_MAX (1 << 20)
/** Blocks; a kernel has some hundred. */
#define FTRACE_PAGES_MAX (1 << 14)

struct ftrace_ops {
	void *func;
	struct ftrace_ops *next;
	unsigned long trampoline;
} __kernel_type;

extern struct ftrace_page *ftrace_pages_start __ksym __weak;
extern struct ftrace_ops *ftrace_ops_list __ksym __weak;
/** What ftrace_call and ftrace_regs_call call. */
extern u64 ftrace_trace_function __ksym __weak;
extern char ftrace_caller[] __ksym __weak;
extern char ftrace_regs_caller[] __ksym __weak;
extern char ftrace_call[] __ksym __weak;
extern char ftrace_regs_call[] __ksym __weak;
extern char ftrace_stub[] __ksym __weak;
extern char ftrace_ops_list_func[] __ksym __weak;
extern char arch_ftrace_ops_list_func[] __ksym __weak;
extern char ftrace_ops_assist_func[] __ksym __weak;
/**
 * Until Linux kernel commit 0c0593b45c9b ("x86/ftrace: Make function graph use ftrace directly")
 * (in v5.16), a jump.
 */
extern char ftrace_graph_call[] __ksym __weak;
extern char ftrace_graph_caller[] __ksym __weak;

/** Functions with a trampoline of their own, as those that BPF programs are attached to. */
struct ftrace_hash {
	/** Binary logarithm of the number of buckets. */
	unsigned long size_bits;
	struct hlist_head *buckets;
} __kernel_type;

struct ftrace_func_entry {
	struct hlist_node hlist;
	unsigned long ip;
	/** The trampoline; the lowest bit says that it is jumped to. */
	unsigned long direct;
} __kernel_type;

extern struct ftrace_hash *direct_functions __ksym __weak;

/** include/linux/hash.h */
static __always_inline u64 hash_64(u64 value, u32 bits)
{
	return bits ? value * 0x61C8864680B583EBULL >> (64 - bits) : 0;
}

/** The trampoline of the function whose call is at @p ip, or 0. */
static __always_inline u64 ftrace_find_rec_direct(u64 ip)
{
	const struct ftrace_hash *hash = &direct_functions ? direct_functions : NULL;
	u32 bits = hash ? hash->size_bits : 64;
	u32 length = 0;

	if (bits > 24)
		return 0;

	struct hlist_node *node = kernel_array_at(hash->buckets, hash_64(ip, bits))->first;

	for (; node && length < 256; length++, node = node->next) {
		const struct ftrace_func_entry *entry =
			container_of(node, struct ftrace_func_entry, hlist);

		if (entry->ip == ip)
			return entry->direct & ~1UL;
	}
	return 0;
}

/** include/linux/kprobes.h */
struct kprobe {
	struct hlist_node hlist;
	/** Where its breakpoint is. */
	u8 *addr;
} __kernel_type;

struct arch_optimized_insn {
	/** Where the jump leads that takes the place of the breakpoint. */
	u8 *insn;
} __kernel_type;

struct optimized_kprobe {
	struct kprobe kp;
	struct arch_optimized_insn optinsn;
} __kernel_type;

/** kernel/kprobes.c */
#define KPROBE_TABLE_SIZE 64
extern struct hlist_head kprobe_table[] __ksym __weak;

/**
 * Lock prefixes, which a system with one CPU does without. arch/x86/kernel/alternative.c; on the
 * list only if the system had one CPU when they were patched.
 */
struct smp_alt_module {
	/** Relative to their own addresses. */
	const s32 *locks;
	const s32 *locks_end;
	struct list_head next;
} __kernel_type;

extern struct list_head smp_alt_modules __ksym __weak;

#endif
