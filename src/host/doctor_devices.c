// SPDX-License-Identifier: Apache-2.0
// The GPU that is to watch, and the NIC by which others reach it.
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/doctor_checks.h"
#include "host/iommu.h"
#include "host/read.h"

#define PCI "/sys/bus/pci/devices/"
#define INFINIBAND "/sys/class/infiniband/"

static bool is_gpu(const struct doctor *doctor, const char *address)
{
	char path[512], value[16];

	snprintf(path, sizeof(path), PCI "%s/vendor", address);
	if (!host_read_line(doctor->root, path, value, sizeof(value)) || strcmp(value, "0x10de"))
		return false;
	// Display controllers: VGA, and 3D without a display.
	snprintf(path, sizeof(path), PCI "%s/class", address);
	return host_read_line(doctor->root, path, value, sizeof(value)) &&
	       !strncmp(value, "0x03", 4);
}

bool doctor_find_gpu(const struct doctor *doctor, char *ret, size_t size)
{
	char **names;
	size_t count = host_list(doctor->root, PCI, &names);
	bool found = false;

	for (size_t i = 0; i < count && !found; i++) {
		found = is_gpu(doctor, names[i]);
		if (found)
			snprintf(ret, size, "%s", names[i]);
	}
	host_free_names(names, count);
	return found;
}

bool doctor_gpu(const struct doctor *doctor, struct doctor_finding *finding)
{
	char gpu[64];

	if (!doctor_find_gpu(doctor, gpu, sizeof(gpu)))
		return doctor_say(
			finding, DOCTOR_STOP,
			"detectors run on the CPUs (-e cpu), which end with the system that "
			"they watch; or watch a guest from its host",
			"no GPU of NVIDIA is on the PCI bus");
	return doctor_say(finding, DOCTOR_OK, "", "%s", gpu);
}

// "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build ...", or
// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 ...": the first word that is a number.
static bool driver_version(const struct doctor *doctor, char *ret, size_t size)
{
	char line[256], *at = line;

	if (!host_read_line(doctor->root, "/proc/driver/nvidia/version", line, sizeof(line)))
		return false;
	while (*at && !isdigit((unsigned char)*at)) {
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	snprintf(ret, size, "%.*s%s", (int)strcspn(at, " "), at,
		 strstr(line, "Open Kernel Module") ? ", open kernel module" : "");
	return true;
}

static void bound_driver(const struct doctor *doctor, const char *gpu, char *ret, size_t size)
{
	char path[PATH_MAX], to[PATH_MAX];

	*ret = '\0';
	snprintf(path, sizeof(path), "%s" PCI "%s/driver", doctor->root, gpu);

	ssize_t length = readlink(path, to, sizeof(to) - 1);

	if (length <= 0)
		return;
	to[length] = '\0';
	snprintf(ret, size, "%.63s", strrchr(to, '/') ? strrchr(to, '/') + 1 : to);
}

bool doctor_driver(const struct doctor *doctor, struct doctor_finding *finding)
{
	char gpu[64], version[128], bound[64];

	if (!doctor_find_gpu(doctor, gpu, sizeof(gpu)))
		return false;
	bound_driver(doctor, gpu, bound, sizeof(bound));
	if (*bound && strcmp(bound, "nvidia") != 0)
		return doctor_say(finding, DOCTOR_STOP,
				  "install NVIDIA's driver, and keep the other one from loading",
				  "the GPU belongs to the driver %s", bound);
	if (!driver_version(doctor, version, sizeof(version)))
		return doctor_say(finding, DOCTOR_STOP,
				  "install NVIDIA's driver, or: modprobe nvidia",
				  "NVIDIA's driver is not loaded");
	if (!host_exists(doctor->root, "/dev/nvidiactl") ||
	    !host_exists(doctor->root, "/dev/nvidia-uvm"))
		return doctor_say(finding, DOCTOR_STOP, "nvidia-modprobe -c 0 -u",
				  "%s, but /dev/nvidiactl or /dev/nvidia-uvm is missing", version);
	return doctor_say(finding, DOCTOR_OK, "", "%s", version);
}

bool doctor_persistence(const struct doctor *doctor, struct doctor_finding *finding)
{
	switch (doctor->driver.persistence) {
	case DOCTOR_YES:
		return doctor_say(finding, DOCTOR_OK, "", "the driver stays initialised");
	case DOCTOR_NO:
		return doctor_say(
			finding, DOCTOR_WARNING, "enable nvidia-persistenced, or: nvidia-smi -pm 1",
			"the driver initialises the GPU anew whenever nobody uses it, which "
			"makes each start slow");
	default:
		return false;
	}
}

bool doctor_confidential(const struct doctor *doctor, struct doctor_finding *finding)
{
	switch (doctor->driver.confidential) {
	case DOCTOR_YES:
		return doctor_say(
			finding, DOCTOR_STOP,
			"switch confidential computing off for this GPU, and reset it",
			"the GPU is in confidential-computing mode: it reads no memory of the "
			"host");
	case DOCTOR_NO:
		return doctor_say(finding, DOCTOR_OK, "", "off");
	default:
		return false;
	}
}

bool doctor_iommu(const struct doctor *doctor, struct doctor_finding *finding)
{
	struct gs_iommu_state state;
	char gpu[64];

	if (!doctor_find_gpu(doctor, gpu, sizeof(gpu)))
		return false;
	gs_iommu_read(doctor->root, gpu, &state);
	switch (state.iommu) {
	case GS_IOMMU_OFF:
		return doctor_say(finding, DOCTOR_OK, "", "none for the GPU");
	case GS_IOMMU_PASSTHROUGH:
		return doctor_say(finding, DOCTOR_OK, "", "passes the GPU's addresses through");
	case GS_IOMMU_TRANSLATES:
		return doctor_say(
			finding, DOCTOR_STOP, "boot with iommu.passthrough=1 (or iommu=pt)",
			"translates the GPU's addresses (%s): it cannot read by physical ones",
			state.type);
	default:
		return doctor_say(finding, DOCTOR_WARNING, "run this as root",
				  "cannot be told: the type of the GPU's group cannot be read");
	}
}

static bool port_is_up(const struct doctor *doctor, const char *device)
{
	char path[512], state[32];
	char **ports;
	bool up = false;

	snprintf(path, sizeof(path), INFINIBAND "%s/ports", device);

	size_t count = host_list(doctor->root, path, &ports);

	for (size_t i = 0; i < count && !up; i++) {
		snprintf(path, sizeof(path), INFINIBAND "%s/ports/%s/state", device, ports[i]);
		// "4: ACTIVE"
		up = host_read_line(doctor->root, path, state, sizeof(state)) && state[0] == '4';
	}
	host_free_names(ports, count);
	return up;
}

// soft-RoCE and soft-iWARP have no device behind them.
static bool is_hardware(const struct doctor *doctor, const char *device)
{
	char path[512];

	snprintf(path, sizeof(path), INFINIBAND "%s/device", device);
	return host_exists(doctor->root, path);
}

bool doctor_rdma(const struct doctor *doctor, struct doctor_finding *finding)
{
	char **names, up[64] = "", soft[64] = "", down[64] = "";
	size_t count = host_list(doctor->root, INFINIBAND, &names);

	for (size_t i = 0; i < count; i++) {
		char *to = !is_hardware(doctor, names[i]) ? soft
			   : port_is_up(doctor, names[i]) ? up
							  : down;

		if (!*to)
			snprintf(to, sizeof(up), "%s", names[i]);
	}
	host_free_names(names, count);
	if (*up)
		return doctor_say(finding, DOCTOR_OK, "", "%s has a port that is up", up);
	if (*down)
		return doctor_say(finding, DOCTOR_WARNING, "see to its link; `rdma link` shows it",
				  "%s has no port that is up", down);
	if (*soft)
		return doctor_say(finding, DOCTOR_STOP, "a NIC that does RDMA itself",
				  "%s is software, which ends with the system", soft);
	return doctor_say(finding, DOCTOR_STOP,
			  "a NIC that does RDMA (InfiniBand, RoCE), and its driver with ib_uverbs",
			  "no NIC that does RDMA: monitors on other machines cannot see the GPU's "
			  "memory");
}

bool doctor_peer_memory(const struct doctor *doctor, struct doctor_finding *finding)
{
	char gpu[64], version[128] = "";
	char **names;
	size_t count = host_list(doctor->root, INFINIBAND, &names);

	host_free_names(names, count);
	if (!count || !doctor_find_gpu(doctor, gpu, sizeof(gpu)))
		return false;
	driver_version(doctor, version, sizeof(version));
	if (!host_exists(doctor->root, "/dev/infiniband"))
		return doctor_say(finding, DOCTOR_STOP, "modprobe ib_uverbs",
				  "there is no /dev/infiniband");
	// The driver exports GPU memory as dma-buf in its open form alone.
	if (!strstr(version, "open kernel module"))
		return doctor_say(finding, DOCTOR_STOP,
				  "install the open form of NVIDIA's kernel module (nvidia-open)",
				  "NVIDIA's kernel module does not export GPU memory as dma-buf");
	return doctor_say(finding, DOCTOR_OK, "", "by dma-buf");
}
