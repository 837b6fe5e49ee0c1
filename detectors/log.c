// SPDX-License-Identifier: Apache-2.0
// The printk ring buffer, record by record. A run delivers what has come since the run before.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// kernel/printk/internal.h, PRINTKRB_RECORD_MAX; continuation lines grow no longer either.
#define LOG_TEXT_MAX 1024

// "C" or "T" and ten digits.
#define LOG_CALLER_LEN 12

// Rings are megabytes at most; a greater logarithm is damage.
#define LOG_BITS_MAX 28

// Sequence number of the first record that has not been delivered.
static u64 next_seq;

// Text of the record, or NULL if it has been lost; kernel/printk/printk_ringbuffer.c, get_data().
// Where the space at the end of the ring is too short, a text begins at the start of it.
static const char *get_data(const struct prb_data_ring *ring, unsigned long begin,
			    unsigned long next, unsigned long *size)
{
	unsigned int size_bits = ring->size_bits;

	if (size_bits > LOG_BITS_MAX)
		return NULL;

	unsigned long mask = (1UL << size_bits) - 1;
	unsigned long offset = begin & mask;
	// One less: the next text may begin where the ring does.
	unsigned long last = next - 1;

	if (begin >> size_bits == last >> size_bits) {
		*size = next - begin;
	} else if ((begin + mask + 1) >> size_bits == last >> size_bits) {
		offset = 0;
		*size = ((last & mask) + 1);
	} else {
		return NULL;
	}
	if (*size <= sizeof(struct prb_data_block) || offset + *size > mask + 1)
		return NULL;
	*size -= sizeof(struct prb_data_block);
	return ((const struct prb_data_block *)(ring->data + offset))->data;
}

// As with CONFIG_PRINTK_CALLER: T and the thread's id, or C and the CPU's number.
static void print_caller(char *buf, u32 caller_id)
{
	u32 number = caller_id & 0x7fffffff;
	char digits[LOG_CALLER_LEN];
	unsigned int count = 0, len = 0;

	do {
		digits[count++] = '0' + number % 10;
		number /= 10;
	} while (number && count < sizeof(digits) - 2);

	buf[len++] = caller_id & 0x80000000 ? 'C' : 'T';
	while (count)
		buf[len++] = digits[--count];
	buf[len] = 0;
}

static bool starts_with(const char *text, const char *prefix)
{
	while (*prefix) {
		if (*text++ != *prefix++)
			return false;
	}
	return true;
}

// What must be told even if no CPU is left to read the log for more: how a message begins, and what it is then. The
// watching program knows many more (log.rules), by the same names, and does not tell these again.
#define RULE_BEGINS_MAX 56

static const struct log_rule {
	char begins[RULE_BEGINS_MAX];
	char name[20];
	u32 severity;
} rules[] = {
	{ "BUG: unable to handle", "KernelOops", CRITICAL },
	{ "BUG: kernel NULL pointer dereference", "KernelOops", CRITICAL },
	{ "general protection fault", "KernelOops", CRITICAL },
	{ "Oops: ", "KernelOops", CRITICAL },
	{ "kernel BUG at ", "KernelOops", CRITICAL },
	{ "divide error: ", "KernelOops", CRITICAL },
	{ "invalid opcode: ", "KernelOops", CRITICAL },
	{ "double fault: ", "KernelOops", CRITICAL },
	{ "BUG: Bad page ", "BadPage", ERROR },
	{ "watchdog: BUG: soft lockup - ", "SoftLockup", CRITICAL },
	{ "NMI watchdog: Watchdog detected hard LOCKUP", "HardLockup", CRITICAL },
	{ "watchdog: Watchdog detected hard LOCKUP", "HardLockup", CRITICAL },
	{ "rcu: INFO: rcu_", "RCUStall", ERROR },
	{ "INFO: task ", "TaskHung", ERROR },
	{ "Out of memory: Killed process ", "OOMKilling", ERROR },
	{ "Memory cgroup out of memory: Killed process ", "OOMKilling", ERROR },
	{ "mce: [Hardware Error]: Machine check events logged", "MachineCheck", WARNING },
	{ "mce: [Hardware Error]: ", "MachineCheck", ERROR },
	{ "{1}[Hardware Error]: Hardware error from ", "HardwareError", ERROR },
	{ "Memory failure: ", "MemoryFailure", ERROR },
	{ "I/O error, dev ", "DiskIOError", ERROR },
	{ "blk_update_request: I/O error, dev ", "DiskIOError", ERROR },
	{ "critical medium error, dev ", "DiskIOError", ERROR },
	{ "critical target error, dev ", "DiskIOError", ERROR },
	{ "critical space allocation error, dev ", "DiskIOError", ERROR },
	{ "Buffer I/O error on ", "IOError", ERROR },
	{ "EXT4-fs error ", "Ext4Error", ERROR },
	{ "NVRM: Xid ", "NVRMXid", ERROR },
	{ "unregister_netdevice: waiting for ", "UnregisterNetDevice", ERROR },
};

// Findings by rule in one run: a disk that dies says so thousands of times.
#define RULES_TOLD_MAX 16
static u32 rules_told;

static u32 find_rule(const char *text)
{
	u32 count = sizeof(rules) / sizeof(rules[0]);

	for (u32 i = 0; i < count; i++) {
		if (text[0] == rules[i].begins[0] && starts_with(text, rules[i].begins))
			return i;
	}
	return count;
}

// Only of the kernel itself: /dev/kmsg takes messages of others.
static void tell_by_rule(const char *text)
{
	u32 i = find_rule(text);

	if (i >= sizeof(rules) / sizeof(rules[0]) || rules_told >= RULES_TOLD_MAX)
		return;
	rules_told++;
	finding(rules[i].severity, "%s: %s", rules[i].name, text);
}

// Of level emergency as well, but they only go with the message of a panic.
static bool is_trailer(const char *text)
{
	return starts_with(text, "Kernel Offset: ") || starts_with(text, "---[ end ");
}

static void deliver(const struct prb_data_ring *ring, struct prb_desc *desc,
		    const struct printk_info *info, s64 state)
{
	unsigned long begin = desc->text_blk_lpos.begin, next = desc->text_blk_lpos.next;
	unsigned long size = 0,
		      len = min((unsigned long)info->text_len, (unsigned long)LOG_TEXT_MAX);
	char text[LOG_TEXT_MAX + 1], caller[LOG_CALLER_LEN];

	if (begin & next & 1) {
		// The text did not fit into the ring: the kernel shows no such record either.
		if (begin != EMPTY_LINE_LPOS || next != EMPTY_LINE_LPOS)
			return;
		len = 0;
	} else {
		const char *data = get_data(ring, begin, next, &size);

		if (!data || size < len)
			return;
		__builtin_memcpy(text, data, len);
	}
	text[len] = 0;

	u64 seq = info->seq, ts_nsec = info->ts_nsec;
	unsigned int level = info->level, facility = info->facility, flags = info->flags;

	print_caller(caller, info->caller_id);
	// Overwritten in the meantime: what was read is of two records.
	if (READ_ONCE(desc->state_var.counter) != state)
		return;
	if (level == 0 && facility == 0 && !is_trailer(text))
		finding(CRITICAL, "%s", text);
	else if (facility == 0)
		tell_by_rule(text);
	row("seq=%llu ts_ns=%llu level=%u facility=%u cont=%u caller=%s text=%s", seq, ts_nsec,
	    level, facility, !!(flags & LOG_CONT), caller, text);
}

DETECTOR(log, .description = "the kernel's log, its emergencies and what else a rule knows",
	 .period_ms = 100, .output = 8 << 20)
{
	const struct printk_ringbuffer *rb = prb;
	unsigned int count_bits = rb->desc_ring.count_bits;

	if (!rb || count_bits > LOG_BITS_MAX)
		return;

	struct prb_desc *descs = rb->desc_ring.descs;
	struct printk_info *infos = rb->desc_ring.infos;
	unsigned long mask = (1UL << count_bits) - 1;
	unsigned long tail = atomic_long_read(&rb->desc_ring.tail_id) & DESC_ID_MASK;
	unsigned long head = atomic_long_read(&rb->desc_ring.head_id) & DESC_ID_MASK;
	unsigned long count = ((head - tail) & DESC_ID_MASK) + 1;
	bool panicked = panic_cpu != PANIC_CPU_INVALID;
	u64 first_seq = kernel_array_at(infos, tail & mask)->seq;
	unsigned long i = 0;

	rules_told = 0;
	count = min(count, mask + 1);
	if (next_seq > first_seq)
		i = min(next_seq - first_seq, (u64)count);
	for (; i < count; i++) {
		unsigned long id = (tail + i) & DESC_ID_MASK;
		struct prb_desc *desc = kernel_array_at(descs, id & mask);
		const struct printk_info *info = kernel_array_at(infos, id & mask);
		s64 state = READ_ONCE(desc->state_var.counter);

		if (DESC_ID(state) != id || DESC_STATE(state) == desc_reusable)
			continue;
		// Until the ring has gone round once, its tail is a descriptor that never held a record, and counts
		// as the first.
		if (info->seq < next_seq)
			continue;
		// Its writer is at work, or may append to it: it comes in a later run, and all
		// behind it. After a panic no writer comes back: what is there is the last word,
		// and what was begun is skipped.
		if (DESC_STATE(state) != desc_finalized && !panicked)
			return;
		if (DESC_STATE(state) == desc_reserved)
			continue;
		deliver(&rb->text_data_ring, desc, info, state);
		next_seq = info->seq + 1;
	}
}
