// SPDX-License-Identifier: Apache-2.0
// Block devices that do not complete what they were asked for, writes that failed, and file systems that have errors, were
// turned read-only, or are frozen.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

PARAM(limit_ms, 10000, "milliseconds that a request may take; three times that is an error");
PARAM(frozen_ms, 60000, "milliseconds that a file system may be frozen");

ALARMS(stuck, 128, .fall_ms = 1000);
ALARMS(filesystem, 128, .fall_ms = 1000);

#define NSEC_PER_MSEC 1000000ULL

// More than any machine has.
#define DEVICES_MAX 16384U
#define SUPER_BLOCKS_MAX 65536U
#define HW_QUEUES_MAX 8192U
#define TAGS_MAX 16384U

// What is remembered of a device or file system.
struct object {
	u64 key;
	// The last run in which it was there, and times of the kernel's clock.
	u32 round;
	s64 since_ns;
	// Of a device: completed requests.
	u64 ios;
	u32 wb_err;
	// Of a file system.
	bool was_writable;
	u32 errors;
};

#define OBJECTS_MAX 4096U
#define OBJECT_PROBES 32U

static struct object objects[OBJECTS_MAX];
static u32 round;

// Its place; sets @first if it is new. OBJECTS_MAX: there is none left.
static u32 object_find(const void *key, bool *first)
{
	u32 hash = ((u64)key >> 5) * 0x9e3779b97f4a7c15ULL >> 40, free = OBJECTS_MAX;

	*first = false;
	for (u32 i = 0; i < OBJECT_PROBES; i++) {
		u32 at = (hash + i) % OBJECTS_MAX;
		const struct object *o = &objects[at];

		if (!o->key || o->round + 1 < round) {
			free = free < OBJECTS_MAX ? free : at;
		} else if (o->key == (u64)key) {
			objects[at].round = round;
			return at;
		}
	}
	if (free < OBJECTS_MAX) {
		objects[free] = (struct object){ .key = (u64)key, .round = round };
		*first = true;
	}
	return free;
}

// Requests of a queue that its driver has.
struct flight {
	u32 count;
	const struct request *oldest;
	u64 start_ns;
};

static void flight_add(struct flight *f, const struct request *rq)
{
	u64 start_ns = rq->start_time_ns;

	f->count++;
	if (!f->oldest || start_ns < f->start_ns) {
		f->oldest = rq;
		f->start_ns = start_ns;
	}
}

static void look_at_tags(const struct blk_mq_tags *tags, const struct request_queue *q,
			 struct flight *f)
{
	const struct sbitmap *sb = bitmap_tags(tags);
	u32 shift = sb->shift & 31, reserved = tags->nr_reserved_tags;
	u32 nr_tags = min(tags->nr_tags, TAGS_MAX), words = min(sb->map_nr, TAGS_MAX);
	struct request **rqs = tags->rqs;

	for (u32 w = 0; w < words; w++) {
		const struct sbitmap_word *word = kernel_array_at(sb->map, w);
		unsigned long bits = word->word & ~word->cleared;

		for (; bits; bits &= bits - 1) {
			u32 tag = reserved + (w << shift) + __builtin_ctzll(bits);
			const struct request *rq = tag < nr_tags ? rqs[tag] : NULL;

			if (rq && rq->q == q &&
			    rq->state == bpf_core_enum_value(enum mq_rq_state, MQ_RQ_IN_FLIGHT))
				flight_add(f, rq);
		}
	}
}

static void look_at_requests(const struct request_queue *q, struct flight *f)
{
	const struct blk_mq_tag_set *set = q->tag_set;
	u32 queues = set ? min(set->nr_hw_queues, HW_QUEUES_MAX) : 0;
	struct blk_mq_tags **all = set ? set->tags : NULL;

	for (u32 i = 0; all && i < queues; i++) {
		const struct blk_mq_tags *tags = all[i];

		// Queues may share their tags.
		if (tags && (i == 0 || tags != all[0]))
			look_at_tags(tags, q, f);
	}
}

struct totals {
	u64 reads, writes, others;
	s64 in_flight;
};

static void add_up(struct disk_stats *stats, struct totals *t)
{
	unsigned int cpu;

	// Those that have left too: what began on them may end elsewhere.
	for_each_possible_cpu (cpu) {
		const struct disk_stats *s = per_cpu_ptr(stats, cpu);

		t->reads += s->ios[STAT_READ];
		t->writes += s->ios[STAT_WRITE];
		t->others += s->ios[STAT_DISCARD] + s->ios[STAT_FLUSH];
		t->in_flight += s->in_flight[0].a.counter + s->in_flight[1].a.counter;
	}
}

static const char *op_name(u32 cmd_flags)
{
	static const char names[][8] = { "read", "write", "flush", "discard" };
	u32 op = cmd_flags & REQ_OP_MASK;

	return op < sizeof(names) / sizeof(names[0]) ? names[op] : "other";
}

static u64 msecs_since(s64 then, s64 now)
{
	return now > then ? (u64)(now - then) / NSEC_PER_MSEC : 0;
}

static void check_device(const struct gendisk *disk, s64 now)
{
	const struct request_queue *q = disk->queue;
	struct disk_stats *stats = disk_stats(disk);
	struct totals t = {};
	struct flight f = {};
	bool first;
	u32 at = object_find(disk, &first);

	if (!q || !stats || at >= OBJECTS_MAX)
		return;
	add_up(stats, &t);
	if (q->mq_ops)
		look_at_requests(q, &f);
	else
		f.count = max(t.in_flight, 0LL);

	// For how long something has been under way and nothing has come to its end. Devices without requests of their
	// own say no more; in a stream of others, the oldest request tells.
	u64 ios = t.reads + t.writes + t.others;

	if (first || !f.count || ios != objects[at].ios)
		objects[at].since_ns = now;
	objects[at].ios = ios;

	u64 age_ms = msecs_since(objects[at].since_ns, now);

	if (f.oldest && f.start_ns)
		age_ms = max(age_ms, msecs_since(f.start_ns, now));
	row("device=%s major=%d minor=%d reads=%llu writes=%llu in_flight=%u oldest_ms=%llu",
	    disk->disk_name, disk->major, disk->first_minor, t.reads, t.writes, f.count,
	    f.count ? age_ms : 0);
	if (!f.count || age_ms < limit_ms)
		return;
	if (f.oldest)
		alarm_lasting(
			stuck, (u64)disk, age_ms * NSEC_PER_MSEC,
			age_ms < limit_ms * 3 ? WARNING : ERROR,
			"requests do not complete: device=%s in_flight=%u oldest_ms=%llu op=%s sector=%llu "
			"bytes=%u driver=%pS",
			disk->disk_name, f.count, age_ms, op_name(f.oldest->cmd_flags),
			f.oldest->__sector, f.oldest->__data_len, q->mq_ops);
	else
		alarm_lasting(stuck, (u64)disk, age_ms * NSEC_PER_MSEC,
			      age_ms < limit_ms * 3 ? WARNING : ERROR,
			      "nothing completes: device=%s in_flight=%u for_ms=%llu",
			      disk->disk_name, f.count, age_ms);
}

#define ENOSPC 28
#define EDQUOT 122

// True if there was a new error of writing back. What a device had when this detector began is not new, and what one has
// that came later is.
static bool wb_failed(u32 at, u32 wb_err, bool first)
{
	u32 then = objects[at].wb_err;

	objects[at].wb_err = wb_err & ~ERRSEQ_SEEN;
	if (first && !run_count())
		return false;
	return (wb_err & ~ERRSEQ_SEEN) != then && errseq_error(wb_err);
}

static enum severity errno_severity(unsigned int error)
{
	return error == ENOSPC || error == EDQUOT ? WARNING : ERROR;
}

static void check_devices(s64 now)
{
	u32 left = DEVICES_MAX;
	struct inode *inode;

	list_for_each_entry (inode, &blockdev_superblock->s_inodes, i_sb_list) {
		const struct block_device *bdev = I_BDEV(inode);
		const struct gendisk *disk = bdev->bd_disk;
		u32 wb_err = inode->i_mapping->wb_err;
		bool first;

		if (!left--)
			break;
		// Until 5.11 or so a device that nobody has open has no disk. Its error stays.
		if (disk && bdev_is_whole(bdev))
			check_device(disk, now);

		u32 at = object_find(bdev, &first);

		if (at < OBJECTS_MAX && wb_failed(at, wb_err, first))
			finding(errno_severity(errseq_error(wb_err)),
				"writes to a block device failed: device=%s dev=%u:%u errno=%u",
				disk ? disk->disk_name : "?", MAJOR(bdev->bd_dev),
				MINOR(bdev->bd_dev), errseq_error(wb_err));
	}
}

// What ext2, ext3 and ext4 keep in their super block, which the buffer cache has while they are mounted.
static unsigned long ext4_super(const struct super_block *sb)
{
	const char *type = sb->s_type->name;
	const struct block_device *bdev = sb->s_bdev;

	if (!bdev || type[0] != 'e' || type[1] != 'x' || type[2] != 't')
		return 0;

	unsigned long page = page_address(xa_load_first(&bdev_mapping(bdev)->i_pages));
	unsigned long es = page + EXT4_SUPER_OFFSET;

	return page && *(const u16 *)(es + EXT4_S_MAGIC) == EXT4_SUPER_MAGIC ? es : 0;
}

static void check_errors(const struct super_block *sb, u32 at, bool first)
{
	unsigned long es = ext4_super(sb);
	char function[EXT4_S_LAST_ERROR_FUNC_LEN + 1];

	if (!es)
		return;

	u32 errors = *(const u32 *)(es + EXT4_S_ERROR_COUNT);
	bool marked = *(const u16 *)(es + EXT4_S_STATE) & EXT4_ERROR_FS;

	if (first)
		objects[at].errors = errors;
	if (!errors && !marked)
		return;
	__builtin_memcpy(function, (const void *)(es + EXT4_S_LAST_ERROR_FUNC),
			 EXT4_S_LAST_ERROR_FUNC_LEN);
	function[EXT4_S_LAST_ERROR_FUNC_LEN] = 0;
	// What it had when it was mounted is for fsck; nothing has happened.
	alarm(filesystem, (u64)sb, errors != objects[at].errors ? ERROR : WARNING,
	      "file system has errors: type=%s device=%s errors=%u marked=%d last_in=%s",
	      sb->s_type->name, sb->s_id, errors, marked, function);
}

static void check_super_block(const struct super_block *sb, s64 now)
{
	bool first, readonly = sb->s_flags & SB_RDONLY;
	unsigned int frozen = sb_frozen(sb);
	u32 wb_err = sb->s_wb_err, at = object_find(sb, &first);

	if (at >= OBJECTS_MAX)
		return;
	if (sb->s_bdev)
		row("filesystem=%s type=%s dev=%u:%u readonly=%d frozen=%d", sb->s_id,
		    sb->s_type->name, MAJOR(sb->s_dev), MINOR(sb->s_dev), readonly,
		    frozen == SB_FREEZE_COMPLETE);
	// Block devices were told apart.
	if (wb_failed(at, wb_err, first) && sb != blockdev_superblock)
		finding(errno_severity(errseq_error(wb_err)),
			"writes to files failed: type=%s device=%s errno=%u", sb->s_type->name,
			sb->s_id, errseq_error(wb_err));
	check_errors(sb, at, first);

	if (!readonly)
		objects[at].was_writable = true;
	else if (objects[at].was_writable)
		alarm(filesystem, (u64)sb | 1, WARNING,
		      "file system was turned read-only: type=%s device=%s", sb->s_type->name,
		      sb->s_id);

	if (frozen != SB_FREEZE_COMPLETE || first)
		objects[at].since_ns = now;
	u64 frozen_since_ms = msecs_since(objects[at].since_ns, now);

	if (frozen == SB_FREEZE_COMPLETE && frozen_since_ms >= frozen_ms)
		alarm_lasting(filesystem, (u64)sb | 2, frozen_since_ms * NSEC_PER_MSEC, WARNING,
			      "file system is frozen: type=%s device=%s for_ms=%llu",
			      sb->s_type->name, sb->s_id, frozen_since_ms);
}

static void check_super_blocks(s64 now)
{
	u32 left = SUPER_BLOCKS_MAX;
	struct super_block *sb;

	list_for_each_entry (sb, &super_blocks, s_list) {
		if (!left--)
			break;
		if (sb->s_root)
			check_super_block(sb, now);
	}
}

DETECTOR(io, .description = "requests that do not complete, failed writes, broken file systems",
	 .period_ms = 250)
{
	s64 now = ktime_get();

	// After a panic the kernel's clock stands still, and ages with it: what was stuck before is told of images, too.
	if (!system_is_up())
		return;
	round++;
	check_devices(now);
	check_super_blocks(now);
	alarms_end(stuck);
	alarms_end(filesystem);
}
