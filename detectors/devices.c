// SPDX-License-Identifier: Apache-2.0
// Block devices with their partitions, and network devices.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "devices_net.h"

// A disk or partition.
struct block {
	u64 sectors;
	const void *stats;
	const char *disk;
};

// Of each CPU: completed, and under way.
struct disk_stats___counts {
	unsigned long sectors[2];
	unsigned long ios[2];
} __kernel_type;

typedef struct {
	atomic_long_t a;
} __kernel_type local_t___count;

struct disk_stats___flight {
	local_t___count in_flight[2];
} __kernel_type;

struct gendisk___name {
	char disk_name[32];
} __kernel_type;

struct block_device___device {
	u64 bd_nr_sectors;
	struct disk_stats___counts *bd_stats;
	struct gendisk___name *bd_disk;
	struct device bd_device;
} __kernel_type;

// Since v5.11, the device is part of struct block_device. Before that, of struct hd_struct, and a disk's in the disk.
struct hd_struct___device {
	u64 nr_sects;
	struct disk_stats___counts *dkstats;
	struct device __dev;
} __kernel_type;

struct gendisk___part0 {
	char disk_name[32];
	struct hd_struct___device part0;
} __kernel_type;

static void find_block(struct block *b, struct device *dev)
{
	if (bpf_core_field_exists(struct block_device___device, bd_device)) {
		const struct block_device___device *bdev =
			container_of(dev, struct block_device___device, bd_device);

		b->sectors = bdev->bd_nr_sectors;
		b->stats = bdev->bd_stats;
		b->disk = bdev->bd_disk->disk_name;
	} else if (bpf_core_field_exists(struct hd_struct___device, nr_sects)) {
		const struct hd_struct___device *part =
			container_of(dev, struct hd_struct___device, __dev);
		struct device *whole = (const char *)dev->type == part_type ? dev->parent : dev;

		b->sectors = part->nr_sects;
		b->stats = part->dkstats;
		b->disk = container_of(whole, struct gendisk___part0, part0.__dev)->disk_name;
	}
}

static void show_block(struct device *dev)
{
	u64 reads = 0, writes = 0, read_sectors = 0, written_sectors = 0;
	struct block b = {};
	s64 in_flight = 0;
	unsigned int cpu;

	find_block(&b, dev);
	if (!b.disk)
		return;
	for_each_possible_cpu (cpu) {
		const struct disk_stats___counts *counts =
			per_cpu_ptr((const struct disk_stats___counts *)b.stats, cpu);
		const struct disk_stats___flight *flight =
			(const struct disk_stats___flight *)counts;

		if (!b.stats)
			break;
		reads += counts->ios[STAT_READ];
		writes += counts->ios[STAT_WRITE];
		read_sectors += counts->sectors[STAT_READ];
		written_sectors += counts->sectors[STAT_WRITE];
		in_flight += flight->in_flight[0].a.counter + flight->in_flight[1].a.counter;
	}
	row("kind=%s name=%s major=%u minor=%u disk=%s sectors=%llu reads=%llu read_sectors=%llu writes=%llu "
	    "written_sectors=%llu in_flight=%lld",
	    "block", dev->kobj.name, MAJOR(dev->devt), MINOR(dev->devt), b.disk, b.sectors, reads,
	    read_sectors, writes, written_sectors, max(in_flight, 0LL));
}

static void show_block_devices(void)
{
	struct subsys_private *sp = class_to_subsys(block_class);
	struct device_private *p;
	unsigned int count = 0;

	if (!sp)
		return;
	list_for_each_entry (p, &sp->klist_devices.k_list, knode_class.n_node) {
		if (++count > CLASS_DEVICES_MAX)
			break;
		show_block(p->device);
	}
}

DETECTOR(devices, .description = "block devices and network devices", .period_ms = 10000)
{
	show_block_devices();
	show_net_devices();
}
