// SPDX-License-Identifier: Apache-2.0
// What the doctor says of machines, which are trees of files here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/doctor.h"

#define GPU "/sys/bus/pci/devices/0000:3b:00.0"
#define SECURE_BOOT "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

static char root[64];
static struct doctor doctor;
static struct doctor_finding list[DOCTOR_FINDINGS_MAX];
static size_t count;

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static void put_bytes(const char *path, const char *bytes, size_t size)
{
	char full[512];

	run("mkdir -p $(dirname '%s%s')", root, path);
	snprintf(full, sizeof(full), "%s%s", root, path);

	FILE *file = fopen(full, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void put(const char *path, const char *text)
{
	put_bytes(path, text, strlen(text));
}

// A server as it should be.
static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/gpusentinel-doctor-XXXXXX");
	assert_non_null(mkdtemp(root));
	put(SECURE_BOOT, "");
	put_bytes(SECURE_BOOT, "\6\0\0\0\0", 5);
	put("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
	put("/proc/cpuinfo", "flags\t\t: fpu vme sev sev_es\n");
	put("/proc/cmdline", "root=/dev/sda1 iommu=pt\n");
	put("/dev/gpusentinel", "");
	put("/dev/nvidiactl", "");
	put("/dev/nvidia-uvm", "");
	put(GPU "/vendor", "0x10de\n");
	put(GPU "/class", "0x030200\n");
	put("/proc/driver/nvidia/version",
	    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n");
	run("ln -s ../../../bus/pci/drivers/nvidia %s" GPU "/driver", root);
	put("/sys/kernel/iommu_groups/7/type", "identity\n");
	run("ln -s ../../../../kernel/iommu_groups/7 %s" GPU "/iommu_group", root);
	put("/sys/kernel/kexec_crash_loaded", "0\n");
	put("/sys/kernel/kexec_crash_size", "0\n");
	put("/proc/sys/kernel/panic", "0\n");
	put("/proc/sys/kernel/panic_on_oops", "1\n");
	put("/proc/sys/kernel/sysrq", "438\n");
	put("/sys/class/watchdog/watchdog0/state", "inactive\n");
	put("/sys/class/infiniband/mlx5_0/device/vendor", "0x15b3\n");
	put("/sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n");
	put("/dev/infiniband/uverbs0", "");
	doctor = (struct doctor){
		.root = root,
		.memlock = UINT64_MAX,
		.capabilities = UINT64_MAX,
		.driver = { DOCTOR_YES, DOCTOR_NO },
	};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	run("rm -rf %s", root);
	return 0;
}

static const struct doctor_finding *ask(const char *name)
{
	count = doctor_examine(&doctor, list);
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(list[i].name, name))
			return &list[i];
	}
	return NULL;
}

static void says(const char *name, enum doctor_verdict verdict, const char *found)
{
	const struct doctor_finding *finding = ask(name);

	assert_non_null(finding);
	assert_string_equal(finding->found, found);
	assert_int_equal(finding->verdict, verdict);
	// Who is warned is told what to do.
	assert_int_equal(*finding->advice != '\0', verdict != DOCTOR_OK);
}

static void a_server_as_it_should_be(void **state)
{
	(void)state;
	count = doctor_examine(&doctor, list);
	for (size_t i = 0; i < count; i++) {
		if (list[i].verdict != DOCTOR_OK)
			fail_msg("%s: %s", list[i].name, list[i].found);
	}
	assert_int_equal(count, 17);
	assert_int_equal(doctor_worst(list, count), DOCTOR_OK);
	says("driver", DOCTOR_OK, "580.65.06, open kernel module");
	says("RDMA", DOCTOR_OK, "mlx5_0 has a port that is up");
	says("causes of panics", DOCTOR_OK, "also panic_on_oops; the machine stays there");
}

static void a_machine_with_nothing_of_it(void **state)
{
	(void)state;
	run("rm -rf %s/*", root);
	doctor.memlock = 8 << 20;
	doctor.capabilities = 0;
	doctor.driver = (struct doctor_driver){};
	says("secure boot", DOCTOR_OK, "off: not booted by UEFI");
	says("lockdown", DOCTOR_WARNING,
	     "cannot be told: securityfs is not mounted, or the kernel has none");
	says("encrypted memory", DOCTOR_WARNING, "cannot be told: there is no /proc/cpuinfo");
	says("module", DOCTOR_STOP,
	     "gpusentinel is not loaded: there is no /dev/gpusentinel, so no target host");
	says("locked memory", DOCTOR_WARNING,
	     "8192 KiB at most: the watching process may be swapped out, and RDMA finds no room");
	says("GPU", DOCTOR_STOP, "no GPU of NVIDIA is on the PCI bus");
	says("kdump", DOCTOR_OK, "off: the kernel has none");
	says("panic", DOCTOR_WARNING, "cannot be told: there is no /proc/sys/kernel/panic");
	says("watchdog", DOCTOR_OK, "none");
	says("RDMA", DOCTOR_STOP,
	     "no NIC that does RDMA: monitors on other machines cannot see the GPU's memory");
	// Of what is not there, nothing is said.
	assert_null(ask("driver"));
	assert_null(ask("persistence"));
	assert_null(ask("confidential GPU"));
	assert_null(ask("IOMMU"));
	assert_null(ask("GPU memory for RDMA"));
	assert_int_equal(doctor_worst(list, count), DOCTOR_STOP);
}

static void what_keeps_memory_from_being_read(void **state)
{
	(void)state;
	put_bytes(SECURE_BOOT, "\6\0\0\0\1", 5);
	says("secure boot", DOCTOR_WARNING,
	     "on: the module gpusentinel loads only if it is signed");
	put_bytes(SECURE_BOOT, "\6\0", 2);
	says("secure boot", DOCTOR_WARNING, "cannot be told: its variable cannot be read");
	put("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	says("lockdown", DOCTOR_STOP, "integrity: the kernel lets nobody read its memory");
	put("/sys/kernel/security/lockdown", "");
	says("lockdown", DOCTOR_WARNING,
	     "cannot be told: /sys/kernel/security/lockdown cannot be read");
	put("/proc/cmdline", "quiet mem_encrypt=on\n");
	says("encrypted memory", DOCTOR_STOP,
	     "the kernel encrypts memory (SME), of which a GPU reads what the memory chips hold");
	put("/proc/cmdline", "quiet mem_encrypt=only\n");
	says("encrypted memory", DOCTOR_OK, "none that devices would see");
	// A host's CPU has the flag, too; a guest's has both.
	put("/proc/cpuinfo", "flags\t\t: fpu hypervisor sev\n");
	says("encrypted memory", DOCTOR_STOP, "this is a guest under SEV, or its CPU says so");
	put("/proc/cpuinfo", "flags\t\t: fpu hypervisor tdx_guest\n");
	says("encrypted memory", DOCTOR_STOP, "this is a guest under TDX, or its CPU says so");
	doctor.capabilities = 1 << CAP_IPC_LOCK;
	says("module", DOCTOR_WARNING,
	     "/dev/gpusentinel is there; this user may not open it (CAP_SYS_RAWIO)");
	doctor.memlock = 64 << 10;
	says("locked memory", DOCTOR_OK, "without limit (CAP_IPC_LOCK)");
}

static void what_ends_the_watch_with_the_system(void **state)
{
	(void)state;
	put("/proc/sys/kernel/panic", "10\n");
	put("/proc/sys/kernel/hung_task_panic", "1\n");
	says("panic", DOCTOR_STOP, "the machine restarts 10 s after a panic");
	says("causes of panics", DOCTOR_WARNING,
	     "also panic_on_oops, hung_task_panic, and then it does not stay there");
	put("/proc/sys/kernel/panic", "-1\n");
	says("panic", DOCTOR_STOP, "the machine restarts at once after a panic");
	put("/proc/sys/kernel/panic", "soon\n");
	says("panic", DOCTOR_WARNING, "cannot be told: there is no /proc/sys/kernel/panic");
	put("/sys/kernel/kexec_crash_size", "268435456\n");
	says("kdump", DOCTOR_WARNING,
	     "no crash kernel is loaded, but 256 MiB are kept for one: a service may load it later");
	put("/sys/kernel/kexec_crash_loaded", "1\n");
	says("kdump", DOCTOR_STOP,
	     "a crash kernel is loaded: after a panic it starts, and resets the GPU");
	put("/sys/class/watchdog/watchdog1/state", "active\n");
	put("/sys/class/watchdog/watchdog1/timeout", "60\n");
	put("/sys/class/watchdog/watchdog1/identity", "iTCO_wdt\n");
	says("watchdog", DOCTOR_STOP,
	     "watchdog1 (iTCO_wdt) restarts the machine 60 s after its system has died");
	put("/proc/sys/kernel/sysrq", "0\n");
	says("sysrq", DOCTOR_OK, "0: no restart by it; root may still crash the machine");
}

static void a_gpu_that_cannot_watch(void **state)
{
	(void)state;
	put("/sys/kernel/iommu_groups/7/type", "DMA-FQ\n");
	says("IOMMU", DOCTOR_STOP,
	     "translates the GPU's addresses (DMA-FQ): it cannot read by physical ones");
	doctor.driver = (struct doctor_driver){ DOCTOR_NO, DOCTOR_YES };
	says("persistence", DOCTOR_WARNING,
	     "the driver initialises the GPU anew whenever nobody uses it, which makes each start "
	     "slow");
	says("confidential GPU", DOCTOR_STOP,
	     "the GPU is in confidential-computing mode: it reads no memory of the host");
	run("rm %s/dev/nvidia-uvm", root);
	says("driver", DOCTOR_STOP,
	     "580.65.06, open kernel module, but /dev/nvidiactl or /dev/nvidia-uvm is missing");
	put("/proc/driver/nvidia/version",
	    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023\n");
	says("GPU memory for RDMA", DOCTOR_STOP,
	     "NVIDIA's kernel module does not export GPU memory as dma-buf");
	put("/dev/nvidia-uvm", "");
	says("driver", DOCTOR_OK, "535.104.05");
	run("rm -r %s/proc/driver", root);
	says("driver", DOCTOR_STOP, "NVIDIA's driver is not loaded");
	run("ln -sfn ../../../bus/pci/drivers/nouveau %s" GPU "/driver", root);
	says("driver", DOCTOR_STOP, "the GPU belongs to the driver nouveau");
	// A sound controller of NVIDIA's is no GPU.
	put(GPU "/class", "0x040300\n");
	says("GPU", DOCTOR_STOP, "no GPU of NVIDIA is on the PCI bus");
}

static void a_nic_that_does_not_help(void **state)
{
	(void)state;
	put("/sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN\n");
	says("RDMA", DOCTOR_WARNING, "mlx5_0 has no port that is up");
	run("mv %s/sys/class/infiniband/mlx5_0 %s/sys/class/infiniband/rxe0", root, root);
	run("rm -r %s/sys/class/infiniband/rxe0/device", root);
	says("RDMA", DOCTOR_STOP, "rxe0 is software, which ends with the system");
	run("rm -r %s/dev/infiniband", root);
	says("GPU memory for RDMA", DOCTOR_STOP, "there is no /dev/infiniband");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_server_as_it_should_be),		 TEST(a_machine_with_nothing_of_it),
		TEST(what_keeps_memory_from_being_read), TEST(what_ends_the_watch_with_the_system),
		TEST(a_gpu_that_cannot_watch),		 TEST(a_nic_that_does_not_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
