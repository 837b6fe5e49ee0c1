// SPDX-License-Identifier: Apache-2.0
#include "host/doctor.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/doctor_checks.h"
#include "util/array.h"

static const struct {
	const char *name;
	doctor_check_fn *check;
} checks[] = {
	{ "secure boot", doctor_secure_boot },
	{ "lockdown", doctor_lockdown },
	{ "encrypted memory", doctor_encrypted },
	{ "module", doctor_module },
	{ "locked memory", doctor_memlock },
	{ "GPU", doctor_gpu },
	{ "driver", doctor_driver },
	{ "persistence", doctor_persistence },
	{ "confidential GPU", doctor_confidential },
	{ "IOMMU", doctor_iommu },
	{ "kdump", doctor_kdump },
	{ "panic", doctor_panic },
	{ "causes of panics", doctor_panics },
	{ "watchdog", doctor_watchdog },
	{ "sysrq", doctor_sysrq },
	{ "RDMA", doctor_rdma },
	{ "GPU memory for RDMA", doctor_peer_memory },
};

_Static_assert(ARRAY_SIZE(checks) <= DOCTOR_FINDINGS_MAX, "callers have room for all");

bool doctor_say(struct doctor_finding *finding, enum doctor_verdict verdict, const char *advice,
		const char *format, ...)
{
	va_list ap;

	finding->verdict = verdict;
	snprintf(finding->advice, sizeof(finding->advice), "%s", advice);
	va_start(ap, format);
	vsnprintf(finding->found, sizeof(finding->found), format, ap);
	va_end(ap);
	return true;
}

size_t doctor_examine(const struct doctor *doctor, struct doctor_finding *list)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		list[count] = (struct doctor_finding){ .name = checks[i].name };
		count += checks[i].check(doctor, &list[count]);
	}
	return count;
}

enum doctor_verdict doctor_worst(const struct doctor_finding *list, size_t count)
{
	enum doctor_verdict worst = DOCTOR_OK;

	for (size_t i = 0; i < count; i++) {
		if (list[i].verdict > worst)
			worst = list[i].verdict;
	}
	return worst;
}

const char *doctor_word(enum doctor_verdict verdict)
{
	static const char *const words[] = { "ok", "warning", "stop" };

	return words[verdict];
}

// NVML's own, of nvml.h: nvmlDevice_t is a pointer, 0 is success.
static enum doctor_answer ask_persistence(void *nvml)
{
	int (*by_index)(unsigned int index, void **device) =
		(__typeof__(by_index))dlsym(nvml, "nvmlDeviceGetHandleByIndex_v2");
	int (*get)(void *device, unsigned int *mode) =
		(__typeof__(get))dlsym(nvml, "nvmlDeviceGetPersistenceMode");
	unsigned int mode;
	void *device;

	if (!by_index || !get || by_index(0, &device) || get(device, &mode))
		return DOCTOR_UNKNOWN;
	return mode ? DOCTOR_YES : DOCTOR_NO;
}

static enum doctor_answer ask_confidential(void *nvml)
{
	// nvmlConfComputeSystemState_t
	struct {
		unsigned int environment, feature, tools;
	} state;
	int (*get)(void *state) = (__typeof__(get))dlsym(nvml, "nvmlSystemGetConfComputeState");
	// NVML_ERROR_NOT_SUPPORTED: this GPU, or this driver, has nothing of it.
	int result = get ? get(&state) : 3;

	if (result)
		return result == 3 ? DOCTOR_NO : DOCTOR_UNKNOWN;
	return state.feature ? DOCTOR_YES : DOCTOR_NO;
}

static void ask_driver(struct doctor_driver *driver)
{
	// It stays loaded: this is a short life.
	void *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
	int (*init)(void) = nvml ? (__typeof__(init))dlsym(nvml, "nvmlInit_v2") : NULL;

	if (!init || init())
		return;
	driver->persistence = ask_persistence(nvml);
	driver->confidential = ask_confidential(nvml);
}

static uint64_t own_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	if (syscall(SYS_capget, &header, data))
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

void doctor_init(struct doctor *doctor)
{
	struct rlimit limit;

	*doctor = (struct doctor){ .root = "", .capabilities = own_capabilities() };
	if (!getrlimit(RLIMIT_MEMLOCK, &limit))
		doctor->memlock = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
	ask_driver(&doctor->driver);
}
