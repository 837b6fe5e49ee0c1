// SPDX-License-Identifier: Apache-2.0
// Oopses, warnings and what else the kernel marks itself for, while it goes on.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "crash.h"
#include "klog.h"

// kernel/panic.c; include/linux/panic.h
#define TAINT_MACHINE_CHECK 4
#define TAINT_BAD_PAGE 5
#define TAINT_DIE 7
#define TAINT_WARN 9
#define TAINT_SOFTLOCKUP 14

// An oops has so many records at most, and takes so many runs to write them: a serial line is slow.
#define RECORDS_MAX 128
#define REASON_RUNS 45
// Records before the line of the oops in which the kernel says what kind it is.
#define REASON_RECORDS 8

// Not there: the number of oopses, which stable kernels have as well.
extern int die_counter __ksym __weak;
// The CPU on which an oops is being handled, or -1.
extern int die_owner __ksym __weak;
extern int panic_on_oops __ksym;
extern int warn_count __ksym __weak;

static bool begun;
static int dies_seen, warnings_seen;
static u64 taint_seen;

// Of the oops that goes on: who was hit, as long as that shows; else as the kernel says.
static struct stack_trace trace;
static struct klog_line stack;
static u32 stack_len;
static int hit_cpu = -1;
static int hit_pid;
static char hit_comm[TASK_COMM_LEN];
// Runs until it is told, with its reason or without.
static u32 runs_left;

static int oopses(void)
{
	if (&die_counter)
		return die_counter;
	return &oops_count ? oops_count : (int)((tainted_mask >> TAINT_DIE) & 1);
}

static void look_who(void)
{
	int cpu = &die_owner ? die_owner : -1;

	// Of an oops that was told while it still went on.
	if (cpu < 0 && !runs_left) {
		trace.nr = 0;
		hit_cpu = -1;
	}
	if (trace.nr || cpu < 0 || (unsigned int)cpu >= nr_cpumask_bits())
		return;

	const struct task_struct *curr = per_cpu_ptr(&runqueues, cpu)->curr;

	oops_stack(cpu, curr, &trace);
	hit_cpu = cpu;
	hit_pid = curr->pid;
	__builtin_memcpy(hit_comm, curr->comm, sizeof(hit_comm));
	hit_comm[sizeof(hit_comm) - 1] = 0;
}

static int number_at(const struct klog_line *line, u32 at)
{
	int number = 0;

	for (u32 i = 0; i < 10 && at + i < KLOG_TEXT_MAX; i++) {
		char c = line->text[at + i];

		if (c < '0' || c > '9')
			break;
		number = number * 10 + c - '0';
	}
	return number;
}

// "CPU: 0 PID: 12 Comm: name Tainted: ...", or "CPU: 0 UID: 0 PID: 12 ...".
static void read_who(const struct klog_line *line)
{
	u32 cpu = klog_find(line, "CPU: "), pid = klog_find(line, "PID: ");
	u32 comm = klog_find(line, "Comm: ");

	if (hit_cpu >= 0 || !cpu || !pid || !comm)
		return;
	hit_cpu = number_at(line, cpu + 4);
	hit_pid = number_at(line, pid + 4);
	for (u32 n = 0; n < TASK_COMM_LEN - 1 && comm + 5 + n < KLOG_TEXT_MAX; n++) {
		char c = line->text[comm + 5 + n];

		hit_comm[n] = c == ' ' ? 0 : c;
		if (!hit_comm[n])
			break;
	}
}

static void add_to_stack(const struct klog_line *line, u32 from)
{
	static const char separator[] = " < ";

	for (u32 i = 0; stack_len && separator[i] && stack_len < KLOG_TEXT_MAX - 1; i++)
		stack.text[stack_len++] = separator[i];
	for (u32 i = from; i < KLOG_TEXT_MAX && line->text[i] && stack_len < KLOG_TEXT_MAX - 1; i++)
		stack.text[stack_len++] = line->text[i];
	stack.text[stack_len] = 0;
}

// What follows the line of __die(). @return true if it is complete.
static bool read_die(unsigned long id)
{
	unsigned long count = (klog_head() - id) & DESC_ID_MASK;
	struct klog_line line;
	bool in_trace = false;
	u32 shown = 0;

	stack_len = 0;
	stack.text[0] = 0;
	for (u32 i = 1; i <= count && i < RECORDS_MAX; i++) {
		if (!klog_read((id + i) & DESC_ID_MASK, &line))
			continue;
		read_who(&line);
		if (klog_begins(&line, "---[ end trace"))
			return true;
		if (klog_begins(&line, "RIP: 0010:") && !shown) {
			add_to_stack(&line, sizeof("RIP: 0010:") - 1);
			shown++;
		} else if (klog_begins(&line, "Call Trace:")) {
			in_trace = true;
		} else if (in_trace && line.text[0] != ' ') {
			in_trace = false;
		} else if (in_trace && shown < STACK_SHOWN_MAX && line.text[1] != '<' &&
			   line.text[1] != '?' && line.text[2] != '?') {
			add_to_stack(&line, line.text[1] == ' ' ? 2 : 1);
			shown++;
		}
	}
	return false;
}

// The line of __die(), which ends with the number of the oops. @return its id, or ~0.
static unsigned long find_die_line(struct klog_line *ret)
{
	unsigned long head = klog_head();

	for (u32 i = 0; i < RECORDS_MAX; i++) {
		unsigned long id = (head - i) & DESC_ID_MASK;

		if (klog_read(id, ret) && klog_find(ret, ": ") && klog_find(ret, " [#"))
			return id;
	}
	ret->text[0] = 0;
	return ~0UL;
}

// The kind of an oops stands before the line of __die(), if that is not it itself.
static void find_reason(unsigned long die_id, struct klog_line *reason)
{
	struct klog_line line;

	for (u32 i = 1; i <= REASON_RECORDS; i++) {
		if (!klog_read((die_id - i) & DESC_ID_MASK, &line))
			continue;
		if (klog_begins(&line, "BUG: ") || klog_begins(&line, "kernel BUG at ")) {
			*reason = line;
			return;
		}
	}
}

static void tell_oops(void)
{
	struct klog_line reason;
	unsigned long id = find_die_line(&reason);
	bool complete = id != ~0UL && (read_die(id) || trace.nr);

	if (!complete && --runs_left)
		return;
	runs_left = 0;
	find_reason(id, &reason);

	struct taint taint;

	taint_letters(tainted_mask, &taint);
#define TELL_OOPS(frames, ...)                                                                   \
	finding(CRITICAL,                                                                        \
		"%s; cpu=%d pid=%d comm=%s oopses=%d taint=%s panic_on_oops=%d, stack=" frames,  \
		reason.text[0] ? reason.text : "unknown", hit_cpu, hit_pid, hit_comm, dies_seen, \
		taint.letters, panic_on_oops, ##__VA_ARGS__)
	if (trace.nr || !stack_len)
		with_stack(&trace, STACK_SHOWN_MAX, TELL_OOPS);
	else
		TELL_OOPS("%s", stack.text);
	trace.nr = 0;
	hit_cpu = -1;
}

static void check_warnings(void)
{
	int warnings = &warn_count ? warn_count : (int)((tainted_mask >> TAINT_WARN) & 1);
	struct klog_line line;

	if (warnings == warnings_seen)
		return;
	klog_last("WARNING: ", RECORDS_MAX, &line);
	finding(WARNING, "kernel warning: warnings=%d %s", warnings - warnings_seen, line.text);
	warnings_seen = warnings;
}

static void check_taint(void)
{
	u64 taint = tainted_mask, risen = taint & ~taint_seen;

	taint_seen = taint;
	if ((risen >> TAINT_MACHINE_CHECK) & 1)
		finding(ERROR, "the processor has reported an error: taint=M");
	if ((risen >> TAINT_BAD_PAGE) & 1)
		finding(ERROR, "the kernel has found a page of memory in a bad state: taint=B");
	if ((risen >> TAINT_SOFTLOCKUP) & 1)
		finding(WARNING, "the kernel's own watchdog has found a soft lockup: taint=L");
}

// What happened before.
static void begin(void)
{
	struct taint taint;

	begun = true;
	dies_seen = oopses();
	taint_seen = tainted_mask;
	warnings_seen = &warn_count ? warn_count : (int)((taint_seen >> TAINT_WARN) & 1);
	taint_letters(taint_seen, &taint);
	if (dies_seen)
		finding(WARNING, "the kernel has had an oops before: oopses=%d taint=%s", dies_seen,
			taint.letters);
	else if ((taint_seen >> TAINT_WARN) & 1)
		finding(INFO, "the kernel has warned before: warnings=%d taint=%s", warnings_seen,
			taint.letters);
}

DETECTOR(oops, .description = "oopses and warnings of the kernel", .period_ms = 20)
{
	if (!begun)
		begin();

	int dies = oopses();

	if (dies != dies_seen) {
		dies_seen = dies;
		runs_left = REASON_RUNS;
	}
	// Who was hit may die as soon as the kernel has said so.
	look_who();
	if (runs_left)
		tell_oops();
	check_warnings();
	check_taint();
}
