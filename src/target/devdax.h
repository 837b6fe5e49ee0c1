/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Memory that the kernel gives out whole as a character device (/dev/dax0.0): that of another machine which shares it
 * through a card or a hypervisor, for example. It can be mapped, and neither read nor sought in.
 */
#ifndef GS_TARGET_DEVDAX_H
#define GS_TARGET_DEVDAX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/**
 * Ask sysfs about a character device (Documentation/ABI/testing/sysfs-bus-dax).
 *
 * @param size_ret Its bytes. @param align_ret What mappings begin and end at a multiple of.
 * @return false if it is no such device.
 */
bool gs_devdax_size(const struct stat *st, uint64_t *size_ret, uint64_t *align_ret);

#endif
