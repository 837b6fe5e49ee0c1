// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "cli/interrupt.h"
#include "cli/outfile.h"
#include "cli/progress.h"
#include "cli/vmcore_head.h"
#include "mailbox/layout.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define SECOND UINT64_C(1000000000)

enum {
	// Memory that is asked for at a time, after which it is noted how far the file is.
	STEP = 64 << 20,
	// Attempts to make a broken link anew, the first after a second, each next one after twice as long.
	ATTEMPTS = 5,
};

// In the first page of a file that is not complete.
struct part {
	char magic[8];
	uint32_t version;
	// CRC-32C of this structure with 0 in this place.
	uint32_t crc;
	// Of the mailbox, and the CRC of what it said of memory: what is there is of the same machine and layout.
	uint64_t instance[2];
	uint64_t layout;
	// Bytes of memory, segment by segment, up to which all is on disk; what had been written and counted then.
	uint64_t done, written, unreadable, torn;
};

static const char part_magic[8] = "GSPART\r\n";

struct dump {
	struct host *host;
	const struct host_options *host_options;
	const struct dump_options *options;
	struct dump_result *result;
	struct gs_mailbox_memory *memory;
	struct vmcore_head head;
	uint64_t total;
	int fd;
	char *part_path;
	struct part part;
	// The segment that is being read, and where its bytes begin in the file.
	uint64_t phys, offset;
	struct progress progress;
	// What has gone wrong is here: a new link does not help.
	bool disk;
};

static struct gs_error *take_text(void *arg, uint64_t address, const void *bytes, size_t size,
				  uint32_t flags)
{
	uint8_t **to = arg;

	if (!(flags & GS_PAGE_VALID))
		return gs_error_address(GS_ERROR_OTHER, address, "VMCOREINFO cannot be read");
	memcpy(*to, bytes, size);
	*to += size;
	return NULL;
}

// What the file begins with, and what there is to be read.
static struct gs_error *look(struct dump *dump)
{
	struct host *host = dump->host;
	struct gs_error *err = mailbox_read_memory(host->reader, &dump->memory);

	if (!err)
		err = vmcore_check_note(dump->memory);
	if (err)
		return err;

	_cleanup_free_ uint8_t *text = malloc(dump->memory->note_size + 1);
	uint8_t *to = text;

	if (!text)
		return &gs_enomem;
	err = mailbox_client_read(host->client, GS_READ_PHYSICAL, 0,
				  dump->memory->note_phys + VMCORE_NOTE_HEAD,
				  dump->memory->note_size, take_text, &to);
	if (!err)
		err = vmcore_head_make(dump->memory, text, &dump->head);
	for (uint32_t i = 0; !err && i < dump->memory->segment_count; i++)
		dump->total += dump->memory->segments[i].size;
	return err;
}

static uint32_t part_crc(const struct part *part)
{
	return mailbox_crc(part, sizeof(*part), &part->crc);
}

// Note how far the file is, when that much is on disk.
static struct gs_error *save(struct dump *dump)
{
	struct part *part = &dump->part;

	if (fdatasync(dump->fd))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", dump->part_path);
	part->written = dump->result->written;
	part->unreadable = dump->result->unreadable;
	part->torn = dump->result->torn;
	part->crc = part_crc(part);
	if (pwrite(dump->fd, part, sizeof(*part), 0) != sizeof(*part))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", dump->part_path);
	return NULL;
}

static bool same_memory(const struct dump *dump, const struct part *part)
{
	const struct gs_mailbox_header *header = dump->host->header;

	return !memcmp(part->magic, part_magic, sizeof(part_magic)) && part->version == 1 &&
	       part->crc == part_crc(part) &&
	       !memcmp(part->instance, header->instance, sizeof(part->instance)) &&
	       part->layout == dump->memory->crc && part->done <= dump->total &&
	       part->done % GS_READ_PAGE == 0;
}

// Go on with what is there, or begin.
static struct gs_error *begin(struct dump *dump)
{
	const struct gs_mailbox_header *header = dump->host->header;
	struct part old = {};
	struct stat status;

	if (flock(dump->fd, LOCK_EX | LOCK_NB))
		return gs_error_create(GS_ERROR_OTHER, "%s: somebody else is writing it",
				       dump->part_path);
	if (fstat(dump->fd, &status))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", dump->part_path);

	bool fresh = !status.st_size || dump->options->force;
	bool readable = pread(dump->fd, &old, sizeof(old), 0) == (ssize_t)sizeof(old);

	if (!fresh && !(readable && same_memory(dump, &old)))
		return gs_error_create(
			GS_ERROR_OTHER,
			"%s: it is not of this run of gpusentinel on %s; remove it, or "
			"--force",
			dump->part_path, dump->host->address->name);
	if (!fresh) {
		dump->part = old;
		dump->result->resumed = old.done;
		dump->result->written = old.written;
		dump->result->unreadable = old.unreadable;
		dump->result->torn = old.torn;
		return NULL;
	}
	if (ftruncate(dump->fd, 0))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", dump->part_path);
	dump->part = (struct part){ .version = 1, .layout = dump->memory->crc };
	memcpy(dump->part.magic, part_magic, sizeof(part_magic));
	memcpy(dump->part.instance, header->instance, sizeof(dump->part.instance));
	return save(dump);
}

// Pages, in order. What is not there, and what is zero, stays a hole.
static struct gs_error *take_memory(void *arg, uint64_t address, const void *bytes, size_t size,
				    uint32_t flags)
{
	static const volatile bool never;
	struct dump *dump = arg;
	uint64_t at = dump->offset + (address - dump->phys);

	if (!(flags & GS_PAGE_VALID))
		dump->result->unreadable += mailbox_pages(address, size);
	if (flags & GS_PAGE_TORN)
		dump->result->torn += mailbox_pages(address, size);
	if (*dump->options->stop)
		return gs_error_create(GS_ERROR_OTHER, "interrupted");
	progress_update(&dump->progress, at - dump->head.size);
	if (!(flags & GS_PAGE_VALID) || flags & GS_PAGE_ZERO)
		return NULL;

	struct gs_error *err =
		outfile_write(dump->fd, dump->part_path, bytes, size, at, &never, "");

	dump->disk |= err != NULL;
	dump->result->written += size;
	return err;
}

// Where in memory the file is to go on, and how much of that segment is left.
static uint64_t find_place(struct dump *dump, uint64_t *left_ret)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < dump->memory->segment_count; i++) {
		const struct gs_mailbox_segment *segment = &dump->memory->segments[i];
		uint64_t into = dump->part.done - before;

		if (into < segment->size) {
			dump->phys = segment->phys;
			dump->offset = dump->head.size + before;
			*left_ret = segment->size - into;
			return segment->phys + into;
		}
		before += segment->size;
	}
	*left_ret = 0;
	return 0;
}

// What comes before the next note. If it breaks off, it is as if it had not begun.
static struct gs_error *read_step(struct dump *dump)
{
	const struct dump_result before = *dump->result;
	uint64_t left, address = find_place(dump, &left);
	uint64_t size = left < STEP ? left : STEP;
	struct gs_error *err =
		mailbox_client_read(dump->host->client, GS_READ_PHYSICAL, GS_READ_F_VERIFY, address,
				    size, take_memory, dump);

	if (err) {
		*dump->result = before;
		return err;
	}
	dump->part.done += size;
	err = save(dump);
	dump->disk |= err != NULL;
	return err;
}

// The same mailbox must be there again: another one is of another run, and other memory.
static struct gs_error *open_again(struct dump *dump)
{
	const struct host_address *address = dump->host->address;
	uint64_t instance[2];

	memcpy(instance, dump->part.instance, sizeof(instance));
	host_close(dump->host, false);

	struct gs_error *err = host_open(dump->host, address, dump->host_options, false);

	// For who asks once more.
	dump->host->address = address;
	if (err || !memcmp(dump->host->header->instance, instance, sizeof(instance)))
		return err;
	host_close(dump->host, false);
	dump->host->address = address;
	return gs_error_create(GS_ERROR_OTHER, "%s: gpusentinel has begun anew there",
			       address->name);
}

// Takes what has gone wrong, and gives it back if that stays so.
static struct gs_error *mend(struct dump *dump, struct gs_error *err)
{
	uint64_t wait_ns = SECOND;

	for (int i = 0; i < ATTEMPTS && !*dump->options->stop; i++) {
		progress_deinit(&dump->progress);
		fprintf(stderr, "grass: %s; trying again\n", err->message);
		if (!interrupt_sleep(wait_ns))
			break;
		wait_ns *= 2;
		gs_error_destroy(err);
		err = open_again(dump);
		if (!err) {
			dump->result->reconnected++;
			return NULL;
		}
	}
	return err;
}

static struct gs_error *read_all(struct dump *dump)
{
	struct gs_error *err = NULL;
	unsigned int failures = 0;
	uint64_t done = dump->part.done;

	while (dump->part.done < dump->total && !err) {
		err = read_step(dump);
		if (dump->part.done != done)
			failures = 0;
		done = dump->part.done;
		// A link that is made anew each time but carries nothing is given up, too.
		if (err && !dump->disk && !*dump->options->stop && ++failures <= ATTEMPTS)
			err = mend(dump, err);
	}
	return err;
}

static struct gs_error *finish(struct dump *dump)
{
	static const volatile bool never;
	struct gs_error *err = outfile_write(dump->fd, dump->part_path, dump->head.bytes,
					     dump->head.size, 0, &never, "");

	if (err)
		return err;
	dump->result->written += dump->head.size;
	// The length holds the hole at the end.
	if (ftruncate(dump->fd, (off_t)dump->head.file_size) || fsync(dump->fd))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", dump->part_path);
	return outfile_move(dump->part_path, dump->options->path, dump->options->force);
}

static struct gs_error *write_part(struct dump *dump)
{
	// Memory holds keys and passwords: for its owner's eyes alone.
	_cleanup_close_ int fd =
		open(dump->part_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", dump->part_path);
	dump->fd = fd;

	struct gs_error *err = begin(dump);

	if (err)
		return err;
	progress_init(&dump->progress, "dump", dump->total);
	err = read_all(dump);
	progress_deinit(&dump->progress);
	if (!err)
		return finish(dump);
	return gs_error_prefix(
		err, "%s has %" PRIu64 "%% of the memory, and the same command goes on with it",
		dump->part_path, dump->part.done / (dump->total / 100 + 1));
}

struct gs_error *dump_host(struct host *host, const struct host_options *host_options,
			   const struct dump_options *options, struct dump_result *ret)
{
	struct dump dump = {
		.host = host,
		.host_options = host_options,
		.options = options,
		.result = ret,
	};
	struct gs_error *err = outfile_check(options->path, options->force);

	*ret = (struct dump_result){};
	if (!err)
		err = look(&dump);

	_cleanup_free_ struct gs_mailbox_memory *memory = dump.memory;
	_cleanup_free_ uint8_t *head = dump.head.bytes;
	_cleanup_free_ char *part_path = NULL;

	if (err)
		return err;
	if (asprintf(&part_path, "%s.part", options->path) < 0)
		part_path = NULL;
	if (!part_path)
		return &gs_enomem;
	dump.part_path = part_path;
	ret->size = dump.head.file_size;
	ret->segments = dump.memory->segment_count;

	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	err = write_part(&dump);
	ret->time_ns = clock_ns(CLOCK_MONOTONIC) - since;
	return err;
}
