/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Whether a device's reads of main memory go through an IOMMU.
 *
 * A GPU that is given physical addresses (CU_MEMHOSTREGISTER_IOMEMORY) puts them on the bus as they are. An IOMMU
 * that translates takes them for addresses of its own, so it must be off or pass them through.
 * Source: Documentation/ABI/testing/sysfs-kernel-iommu_groups.
 */
#ifndef GS_HOST_IOMMU_H
#define GS_HOST_IOMMU_H

#include <gpusentinel/error.h>

enum gs_iommu {
	/** There is none, or it does not know the device. */
	GS_IOMMU_OFF,
	/** Addresses of the device are physical ones ("identity"). */
	GS_IOMMU_PASSTHROUGH,
	/** Anything else. */
	GS_IOMMU_TRANSLATES,
	/** The device is in a group whose type cannot be read. */
	GS_IOMMU_UNKNOWN,
};

struct gs_iommu_state {
	enum gs_iommu iommu;
	/** What the kernel calls it: "identity", "DMA", "DMA-FQ", "blocked"; empty if off or unknown. */
	char type[32];
};

/**
 * How the IOMMU treats a device.
 *
 * @param root Goes before /sys; "" for this machine.
 * @param device Address on the PCI bus, e.g. "0000:3b:00.0".
 */
void gs_iommu_read(const char *root, const char *device, struct gs_iommu_state *ret);

/** NULL if a device may read main memory by physical addresses, else what to do. */
struct gs_error *gs_iommu_check(const char *root, const char *device);

#endif
