// SPDX-License-Identifier: Apache-2.0
// Files of rules over the kernel's log: what they may hold, what is refused and where, which rule counts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/rules.h"

static const char *shipped;

static void parse(struct rules *rules, const char *text)
{
	*rules = (struct rules){};
	assert_null(rules_parse(rules, text, strlen(text), "r"));
}

// @text, of @size bytes, is refused with @message.
static void refused_bytes(const char *text, size_t size, const char *message)
{
	struct rules rules = {};
	struct gs_error *err = rules_parse(&rules, text, size, "r");

	assert_non_null(err);
	assert_string_equal(err->message, message);
	gs_error_destroy(err);
	rules_deinit(&rules);
}

static void refused(const char *text, const char *message)
{
	refused_bytes(text, strlen(text), message);
}

static const char *match(const struct rules *rules, const char *message)
{
	const struct rule *rule = rules_match(rules, message);

	return rule ? rule->name : "";
}

static void first_match_counts(void **state)
{
	struct rules rules;

	(void)state;
	parse(&rules, "# Comment\n\n  \t\nXid79 critical NVRM: Xid .*: 79,\n"
		      "\tXid  error\tNVRM: Xid  \r\nNoSpace info ^a b$");
	assert_int_equal(rules.count, 3);
	assert_string_equal(match(&rules, "NVRM: Xid (PCI:0000:01:00): 79, pid=1"), "Xid79");
	assert_string_equal(match(&rules, "NVRM: Xid (PCI:0000:01:00): 13, pid=1"), "Xid");
	assert_string_equal(match(&rules, "a b"), "NoSpace");
	assert_string_equal(match(&rules, "a  b"), "");
	assert_int_equal(rules.rules[0].severity, GS_CRITICAL);
	assert_int_equal(rules.rules[1].severity, GS_ERROR);
	assert_int_equal(rules.rules[2].severity, GS_INFO);
	rules_deinit(&rules);
	assert_int_equal(rules.count, 0);
}

static void what_is_wrong_is_refused_with_its_line(void **state)
{
	char text[RULE_PATTERN_MAX + 100];

	(void)state;
	refused("# fine\nBad.name error x",
		"r:2: a rule begins with a name of letters, digits, - and _, up to 63");
	refused("Name bad x", "r:1: Name: the second word is info, warning, error or critical");
	refused("Name", "r:1: Name: the second word is info, warning, error or critical");
	refused("Name error", "r:1: Name: no expression");
	refused("Name error (x", "r:1: Name: Unmatched ( or \\(");
	refused("Name error x{3}",
		"r:1: Name: repetitions such as {3} are written out; a brace is \\{");
	refused("Name error x+++++++++", "r:1: Name: more than 8 repetitions by +");
	refused("Name error (x)\\1", "r:1: Name: references such as \\1 are not taken");
	refused_bytes("Name error a\0b", 14, "r:1: a byte 0: this is no text");
	memset(text, 'x', sizeof(text));
	memcpy(text, "Name error ", strlen("Name error "));
	refused_bytes(text, sizeof(text), "r:1: Name: an expression has up to 512 bytes");
	memcpy(text, "xxxx error ", strlen("xxxx error "));
	memset(text, 'n', RULE_NAME_MAX + 1);
	refused_bytes(text, sizeof(text),
		      "r:1: a rule begins with a name of letters, digits, - and _, up to 63");
}

static void braces_can_be_escaped(void **state)
{
	struct rules rules;

	(void)state;
	parse(&rules, "Brace info ^\\{1\\}\\[Hardware\nSlash info \\\\$\n");
	assert_string_equal(match(&rules, "{1}[Hardware Error]"), "Brace");
	assert_string_equal(match(&rules, "a\\"), "Slash");
	rules_deinit(&rules);
}

static void floods_are_told_in_part(void **state)
{
	struct rule rule = {};
	uint64_t untold, second = 1000000000;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_true(rule_tell(&rule, second, &untold));
		assert_int_equal(untold, 0);
	}
	for (int i = 0; i < 7; i++)
		assert_false(rule_tell(&rule, second + i, &untold));
	assert_true(rule_tell(&rule, 2 * second, &untold));
	assert_int_equal(untold, 7);
	// Another boot.
	assert_true(rule_tell(&rule, 1, &untold));
	assert_int_equal(untold, 0);
}

static void files(void **state)
{
	struct rules rules = {};
	struct gs_error *err = rules_load(&rules, "/nowhere/rules");

	(void)state;
	assert_non_null(err);
	assert_non_null(strstr(err->message, "/nowhere/rules"));
	gs_error_destroy(err);
	assert_null(rules_load(&rules, "/dev/null"));
	assert_int_equal(rules.count, 0);
}

// One message for each kind of the rules that are shipped; what boots well says the last ones.
static void shipped_rules(void **state)
{
	static const struct {
		const char *message, *rule;
	} examples[] = {
		{ "Out of memory: Killed process 1234 (hog) total-vm:1kB, anon-rss:1kB",
		  "OOMKilling" },
		{ "Memory cgroup out of memory: Killed process 7 (a) total-vm:1kB", "OOMKilling" },
		{ "INFO: task stuck-writer:123 blocked for more than 5 seconds.", "TaskHung" },
		{ "INFO: task dockerd:123 blocked for more than 120 seconds.", "DockerHung" },
		{ "INFO: task umount.aufs:9 blocked for more than 120 seconds.", "AUFSUmountHung" },
		{ "unregister_netdevice: waiting for eth0 to become free. Usage count = 1",
		  "UnregisterNetDevice" },
		{ "BUG: unable to handle kernel NULL pointer dereference at 0000000000000000",
		  "KernelOops" },
		{ "BUG: kernel NULL pointer dereference, address: 0000000000000000", "KernelOops" },
		{ "divide error: 0000 [#1] SMP", "KernelOops" },
		{ "Oops: 0002 [#1] PREEMPT SMP", "KernelOops" },
		{ "Oops: general protection fault, probably for non-canonical address 0x1: 0000 [#1]",
		  "KernelOops" },
		{ "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]", "SoftLockup" },
		{ "NMI watchdog: Watchdog detected hard LOCKUP on cpu 1", "HardLockup" },
		{ "rcu: INFO: rcu_sched self-detected stall on CPU", "RCUStall" },
		{ "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RCUStall" },
		{ "EXT4-fs error (device sda1): ext4_lookup:1: inode #2", "Ext4Error" },
		{ "EXT4-fs warning (device sda1): ext4_end_bio:343", "Ext4Warning" },
		{ "EXT4-fs (sda1): Remounting filesystem read-only", "ReadonlyFilesystem" },
		{ "Buffer I/O error on dev sdb, logical block 0, lost async page write",
		  "IOError" },
		{ "I/O error, dev sdb, sector 8 op 0x1:(WRITE) flags 0x0", "DiskIOError" },
		{ "blk_update_request: critical medium error, dev sdb, sector 8", "DiskIOError" },
		{ "EDAC sbridge MC1: 1 CE memory read error on CPU_SrcID#1", "MemoryReadError" },
		{ "{1}[Hardware Error]: event severity: corrected", "HardwareErrorCorrected" },
		{ "{1}[Hardware Error]: event severity: fatal", "HardwareErrorFatal" },
		{ "mce: [Hardware Error]: Machine check events logged", "MachineCheck" },
		{ "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 5: be0000", "MachineCheck" },
		{ "XFS (sda1): Filesystem has been shut down due to log error (0x2).",
		  "XfsShutdown" },
		{ "XFS (sda1): Corruption of in-memory data (0x8) detected at x. Shutting down filesystem.",
		  "XfsShutdown" },
		{ "nvme nvme0: I/O 128 QID 3 timeout, aborting", "NVMeTimeout" },
		{ "md/raid1:md0: Disk failure on sdb1, disabling device.", "MDFailure" },
		{ "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', GPU has fallen off the bus.",
		  "NVRMXid79" },
		{ "NVRM: Xid (PCI:0000:3b:00): 31, pid=1, Ch 00000010", "NVRMXid" },
		{ "CPU1: Core temperature is above threshold, cpu clock is throttled (total events = 1)",
		  "ThermalThrottling" },
		{ "ACPI BIOS Error (bug): Could not resolve symbol", "ACPIError" },
		{ "NETDEV WATCHDOG: eth0 (virtio_net): transmit queue 0 timed out",
		  "TransmitTimeout" },
		{ "nf_conntrack: nf_conntrack: table full, dropping packet", "ConntrackFull" },
		{ "returned error: readlink /var/lib/docker/overlay2: invalid argument",
		  "CorruptDockerOverlay2" },
		{ "hog[123]: segfault at 0 ip 0000 sp 0000 error 4 in hog", "Segfault" },
		{ "Kernel panic - not syncing: sysrq triggered crash", "KernelPanic" },
		{ "EXT4-fs (sda1): mounted filesystem with ordered data mode", "" },
		{ "iommu: Default domain type: Translated", "" },
		{ "DMAR-IR: Enabled IRQ remapping in x2apic mode", "" },
		{ "EDAC MC: Ver: 3.0.0", "" },
		{ "mce: CPU supports 10 MCE banks", "" },
		{ "ACPI: Core revision 20220331", "" },
		{ "rcu: Hierarchical RCU implementation.", "" },
		{ "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready", "" },
		{ "md: raid1 personality registered for level 1", "" },
		{ "nvme nvme0: 8/0/0 default/read/poll queues", "" },
	};
	struct rules rules = {};

	(void)state;
	assert_null(rules_load(&rules, shipped));
	assert_true(rules.count > 100);
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		if (strcmp(match(&rules, examples[i].message), examples[i].rule) != 0)
			fail_msg("%s: %s", examples[i].message, match(&rules, examples[i].message));
	}
	rules_deinit(&rules);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_match_counts),
		cmocka_unit_test(what_is_wrong_is_refused_with_its_line),
		cmocka_unit_test(braces_can_be_escaped),
		cmocka_unit_test(floods_are_told_in_part),
		cmocka_unit_test(files),
		cmocka_unit_test(shipped_rules),
	};

	if (argc != 2)
		return 2;
	shipped = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
