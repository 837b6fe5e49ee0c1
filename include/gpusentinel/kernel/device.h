/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The driver core: classes and their devices. include/linux/device.h, drivers/base/base.h
 */
#ifndef GPUSENTINEL_KERNEL_DEVICE_H
#define GPUSENTINEL_KERNEL_DEVICE_H

#include <gpusentinel/kernel/base.h>

/** Devices of a class that are looked at, and classes. */
#define CLASS_DEVICES_MAX 65536
#define CLASSES_MAX 4096

struct klist_node {
	struct list_head n_node;
} __kernel_type;

struct klist {
	struct list_head k_list;
} __kernel_type;

struct kobject___entry {
	const char *name;
	/** Chained by kset.list. */
	struct list_head entry;
} __kernel_type;

struct kset {
	struct list_head list;
	struct kobject___entry kobj;
} __kernel_type;

struct device;

struct device_private {
	struct klist_node knode_class;
	struct device *device;
} __kernel_type;

struct device_type;

struct device {
	struct kobject___entry kobj;
	struct device *parent;
	const struct device_type *type;
	/** Number, in 12 and 20 bits. */
	u32 devt;
} __kernel_type;

struct class;

struct subsys_private {
	struct kset subsys;
	/** Chains device_private.knode_class. */
	struct klist klist_devices;
	const struct class *class;
} __kernel_type;

/**
 * Until v6.4 ("driver core: class: remove struct class_interface * from callbacks" and its neighbours), a class knows
 * where its devices are. Since then, those that are registered are looked through.
 */
struct class___private {
	struct subsys_private *p;
} __kernel_type;

/** Every class; chains subsys_private.subsys.kobj.entry. */
extern struct kset *class_kset __ksym __weak;

/** What the driver core keeps for the class, NULL if that cannot be told. */
static inline struct subsys_private *class_to_subsys(const void *class)
{
	struct kobject___entry *kobj;
	unsigned int count = 0;

	if (bpf_core_field_exists(struct class___private, p))
		return ((const struct class___private *)class)->p;
	if (!&class_kset || !class_kset)
		return NULL;
	list_for_each_entry (kobj, &class_kset->list, entry) {
		struct subsys_private *sp = container_of(kobj, struct subsys_private, subsys.kobj);

		if (++count > CLASSES_MAX)
			break;
		if (sp->class == class)
			return sp;
	}
	return NULL;
}

/** Disks and partitions; its type has other members in each kernel: see class_to_subsys(). */
extern char block_class[] __ksym;
extern char part_type[] __ksym;

#endif
