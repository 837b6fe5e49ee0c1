// SPDX-License-Identifier: Apache-2.0
// A mailbox in shared memory, for monitors on the same machine and under the same user: tests, and machines without a NIC that
// does RDMA. The memory is opened by /proc; whoever may do that could do worse, so that nothing keeps a monitor to its slot
// but its own care.
#include "grass/fabric.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "grass/message.h"
#include "util/cleanup.h"
#include "util/range.h"

struct fabric_server {
	const struct gs_mailbox_export *mailbox;
};

struct fabric_session {
	char unused;
};

static struct gs_error *server_open(const char *device, const struct gs_mailbox_export *mailbox,
				    struct fabric_server **ret)
{
	if (device)
		return gs_error_create(GS_ERROR_USAGE, "the fabric shm has no devices, so no '%s'",
				       device);
	if (!mailbox->memory)
		return gs_error_create(
			GS_ERROR_OTHER,
			"the mailbox is in GPU memory: the fabric shm serves that of "
			"the cpu engine");
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return &gs_enomem;
	(*ret)->mailbox = mailbox;
	return NULL;
}

static void server_close(struct fabric_server *server)
{
	free(server);
}

static struct gs_error *attach(struct fabric_server *server, uint64_t slot, uint64_t slot_size,
			       struct json_object *offer, struct json_object *reply,
			       struct fabric_session **ret)
{
	(void)offer;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return &gs_enomem;
	message_add_number(reply, "pid", (uint64_t)getpid());
	message_add_number(reply, "fd", (uint64_t)server->mailbox->fd);
	message_add_number(reply, "size", server->mailbox->size);
	message_add_number(reply, "slot", slot);
	message_add_number(reply, "slot_size", slot_size);
	return NULL;
}

static void detach(struct fabric_session *session)
{
	free(session);
}

const struct fabric_server_ops fabric_shm_server = {
	.name = "shm",
	.open = server_open,
	.close = server_close,
	.attach = attach,
	.detach = detach,
};

struct fabric_link {
	int fd;
	uint64_t size, slot, slot_size;
};

static struct gs_error *link_open(const char *device, struct json_object *offer,
				  struct fabric_link **ret)
{
	(void)offer;
	if (device)
		return gs_error_create(GS_ERROR_USAGE, "the fabric shm has no devices, so no '%s'",
				       device);
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return &gs_enomem;
	(*ret)->fd = -1;
	return NULL;
}

// A reply may name any process and file: what cannot be a mailbox is not opened, or not kept. That it is this host's one shows
// when its header is read, before anything is written.
static struct gs_error *open_memory(struct fabric_link *link, uint64_t pid, uint64_t fd)
{
	static const char memfd[] = "/memfd:";
	char path[64], name[sizeof(memfd) - 1];
	struct stat status;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/fd/%" PRIu64, pid, fd);

	ssize_t length = readlink(path, name, sizeof(name));
	bool is_memfd = length == sizeof(name) && !memcmp(name, memfd, sizeof(name));
	_cleanup_close_ int file = length < 0 || is_memfd
					   ? open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
					   : -1;

	if (length >= 0 && !is_memfd)
		return gs_error_create(GS_ERROR_OTHER, "%s is no mailbox", path);
	if (file < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno,
				      "%s: the fabric shm wants a host on this machine, and its "
				      "user",
				      path);
	// Whatever lay there a moment ago: a file without a name that can be sealed.
	if (fstat(file, &status) || !S_ISREG(status.st_mode) || status.st_nlink ||
	    fcntl(file, F_GET_SEALS) < 0 || status.st_size < 0 ||
	    (uint64_t)status.st_size != link->size)
		return gs_error_create(GS_ERROR_OTHER, "%s is no mailbox of %" PRIu64 " bytes",
				       path, link->size);
	link->fd = no_cleanup_fd(file);
	return NULL;
}

static struct gs_error *link_connect(struct fabric_link *link, struct json_object *reply)
{
	uint64_t pid, fd;

	if (!message_number(reply, "pid", INT32_MAX, &pid) ||
	    !message_number(reply, "fd", INT32_MAX, &fd) ||
	    !message_number(reply, "size", UINT64_C(1) << 40, &link->size) ||
	    !message_number(reply, "slot", link->size, &link->slot) ||
	    !message_number(reply, "slot_size", link->size - link->slot, &link->slot_size) ||
	    !link->size)
		return gs_error_create(GS_ERROR_OTHER, "the host's reply is no fabric shm's");
	return open_memory(link, pid, fd);
}

static void link_close(struct fabric_link *link)
{
	if (!link)
		return;
	if (link->fd >= 0)
		close(link->fd);
	free(link);
}

static struct gs_error *outside(uint64_t offset, uint64_t size)
{
	return gs_error_create(GS_ERROR_OTHER,
			       "%" PRIu64 " bytes at %" PRIu64 " of the mailbox are out of bounds",
			       size, offset);
}

// Not through a mapping: its owner could cut the file short, which would kill this process.
static struct gs_error *link_read(struct fabric_link *link, const struct fabric_piece *pieces,
				  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct fabric_piece *piece = &pieces[i];

		if (!range_inside(piece->offset, piece->size, 0, link->size))
			return outside(piece->offset, piece->size);
		for (size_t done = 0; done < piece->size;) {
			ssize_t n = pread(link->fd, (char *)piece->buf + done, piece->size - done,
					  (off_t)(piece->offset + done));

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return gs_error_errno(GS_ERROR_OTHER, n ? errno : ESTALE,
						      "cannot read the mailbox");
			done += (size_t)n;
		}
	}
	return NULL;
}

// Nothing stays under way.
static struct gs_error *link_finish(struct fabric_link *link)
{
	(void)link;
	return NULL;
}

static struct gs_error *link_write(struct fabric_link *link, uint64_t offset, const void *buf,
				   size_t size)
{
	struct stat status;

	if (!range_inside(offset, size, link->slot, link->slot_size))
		return outside(offset, size);
	// A file that was cut short must not grow again.
	if (fstat(link->fd, &status) || (uint64_t)status.st_size != link->size)
		return gs_error_create(GS_ERROR_OTHER, "the mailbox has another size now");
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(link->fd, (const char *)buf + done, size - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return gs_error_errno(GS_ERROR_OTHER, n ? errno : ESTALE,
					      "cannot write the mailbox");
		done += (size_t)n;
	}
	return NULL;
}

static uint64_t link_size(const struct fabric_link *link)
{
	return link->size;
}

static void link_set_timeout(struct fabric_link *link, uint64_t ns)
{
	(void)link;
	(void)ns;
}

const struct fabric_link_ops fabric_shm_link = {
	.name = "shm",
	.open = link_open,
	.connect = link_connect,
	.close = link_close,
	.read = link_read,
	.start = link_read,
	.finish = link_finish,
	.write = link_write,
	.size = link_size,
	.set_timeout = link_set_timeout,
};
