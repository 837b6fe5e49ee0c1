// SPDX-License-Identifier: Apache-2.0
// The printk ring buffer, record by record. A run delivers what has come since the run before.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "log_records.h"

// Sequence number of the first record that has not been delivered.
static u64 next_seq;

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

static void tell(const struct log_record *record)
{
	if (record->facility != 0)
		return;
	if (record->level == 0 && !is_trailer(record->text))
		finding(CRITICAL, "%s", record->text);
	else
		tell_by_rule(record->text);
}

DETECTOR(log, .description = "the kernel's log, its emergencies and what else a rule knows",
	 .period_ms = 100, .output = 8 << 20)
{
	struct log_walk walk = { .next_seq = next_seq };
	struct log_record record;

	if (!log_begin(&walk))
		return;
	rules_told = 0;
	while (log_next(&walk, &record)) {
		tell(&record);
		log_row(&record);
		next_seq = walk.next_seq;
	}
}
