/* SPDX-License-Identifier: Apache-2.0 */
/* What a panic and an oops leave behind: the stack of whom it hit, and the kernel's taint. */
#ifndef CRASH_H
#define CRASH_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// Flags of tainted_mask: the kernel has 20 of them.
#define TAINT_FLAGS_MAX 32

extern char panic[] __ksym;

struct taint {
	char letters[TAINT_FLAGS_MAX + 1];
};

// As print_tainted() shows it, without those for what is not: "-" if nothing is.
static void taint_letters(u64 mask, struct taint *ret)
{
	u32 n = 0;

	for (u32 i = 0; i < TAINT_FLAGS_MAX; i++) {
		if (!((mask >> i) & 1))
			continue;

		char letter = kernel_array_at(taint_flags, i)->c_true;

		ret->letters[n++] = letter > ' ' && letter <= '~' ? letter : '?';
	}
	if (!n)
		ret->letters[n++] = '-';
	ret->letters[n] = 0;
}

// Of a CPU, where interrupts are handled: its bounds, if it is in use.
static bool hardirq_stack(unsigned int cpu, struct unwind_state *state)
{
	unsigned long top = 0;
	bool inuse = false;

	if (&hardirq_stack_ptr && &hardirq_stack_inuse) {
		inuse = *per_cpu_ptr(&hardirq_stack_inuse, cpu);
		top = (unsigned long)*per_cpu_ptr(&hardirq_stack_ptr, cpu);
	} else if (&pcpu_hot && bpf_core_type_exists(struct pcpu_hot) &&
		   bpf_core_field_exists(struct pcpu_hot, hardirq_stack_inuse)) {
		inuse = per_cpu_ptr(&pcpu_hot, cpu)->hardirq_stack_inuse;
		top = (unsigned long)per_cpu_ptr(&pcpu_hot, cpu)->hardirq_stack_ptr;
	}
	// It points to the last word.
	state->end = ALIGN(top, PAGE_SIZE);
	state->begin = state->end - IRQ_STACK_SIZE;
	return inuse && top;
}

// The address behind the call of panic(), by which it can be told where that came from; 0 if it is not on the stack.
static unsigned long find_panic(const struct unwind_state *state)
{
	unsigned long at = state->end - sizeof(long);

	for (; on_stack(state, at, sizeof(long)); at -= sizeof(long)) {
		unsigned long ip = *(const unsigned long *)at;

		// call_target() of an address that is no code would only count a failure.
		if (kernel_text_address(ip) && call_target(ip) == (unsigned long)panic)
			return at;
	}
	return 0;
}

static void task_stack(const struct task_struct *p, struct unwind_state *state)
{
	state->begin = (unsigned long)p->stack;
	state->end = state->begin + task_stack_size(p);
}

// Who called panic() on @cpu; or, if that was an @oops, the code that it hit.
static inline void panic_stack(unsigned int cpu, const struct task_struct *curr, bool oops,
			       struct stack_trace *ret)
{
	struct unwind_state state = {};
	const struct pt_regs *regs = NULL;
	unsigned long at = 0;

	for (u32 i = 0; i < 2 && !at; i++) {
		if (i == 0 && !hardirq_stack(cpu, &state))
			continue;
		if (i == 1)
			task_stack(curr, &state);
		at = find_panic(&state);
	}
	ret->nr = 0;
	if (!at)
		return;
	// panic() does not come back: behind the call another function may begin.
	state.ip = stack_word(&state, at) - 1;
	state.sp = at + sizeof(long);
	state.signal = true;
	if (oops)
		regs = find_kernel_regs(&state, at);
	if (regs)
		unwind_start_regs(&state, regs);
	stack_trace_walk(&state, ret);
}

// Where an oops hit @curr on @cpu: nothing if it does not show.
static inline void oops_stack(unsigned int cpu, const struct task_struct *curr,
			      struct stack_trace *ret)
{
	struct unwind_state state = {};
	const struct pt_regs *regs = NULL;

	for (u32 i = 0; i < 2 && !regs; i++) {
		if (i == 0 && !hardirq_stack(cpu, &state))
			continue;
		if (i == 1)
			task_stack(curr, &state);
		regs = find_kernel_regs(&state, state.begin);
	}
	ret->nr = 0;
	if (!regs)
		return;
	unwind_start_regs(&state, regs);
	stack_trace_walk(&state, ret);
}

#endif
