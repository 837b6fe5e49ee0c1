// SPDX-License-Identifier: Apache-2.0
#include "host/iommu.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "host/read.h"

void gs_iommu_read(const char *root, const char *device, struct gs_iommu_state *ret)
{
	char path[PATH_MAX];

	*ret = (struct gs_iommu_state){ .iommu = GS_IOMMU_OFF };
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", device);
	if (!host_exists(root, path))
		return;
	ret->iommu = GS_IOMMU_UNKNOWN;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group/type", device);
	if (!host_read_line(root, path, ret->type, sizeof(ret->type)) || !ret->type[0])
		return;
	ret->iommu =
		strcmp(ret->type, "identity") == 0 ? GS_IOMMU_PASSTHROUGH : GS_IOMMU_TRANSLATES;
}

struct gs_error *gs_iommu_check(const char *root, const char *device)
{
	struct gs_iommu_state state;

	gs_iommu_read(root, device, &state);
	if (state.iommu == GS_IOMMU_OFF || state.iommu == GS_IOMMU_PASSTHROUGH)
		return NULL;
	return gs_error_create(
		GS_ERROR_ENGINE,
		"an IOMMU translates the addresses of the GPU %s (%s), so it cannot read this machine's memory "
		"by physical addresses: boot with iommu.passthrough=1 (or iommu=pt), or use -e cpu",
		device,
		state.iommu == GS_IOMMU_TRANSLATES ? state.type
						   : "the type of its group cannot be read");
}
