// SPDX-License-Identifier: Apache-2.0
// Open files of the system and of each process, inodes of tmpfs, and memory of sockets, beside what there may be.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

PARAM(warning_percent, 80,
      "percent of the files, inodes or memory of sockets that there may be, for a warning");
PARAM(critical_percent, 95, "percent of them from which on it is critical");
PARAM(process_percent, 90, "percent of the descriptors that a process may have");

ALARMS(files, 1, .fall_ms = 1000);
ALARMS(descriptors, 128, .fall_ms = 1000);
ALARMS(inodes, 64, .fall_ms = 1000);
ALARMS(sockets, 32, .fall_ms = 1000);

// Super blocks and protocols that are looked at.
#define SUPERS_MAX 4096
#define PROTOS_MAX 64
// A limit beside those of the protocols.
#define KEY_ORPHANS 1

// Of tmpfs: bytes that an inode counts for; mm/shmem.c
#define BOGO_INODE_SIZE 1024

struct super_block___files {
	struct list_head s_list;
	u32 s_dev;
	struct file_system_type *s_type;
	void *s_fs_info;
} __kernel_type;

extern struct list_head super_blocks __ksym;
extern char shmem_fs_type[] __ksym;

/** include/linux/shmem_fs.h */
struct shmem_sb_info {
	/** 0 if as many as one likes. */
	unsigned long max_inodes;
	/**
	 * Bytes for inodes and names: since v6.6 ("tmpfs: track free_ispace instead of free_inodes"). Before that,
	 * inodes.
	 */
	unsigned long free_ispace;
	unsigned long free_inodes;
} __kernel_type;

/** include/linux/kdev_t.h */
#define MINORBITS 20

/** include/net/sock.h */
struct proto___files {
	struct list_head node;
	char name[32];
	/** Pages, and three limits for them; the third is the last. */
	atomic_long_t *memory_allocated;
	long *sysctl_mem;
	struct percpu_counter *sockets_allocated;
} __kernel_type;

extern struct list_head proto_list __ksym __weak;

/**
 * Connections that no process has any more: a number for each CPU since Linux kernel commit 19757cebf0c5 ("tcp: switch
 * orphan_count to bare per-cpu counters") (in v5.16, and stable kernels).
 */
extern int tcp_orphan_count __ksym __weak;
extern int sysctl_tcp_max_orphans __ksym __weak;

// The process that has most.
static const struct task_struct *most_of;
static u32 most;

static enum severity severity(u64 percent)
{
	return percent >= critical_percent ? CRITICAL : WARNING;
}

static u64 percent_of(u64 used, u64 limit)
{
	// Limits of "as many as one likes" are near the greatest number.
	return !limit || limit > ~0ULL / 200 ? 0 : min(used, limit) * 100 / limit;
}

static void check_process(const struct task_struct *p)
{
	const struct files_struct *files = p->files;
	u64 limit = p->signal->rlim[RLIMIT_NOFILE].rlim_cur;

	// Ended, or of the kernel itself.
	if (!files || (p->flags & PF_KTHREAD))
		return;

	u32 count = count_open_files(files);
	u64 percent = percent_of(count, limit);

	row("pid=%d comm=%s files=%u limit=%llu", p->pid, p->comm, count, limit);
	if (count > most) {
		most = count;
		most_of = p;
	}
	if (percent >= process_percent)
		alarm(descriptors, p->pid, WARNING,
		      "a process runs out of descriptors: pid=%d comm=%s files=%u limit=%llu percent=%llu",
		      p->pid, p->comm, count, limit, percent);
}

static void check_system(void)
{
	u64 used = percpu_counter_sum_positive(&nr_files), limit = files_stat.max_files;
	u64 percent = percent_of(used, limit);

	metric("open_files", used);
	metric("open_files_max", limit);
	if (percent >= warning_percent)
		alarm(files, 0, severity(percent),
		      "files run out: used=%llu of limit=%llu percent=%llu, most by pid=%d comm=%s files=%u",
		      used, limit, percent, most_of ? most_of->pid : 0,
		      most_of ? most_of->comm : "-", most);
}

static u64 free_inodes(const struct shmem_sb_info *sbinfo)
{
	if (bpf_core_field_exists(sbinfo->free_ispace))
		return sbinfo->free_ispace / BOGO_INODE_SIZE;
	return bpf_core_field_exists(sbinfo->free_inodes) ? sbinfo->free_inodes : ~0ULL;
}

static void check_inodes(void)
{
	const struct super_block___files *sb;
	u32 n = 0;

	list_for_each_entry (sb, &super_blocks, s_list) {
		const struct shmem_sb_info *sbinfo = sb->s_fs_info;

		if (n++ == SUPERS_MAX)
			break;
		if ((const char *)sb->s_type != shmem_fs_type || !sbinfo)
			continue;

		u64 limit = sbinfo->max_inodes, unused = min(free_inodes(sbinfo), limit);
		u64 percent = percent_of(limit - unused, limit);

		if (percent >= warning_percent)
			alarm(inodes, sb->s_dev, severity(percent),
			      "inodes run out: tmpfs device=%u:%u used=%llu of limit=%llu percent=%llu",
			      sb->s_dev >> MINORBITS, sb->s_dev & ((1U << MINORBITS) - 1),
			      limit - unused, limit, percent);
	}
}

static void check_protocols(void)
{
	const struct proto___files *proto;
	u32 n = 0;

	if (!&proto_list)
		return;
	list_for_each_entry (proto, &proto_list, node) {
		const atomic_long_t *allocated = proto->memory_allocated;
		const long *limits = proto->sysctl_mem;

		if (n++ == PROTOS_MAX)
			break;
		if (!allocated || !limits)
			continue;

		// What CPUs keep in reserve may make it less than nothing.
		s64 pages = atomic_long_read(allocated), limit = limits[2];
		u64 percent = pages > 0 && limit > 0 ? percent_of(pages, limit) : 0;

		if (percent >= warning_percent)
			alarm(sockets, (u64)proto, severity(percent),
			      "memory of sockets runs out: protocol=%s pages=%lld of limit=%lld percent=%llu "
			      "sockets=%lld",
			      proto->name, pages, limit, percent,
			      proto->sockets_allocated
				      ? percpu_counter_sum_positive(proto->sockets_allocated)
				      : 0);
	}
}

static void check_orphans(void)
{
	s64 orphans = 0;
	unsigned int cpu;

	if (!&tcp_orphan_count || !&sysctl_tcp_max_orphans)
		return;
	for_each_possible_cpu (cpu)
		orphans += *per_cpu_ptr(&tcp_orphan_count, cpu);

	u64 percent = orphans > 0 ? percent_of(orphans, sysctl_tcp_max_orphans) : 0;

	if (percent >= warning_percent)
		alarm(sockets, KEY_ORPHANS, severity(percent),
		      "connections without a process run out: orphans=%lld of limit=%d percent=%llu",
		      orphans, sysctl_tcp_max_orphans, percent);
}

DETECTOR(files, .description = "files, inodes and memory of sockets, beside their limits",
	 .period_ms = 1000)
{
	struct task_struct *p;

	if (panic_cpu != PANIC_CPU_INVALID)
		return;
	most = 0;
	most_of = NULL;
	for_each_process (p)
		check_process(p);
	check_system();
	check_inodes();
	check_protocols();
	check_orphans();
	alarms_end(files);
	alarms_end(descriptors);
	alarms_end(inodes);
	alarms_end(sockets);
}
