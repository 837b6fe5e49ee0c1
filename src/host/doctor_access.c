// SPDX-License-Identifier: Apache-2.0
// Whether this machine's memory may be read: by a module, and as plain bytes.
#include <stdio.h>
#include <string.h>
#include <linux/capability.h>

#include "host/doctor_checks.h"
#include "host/read.h"

static bool capable(const struct doctor *doctor, unsigned int capability)
{
	return doctor->capabilities >> capability & 1;
}

bool doctor_secure_boot(const struct doctor *doctor, struct doctor_finding *finding)
{
	// UEFI 2.10, 3.3: EFI_GLOBAL_VARIABLE. Four bytes of attributes, then the value.
	static const char variable[] =
		"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
	char value[8];

	if (!host_exists(doctor->root, "/sys/firmware/efi"))
		return doctor_say(finding, DOCTOR_OK, "", "off: not booted by UEFI");
	if (!host_exists(doctor->root, variable)) {
		if (host_exists(doctor->root, "/sys/firmware/efi/efivars") &&
		    !host_exists(doctor->root, "/sys/firmware/efi/efivars/SetupMode-"
					       "8be4df61-93ca-11d2-aa0d-00e098032b8c"))
			return doctor_say(finding, DOCTOR_WARNING,
					  "mount -t efivarfs efivarfs /sys/firmware/efi/efivars",
					  "cannot be told: the variables of UEFI are not there");
		return doctor_say(finding, DOCTOR_OK, "", "off: the firmware has none");
	}
	if (host_read(doctor->root, variable, value, sizeof(value)) < 5)
		return doctor_say(finding, DOCTOR_WARNING, "run this as root",
				  "cannot be told: its variable cannot be read");
	if (!value[4])
		return doctor_say(finding, DOCTOR_OK, "", "off");
	return doctor_say(
		finding, DOCTOR_WARNING,
		"sign it with a key that is enrolled (mokutil --import), or switch secure "
		"boot off in the firmware",
		"on: the module gpusentinel loads only if it is signed");
}

bool doctor_lockdown(const struct doctor *doctor, struct doctor_finding *finding)
{
	char mode[128];

	if (!host_exists(doctor->root, "/sys/kernel/security/lockdown")) {
		if (host_exists(doctor->root, "/sys/kernel/security/lsm"))
			return doctor_say(finding, DOCTOR_OK, "", "none: the kernel has none");
		return doctor_say(
			finding, DOCTOR_WARNING,
			"mount -t securityfs securityfs /sys/kernel/security",
			"cannot be told: securityfs is not mounted, or the kernel has none");
	}
	if (!host_lockdown(doctor->root, mode, sizeof(mode)))
		return doctor_say(finding, DOCTOR_WARNING, "run this as root",
				  "cannot be told: /sys/kernel/security/lockdown cannot be read");
	if (!strcmp(mode, "none"))
		return doctor_say(finding, DOCTOR_OK, "", "none");
	return doctor_say(
		finding, DOCTOR_STOP,
		"switch secure boot off in the firmware, and take lockdown= off the kernel's "
		"command line",
		"%s: the kernel lets nobody read its memory", mode);
}

// The kernel clears none of these flags in guests, and shows them on hosts that could have such guests.
static const char *encrypted_guest(const struct doctor *doctor)
{
	static const struct {
		const char *flag, *name;
	} flags[] = {
		{ "sev_snp", "SEV-SNP" },
		{ "sev_es", "SEV-ES" },
		{ "sev", "SEV" },
	};
	static const char cpuinfo[] = "/proc/cpuinfo";

	if (host_has_word(doctor->root, cpuinfo, "tdx_guest") ||
	    host_exists(doctor->root, "/dev/tdx_guest"))
		return "TDX";
	if (host_exists(doctor->root, "/dev/sev-guest"))
		return "SEV-SNP";
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (host_has_word(doctor->root, cpuinfo, "hypervisor") &&
		    host_has_word(doctor->root, cpuinfo, flags[i].flag))
			return flags[i].name;
	}
	return NULL;
}

bool doctor_encrypted(const struct doctor *doctor, struct doctor_finding *finding)
{
	const char *guest = encrypted_guest(doctor);

	if (guest)
		return doctor_say(
			finding, DOCTOR_STOP,
			"no device can read the memory of such a guest: watch from the guest's "
			"own side, or without confidential computing",
			"this is a guest under %s, or its CPU says so", guest);
	// Secure Memory Encryption by the kernel: devices would have to set the bit that the CPU sets. What the
	// firmware encrypts (TSME) is plain for devices, too.
	if (host_has_word(doctor->root, "/proc/cmdline", "mem_encrypt=on"))
		return doctor_say(finding, DOCTOR_STOP,
				  "take mem_encrypt=on off the kernel's command line",
				  "the kernel encrypts memory (SME), of which a GPU reads what the "
				  "memory chips hold");
	if (!host_exists(doctor->root, "/proc/cpuinfo"))
		return doctor_say(finding, DOCTOR_WARNING, "mount /proc",
				  "cannot be told: there is no /proc/cpuinfo");
	return doctor_say(finding, DOCTOR_OK, "", "none that devices would see");
}

bool doctor_module(const struct doctor *doctor, struct doctor_finding *finding)
{
	if (!host_exists(doctor->root, "/dev/gpusentinel")) {
		if (host_exists(doctor->root, "/sys/module/gpusentinel"))
			return doctor_say(
				finding, DOCTOR_STOP, "see the kernel's log; is /dev a devtmpfs?",
				"gpusentinel is loaded, but there is no /dev/gpusentinel");
		return doctor_say(
			finding, DOCTOR_STOP, "install gpusentinel-dkms, and: modprobe gpusentinel",
			"gpusentinel is not loaded: there is no /dev/gpusentinel, so no target "
			"host");
	}
	if (!capable(doctor, CAP_SYS_RAWIO))
		return doctor_say(finding, DOCTOR_WARNING,
				  "run it as root, or as the service gpusentinel",
				  "/dev/gpusentinel is there; this user may not open it "
				  "(CAP_SYS_RAWIO)");
	return doctor_say(finding, DOCTOR_OK, "", "/dev/gpusentinel is there");
}

bool doctor_memlock(const struct doctor *doctor, struct doctor_finding *finding)
{
	if (doctor->memlock == UINT64_MAX)
		return doctor_say(finding, DOCTOR_OK, "", "without limit");
	if (capable(doctor, CAP_IPC_LOCK))
		return doctor_say(finding, DOCTOR_OK, "", "without limit (CAP_IPC_LOCK)");
	return doctor_say(
		finding, DOCTOR_WARNING,
		"ulimit -l unlimited, LimitMEMLOCK=infinity, or run it as root",
		"%ju KiB at most: the watching process may be swapped out, and RDMA finds no "
		"room",
		(uintmax_t)(doctor->memlock >> 10));
}
