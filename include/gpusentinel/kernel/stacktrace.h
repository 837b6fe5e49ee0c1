/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Where a task stands in the kernel's code, from its stack alone: arch/x86/kernel/unwind_orc.c,
 * unwind_frame.c, unwind_guess.c. With ORC, what distributions build, a trace is exact; where its tables
 * say nothing, the stack is searched for the next address behind a call.
 */
#ifndef GPUSENTINEL_KERNEL_STACKTRACE_H
#define GPUSENTINEL_KERNEL_STACKTRACE_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/module.h>
#include <gpusentinel/kernel/patching.h>
#include <gpusentinel/kernel/sched.h>

extern char _stext[] __ksym;
extern char _etext[] __ksym;
/** Functions that wait: schedule(), mutex_lock(), wait_for_completion() and others. */
extern char __sched_text_start[] __ksym;
extern char __sched_text_end[] __ksym;

/** Bytes of a task's stack, unless the kernel says otherwise: KASAN doubles it. */
#define THREAD_SIZE (16 * 1024UL)

/** What __switch_to_asm() leaves on top of the stack of a task that does not run. */
struct inactive_task_frame {
	unsigned long bp;
	unsigned long ret_addr;
} __kernel_type;

/** Registers of what an exception or an interrupt came upon. */
struct pt_regs {
	unsigned long bp;
	unsigned long ip;
	unsigned long flags;
	unsigned long sp;
} __kernel_type;

/** Segment of kernel code, which lies between ip and flags. */
#define __KERNEL_CS 0x10
/** Always set in flags. */
#define X86_EFLAGS_FIXED 0x2
/** Flags above these do not exist. */
#define X86_EFLAGS_MAX (1UL << 22)

/** How to come from a place in the code to its caller. arch/x86/include/asm/orc_types.h */
struct orc_entry {
	s16 sp_offset;
	/** Sixteen bits with what struct orc follow. */
	s16 bp_offset;
	unsigned int signal : 1;
	/**
	 * Until Linux kernel commit fb799447ae29 ("x86,objtool: Split UNWIND_HINT_EMPTY in two") (in
	 * v6.4), which also gave the types other numbers.
	 */
	unsigned int end : 1;
} __kernel_type;

/*
 * Registers that a place on the stack is counted from. Some numbers changed after v6.18. None that the tables have in
 * code that calls or waits means one thing here and another there, so both are taken.
 */
#define ORC_REG_BP 4
#define ORC_REG_SP_INDIRECT 9

static __always_inline bool orc_reg_is_sp(u32 reg)
{
	return reg == 5 || reg == 3;
}

static __always_inline bool orc_reg_is_prev_sp(u32 reg)
{
	return reg == 1 || reg == 8;
}

static __always_inline bool orc_reg_is_bp_indirect(u32 reg)
{
	return reg == 8 || reg == 10;
}

enum orc_type {
	ORC_TYPE_UNDEFINED = 0,
	ORC_TYPE_END_OF_STACK = 1,
	ORC_TYPE_CALL = 2,
	ORC_TYPE_REGS = 3,
	ORC_TYPE_REGS_PARTIAL = 4,
};

struct orc {
	s32 sp_offset, bp_offset;
	u32 sp_reg, bp_reg;
	enum orc_type type;
};

/** Absent with other unwinders. */
extern int __start_orc_unwind_ip[] __ksym __weak;
extern int __stop_orc_unwind_ip[] __ksym __weak;
extern struct orc_entry __start_orc_unwind[] __ksym __weak;
/** For each 256 bytes of text, which entry is the first. */
extern unsigned int orc_lookup[] __ksym __weak;
extern unsigned int lookup_num_blocks __ksym __weak;
#define LOOKUP_BLOCK_ORDER 8

static __always_inline bool core_kernel_text(unsigned long ip)
{
	return ip >= (unsigned long)_stext && ip < (unsigned long)_etext;
}

/** Whether @p ip is in a function that waits, so that who waits is the one that called it. */
static __always_inline bool in_sched_functions(unsigned long ip)
{
	return ip >= (unsigned long)__sched_text_start && ip < (unsigned long)__sched_text_end;
}

/** The module whose text @p ip is in; NULL if there is none. */
static inline const struct module *__module_text_address(unsigned long ip)
{
	const struct module *mod;
	u32 count = 0;

	list_for_each_entry (mod, &modules, list) {
		u64 base;
		u32 size;

		if (count++ == MODULES_MAX)
			break;
		module_part(mod, MODULE_PART_TEXT, &base, &size);
		if (ip - base < size)
			return mod;
	}
	return NULL;
}

/** The last of the entries from @p first to @p last whose code begins at @p ip or before. */
static inline u32 __orc_find(const int *ip_table, u32 first, u32 last, unsigned long ip)
{
	u32 found = first;

	while (first <= last) {
		u32 mid = first + (last - first) / 2;
		const int *at = &ip_table[mid];

		if ((unsigned long)at + *at <= ip) {
			found = mid;
			first = mid + 1;
		} else if (mid == 0) {
			break;
		} else {
			last = mid - 1;
		}
	}
	return found;
}

static inline bool orc_find(unsigned long ip, struct orc *ret)
{
	const int *ip_table = __start_orc_unwind_ip;
	struct orc_entry *table = __start_orc_unwind;
	u32 first = 0, last;

	if (!&__start_orc_unwind_ip || !&__start_orc_unwind || !&orc_lookup || !&lookup_num_blocks)
		return false;
	if (core_kernel_text(ip)) {
		u64 block = (ip - (unsigned long)_stext) >> LOOKUP_BLOCK_ORDER;
		u64 entries = (unsigned long)__stop_orc_unwind_ip - (unsigned long)ip_table;

		if (block + 1 >= lookup_num_blocks)
			return false;
		first = orc_lookup[block];
		last = orc_lookup[block + 1];
		if (first > last || last >= entries / sizeof(*ip_table))
			return false;
	} else {
		const struct module *mod = __module_text_address(ip);

		if (!mod || !bpf_core_field_exists(mod->arch.num_orcs) || !mod->arch.num_orcs)
			return false;
		ip_table = mod->arch.orc_unwind_ip;
		table = mod->arch.orc_unwind;
		last = mod->arch.num_orcs - 1;
	}

	const struct orc_entry *orc = kernel_array_at(table, __orc_find(ip_table, first, last, ip));
	u32 bits = *(const u16 *)((unsigned long)orc +
				  bpf_core_field_offset(struct orc_entry, bp_offset) + sizeof(u16));

	ret->sp_offset = orc->sp_offset;
	ret->bp_offset = orc->bp_offset;
	ret->sp_reg = bits & 0xf;
	ret->bp_reg = (bits >> 4) & 0xf;
	ret->type = (bits >> 8) & 0x7;
	if (bpf_core_field_exists(struct orc_entry, end)) {
		// Since Linux kernel commit ffb1b4a41016 ("x86/unwind/orc: Add 'signal' field to ORC metadata") (in
		// v6.3), the bit lies between the two.
		u32 end = bpf_core_field_exists(struct orc_entry, signal) ? 11 : 10;

		ret->type = (bits >> end) & 1 ? ORC_TYPE_END_OF_STACK
					      : ((bits >> 8) & 0x3) + ORC_TYPE_CALL;
	}
	return true;
}

/** From one function to the one that called it. */
struct unwind_state {
	/** In the code, and the registers there. */
	unsigned long ip, sp, bp;
	/** The stack. */
	unsigned long begin, end;
	/** @ref ip was interrupted, so the instruction there counts; else it comes back there. */
	bool signal;
};

static __always_inline bool on_stack(const struct unwind_state *state, unsigned long address,
				     unsigned long size)
{
	return !(address & 7) && address >= state->begin && address < state->end &&
	       state->end - address >= size;
}

static __always_inline unsigned long stack_word(const struct unwind_state *state,
						unsigned long address)
{
	return on_stack(state, address, sizeof(long)) ? *(const unsigned long *)address : 0;
}

static __always_inline unsigned long task_stack_size(const struct task_struct *p)
{
	if (!bpf_core_field_exists(p->stack_vm_area) || !p->stack_vm_area)
		return THREAD_SIZE;

	// With its guard page.
	unsigned long size = p->stack_vm_area->size & ~PAGE_SIZE;

	return size >= THREAD_SIZE && size <= 8 * THREAD_SIZE ? size : THREAD_SIZE;
}

/** Begin with the task @p p, which must not run. */
static inline void unwind_start(struct unwind_state *state, const struct task_struct *p)
{
	const struct inactive_task_frame *frame = (const void *)p->thread.sp;

	state->begin = (unsigned long)p->stack;
	state->end = state->begin + task_stack_size(p);
	state->signal = false;
	state->ip = state->bp = 0;
	state->sp = (unsigned long)frame;
	if (!on_stack(state, state->sp, bpf_core_type_size(struct inactive_task_frame)))
		return;
	state->ip = frame->ret_addr;
	state->bp = frame->bp;
	state->sp += bpf_core_type_size(struct inactive_task_frame);
}

/** Begin where the registers at @p regs point to. */
static inline void unwind_start_regs(struct unwind_state *state, const struct pt_regs *regs)
{
	state->ip = regs->ip;
	state->sp = regs->sp;
	state->bp = regs->bp;
	state->signal = true;
}

/** Whether @p ip is in the text of the kernel or of a module. */
static inline bool kernel_text_address(unsigned long ip)
{
	return core_kernel_text(ip) || __module_text_address(ip);
}

/** What the call before @p ip calls; 0 if there is none, or one that leads elsewhere each time. */
static inline unsigned long call_target(unsigned long ip)
{
	u64 at = ip - CALL_INSN_SIZE, code = code_at(at);

	return code_byte(code, 0) == CALL_INSN_OPCODE ? branch_target(at, code, 1) : 0;
}

/** Whether @p ip, in text, is behind a call: of an address, or FF /2 with a register or four bytes. */
static inline bool is_return_address(unsigned long ip)
{
	u64 code;

	if (call_target(ip))
		return true;
	code = code_at(ip - 3);
	if (code_byte(code, 1) == 0xff && (code_byte(code, 2) & 0xf8) == 0xd0)
		return true;
	code = code_at(ip - 6);
	return code_byte(code, 0) == 0xff && (code_byte(code, 1) & 0x38) == 0x10;
}

/** unwind_guess.c: what may be left over from calls that have ended is then in the trace as well. */
static inline bool unwind_guess(struct unwind_state *state)
{
	unsigned long at;

	for (at = (state->sp + 7) & ~7UL; on_stack(state, at, sizeof(long)); at += sizeof(long)) {
		unsigned long ip = *(const unsigned long *)at;

		if (!kernel_text_address(ip) || !is_return_address(ip))
			continue;
		state->ip = ip;
		state->sp = at + sizeof(long);
		state->signal = false;
		return true;
	}
	return false;
}

/** How far a step came: what it knows nothing of is left to unwind_guess(). */
enum unwind_step {
	UNWIND_END,
	UNWIND_DONE,
	UNWIND_UNKNOWN,
};

/** unwind_frame.c: a chain of frames, each with the caller's frame pointer and the address to come back to. */
static inline enum unwind_step unwind_frame(struct unwind_state *state)
{
	unsigned long bp = state->bp, ip = stack_word(state, bp + sizeof(long));

	if (bp < state->sp || !core_kernel_text(ip))
		return UNWIND_UNKNOWN;
	state->ip = ip;
	state->sp = bp + 2 * sizeof(long);
	state->bp = stack_word(state, bp);
	state->signal = false;
	return UNWIND_DONE;
}

/** unwind_orc.c */
static inline enum unwind_step unwind_orc(struct unwind_state *state)
{
	unsigned long before = state->sp, sp = 0, bp = state->bp;
	struct orc orc;

	if (!orc_find(state->signal ? state->ip : state->ip - 1, &orc))
		return UNWIND_UNKNOWN;
	if (orc.type == ORC_TYPE_END_OF_STACK)
		return UNWIND_END;
	if (orc_reg_is_sp(orc.sp_reg))
		sp = before + orc.sp_offset;
	else if (orc.sp_reg == ORC_REG_BP)
		sp = bp + orc.sp_offset;
	else if (orc_reg_is_bp_indirect(orc.sp_reg))
		sp = stack_word(state, bp + orc.sp_offset);
	else if (orc.sp_reg == ORC_REG_SP_INDIRECT)
		sp = stack_word(state, before) + orc.sp_offset;
	if (sp < before || !on_stack(state, sp - sizeof(long), sizeof(long)))
		return UNWIND_UNKNOWN;
	if (orc_reg_is_prev_sp(orc.bp_reg))
		state->bp = stack_word(state, sp + orc.bp_offset);
	else if (orc.bp_reg == ORC_REG_BP)
		state->bp = stack_word(state, bp + orc.bp_offset);
	if (orc.type == ORC_TYPE_CALL) {
		state->ip = stack_word(state, sp - sizeof(long));
		state->sp = sp;
		state->signal = false;
		return UNWIND_DONE;
	}

	unsigned long ip_offset = bpf_core_field_offset(struct pt_regs, ip);

	if (orc.type == ORC_TYPE_REGS)
		state->bp = stack_word(state, sp + bpf_core_field_offset(struct pt_regs, bp));
	else if (orc.type == ORC_TYPE_REGS_PARTIAL)
		// Only what the processor pushed itself: from ip on.
		sp -= ip_offset;
	else
		return UNWIND_UNKNOWN;
	// Those of user mode lie at the end.
	if ((stack_word(state, sp + ip_offset + sizeof(long)) & 0xffff) != __KERNEL_CS)
		return UNWIND_END;
	state->ip = stack_word(state, sp + ip_offset);
	state->sp = stack_word(state, sp + bpf_core_field_offset(struct pt_regs, sp));
	state->signal = true;
	return UNWIND_DONE;
}

/** To the caller. @return false: there is none, or it cannot be told. */
static inline bool unwind_next_frame(struct unwind_state *state)
{
	enum unwind_step step = &__start_orc_unwind_ip ? unwind_orc(state) : unwind_frame(state);

	return step == UNWIND_UNKNOWN ? unwind_guess(state) : step == UNWIND_DONE;
}

#define STACK_TRACE_MAX 16

struct stack_trace {
	u32 nr;
	unsigned long entries[STACK_TRACE_MAX];
};

/** From @p state on. */
static inline void stack_trace_walk(struct unwind_state *state, struct stack_trace *ret)
{
	ret->nr = 0;
	while (ret->nr < STACK_TRACE_MAX && kernel_text_address(state->ip)) {
		ret->entries[ret->nr++] = state->ip;
		if (!unwind_next_frame(state))
			break;
	}
}

/** Where the task @p p, which must not run, stands: innermost first. */
static inline void stack_trace_save_tsk(const struct task_struct *p, struct stack_trace *ret)
{
	struct unwind_state state;

	unwind_start(&state, p);
	stack_trace_walk(&state, ret);
}

/** Functions that do the waiting stand at the beginning: at most so many. */
#define SCHED_FUNCTIONS_MAX 8

/** Leave out what does the waiting, so that the first entry is who waits. */
static inline void stack_trace_skip_sched(struct stack_trace *trace)
{
	u32 skip = 0;

	for (u32 i = 0; i < trace->nr && i < SCHED_FUNCTIONS_MAX; i++) {
		if (in_sched_functions(trace->entries[i]))
			skip = i + 1;
	}
	// Nothing else is known of a task that waits for its own start.
	if (skip == trace->nr)
		return;
	trace->nr -= skip;
	for (u32 i = 0; i < trace->nr && i + skip < STACK_TRACE_MAX; i++)
		trace->entries[i] = trace->entries[i + skip];
}

/**
 * Registers of kernel code that something came upon, the outermost from @p from on: an address in the text, the
 * kernel's code segment, flags that exist, and a place of the stack behind.
 */
static inline const struct pt_regs *find_kernel_regs(const struct unwind_state *state,
						     unsigned long from)
{
	unsigned long size = bpf_core_type_size(struct pt_regs);
	unsigned long ip_offset = bpf_core_field_offset(struct pt_regs, ip);
	unsigned long at = (state->end - size) & ~7UL;

	for (; at >= from && on_stack(state, at, size); at -= sizeof(long)) {
		const unsigned long *ip = (const unsigned long *)(at + ip_offset);

		if ((ip[1] & 0xffff) != __KERNEL_CS || !(ip[2] & X86_EFLAGS_FIXED) ||
		    ip[2] >= X86_EFLAGS_MAX || ip[3] < at || ip[3] > state->end)
			continue;
		if (kernel_text_address(ip[0]))
			return (const struct pt_regs *)at;
	}
	return NULL;
}

/*
 * A stack in a message, its first entries: "a+0x1/0x2 < b+0x3/0x4". A format is a constant: each number of entries has one of
 * its own.
 */
#define STACK_SHOWN_MAX 6
#define __STACK_1 "%pS"
#define __STACK_2 __STACK_1 " < %pS"
#define __STACK_3 __STACK_2 " < %pS"
#define __STACK_4 __STACK_3 " < %pS"
#define __STACK_5 __STACK_4 " < %pS"
#define __STACK_6 __STACK_5 " < %pS"
#define __stack_at(trace, i) ((void *)(trace)->entries[i])
#define __stack_at_1(trace) __stack_at(trace, 0)
#define __stack_at_2(trace) __stack_at_1(trace), __stack_at(trace, 1)
#define __stack_at_3(trace) __stack_at_2(trace), __stack_at(trace, 2)
#define __stack_at_4(trace) __stack_at_3(trace), __stack_at(trace, 3)
#define __stack_at_5(trace) __stack_at_4(trace), __stack_at(trace, 4)
#define __stack_at_6(trace) __stack_at_5(trace), __stack_at(trace, 5)

/**
 * Call @p report(STACK, ...) with the first @p shown entries (6 at most) of @p trace as a piece of a format and
 * arguments for it. It is a macro of the user: report(format, ...).
 */
#define with_stack(trace, shown, report)                        \
	do {                                                    \
		switch (min((trace)->nr, (u32)(shown))) {       \
		case 0:                                         \
			report("%s", "unknown");                \
			break;                                  \
		case 1:                                         \
			report(__STACK_1, __stack_at_1(trace)); \
			break;                                  \
		case 2:                                         \
			report(__STACK_2, __stack_at_2(trace)); \
			break;                                  \
		case 3:                                         \
			report(__STACK_3, __stack_at_3(trace)); \
			break;                                  \
		case 4:                                         \
			report(__STACK_4, __stack_at_4(trace)); \
			break;                                  \
		case 5:                                         \
			report(__STACK_5, __stack_at_5(trace)); \
			break;                                  \
		default:                                        \
			report(__STACK_6, __stack_at_6(trace)); \
			break;                                  \
		}                                               \
	} while (0)

#endif
