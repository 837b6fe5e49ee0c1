// SPDX-License-Identifier: Apache-2.0
// The monitoring side: reads and writes that the watched side's NIC answers.
#include "grass/fabric.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "grass/verbs_card.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/range.h"

enum {
	// Operations that are under way. The NIC has as many reads of them on the wire as both ends allow.
	DEPTH = 32,
	POLL_MAX = 16,
	// Each operation has a piece of registered memory. Large ones are made when somebody reads much, since a process
	// may have a thousand links. No operation is larger, as a NIC gives one up that loses packets too often.
	PIECE_SMALL = 4096,
	PIECE_LARGE = 128 << 10,
	// What is read at once with small ones.
	SMALL_MAX = 4 * PIECE_SMALL,
	INLINE_WANTED = 256,
	PAGE = 4096,
};

#define SECOND_NS UINT64_C(1000000000)
// How long a completion is looked for before it is slept for: at most so long, since an answer takes microseconds. Less, down to the
// least, while they take longer than that: who looks then only takes CPU time from others.
#define SPIN_NS UINT64_C(1000000)
#define SPIN_LEAST_NS UINT64_C(10000)

struct operation {
	// Where what is read is copied; NULL: it is there, or it is a write.
	void *buf;
	uint64_t offset;
	uint32_t size;
	bool is_read;
};

// Memory that the NIC may write to.
struct registered {
	uint8_t *bytes;
	size_t size;
	struct ibv_mr *mr;
};

struct fabric_link {
	struct verbs_card card;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	uint32_t psn, inline_max;
	uint64_t timeout_ns, spin_ns;
	bool connected;
	struct verbs_reply reply;
	// Operation N has place N % DEPTH here, and piece N % DEPTH of the memory.
	struct operation operations[DEPTH];
	uint64_t posted, done;
	struct registered memory;
	uint32_t piece;
	// What is read into it needs no piece.
	struct registered buffer;
	// Why nothing can be moved any more; NULL: it can.
	char *broken;
};

static void free_registered(struct registered *registered)
{
	if (registered->mr)
		ibv_dereg_mr(registered->mr);
	free(registered->bytes);
	*registered = (struct registered){};
}

// In place of what was there, while nothing is under way.
static struct gs_error *make_registered(const struct fabric_link *link, size_t size,
					struct registered *ret)
{
	void *bytes;

	if (posix_memalign(&bytes, PAGE, size))
		return &gs_enomem;

	struct ibv_mr *mr = ibv_reg_mr(link->pd, bytes, size, IBV_ACCESS_LOCAL_WRITE);

	if (!mr) {
		int err = errno;

		free(bytes);
		return gs_error_errno(GS_ERROR_OTHER, err,
				      "%s: cannot register %zu KiB of memory (see ulimit -l)",
				      link->card.name, size / 1024);
	}
	free_registered(ret);
	*ret = (struct registered){ .bytes = bytes, .size = size, .mr = mr };
	return NULL;
}

static struct gs_error *make_pieces(struct fabric_link *link, uint32_t piece)
{
	struct gs_error *err = make_registered(link, (size_t)piece * DEPTH, &link->memory);

	if (!err)
		link->piece = piece;
	return err;
}

static void link_close(struct fabric_link *link)
{
	if (!link)
		return;
	// First, so that the NIC writes nowhere any more.
	if (link->qp)
		ibv_destroy_qp(link->qp);
	if (link->cq)
		ibv_destroy_cq(link->cq);
	if (link->channel)
		ibv_destroy_comp_channel(link->channel);
	free_registered(&link->memory);
	free_registered(&link->buffer);
	if (link->pd)
		ibv_dealloc_pd(link->pd);
	verbs_card_close(&link->card);
	free(link->broken);
	free(link);
}

static void cleanup_link(struct fabric_link **link)
{
	link_close(*link);
}

#define _cleanup_link_ _cleanup_(cleanup_link)

static struct gs_error *make_queue(struct fabric_link *link)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = link->cq,
		.recv_cq = link->cq,
		.cap = { .max_send_wr = DEPTH,
			 .max_recv_wr = 1,
			 .max_send_sge = 1,
			 .max_recv_sge = 1,
			 .max_inline_data = INLINE_WANTED },
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
	};

	// A NIC does not say how much it takes inline, other than by refusing.
	while (!(link->qp = ibv_create_qp(link->pd, &attr)) && attr.cap.max_inline_data)
		attr.cap.max_inline_data /= 2;
	if (!link->qp)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s: no queue pair", link->card.name);
	link->inline_max = attr.cap.max_inline_data;
	return NULL;
}

static struct gs_error *make_resources(struct fabric_link *link)
{
	struct ibv_context *context = link->card.context;

	link->pd = ibv_alloc_pd(context);
	link->channel = ibv_create_comp_channel(context);
	if (!link->pd || !link->channel)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s: no protection domain or channel",
				      link->card.name);
	// So that who waits for a completion can be told that the time is over.
	fcntl(link->channel->fd, F_SETFL, fcntl(link->channel->fd, F_GETFL) | O_NONBLOCK);
	link->cq = ibv_create_cq(context, DEPTH, NULL, link->channel, 0);
	if (!link->cq)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s: no completion queue",
				      link->card.name);

	struct gs_error *err = make_queue(link);

	return err ? err : make_pieces(link, PIECE_SMALL);
}

static uint32_t own_reads(const struct verbs_card *card)
{
	int reads = card->attr.max_qp_init_rd_atom;

	return reads < 1 ? 1 : reads > VERBS_READS_MAX ? VERBS_READS_MAX : (uint32_t)reads;
}

static struct gs_error *link_open(const char *device, struct json_object *offer,
				  struct fabric_link **ret)
{
	_cleanup_link_ struct fabric_link *link = calloc(1, sizeof(*link));

	if (!link)
		return &gs_enomem;
	link->timeout_ns = 2 * SECOND_NS;
	link->spin_ns = SPIN_NS;

	struct gs_error *err = verbs_card_open(device, &link->card);

	if (!err)
		err = verbs_random_psn(&link->psn);
	if (!err)
		err = make_resources(link);
	if (err)
		return err;

	struct verbs_end end = {
		.qpn = link->qp->qp_num,
		.psn = link->psn,
		.lid = link->card.port_attr.lid,
		.mtu = verbs_card_mtu(&link->card),
		.reads = own_reads(&link->card),
		.gid_count = link->card.gid_count,
	};

	memcpy(end.gids, link->card.gids, sizeof(end.gids));
	err = verbs_offer_write(&end, offer);
	if (err)
		return err;
	*ret = no_cleanup_ptr(link);
	return NULL;
}

static const struct verbs_gid *find_gid(const struct verbs_card *card, const struct verbs_gid *gid)
{
	for (size_t i = 0; i < card->gid_count; i++) {
		if (card->gids[i].type == gid->type &&
		    memcmp(card->gids[i].raw, gid->raw, sizeof(gid->raw)) == 0)
			return &card->gids[i];
	}
	return NULL;
}

static struct gs_error *link_connect(struct fabric_link *link, struct json_object *json)
{
	uint32_t reads = own_reads(&link->card);
	struct verbs_reply reply;

	if (link->connected)
		return gs_error_create(GS_ERROR_USAGE, "%s: the link is connected already",
				       link->card.name);

	struct gs_error *err = verbs_reply_read(json, &reply);

	if (err)
		return err;

	const struct verbs_gid *local = find_gid(&link->card, &reply.to);

	if (!local || !verbs_gid_match(local, &reply.end.gids[0]))
		return gs_error_create(GS_ERROR_OTHER,
				       "%s: the other end answers to an address that is not of "
				       "this port, or from one that cannot be reached from it",
				       link->card.name);

	struct verbs_connection connection = {
		.reads = reply.end.reads < reads ? reply.end.reads : reads,
		.served_reads = 1,
		.timeout_ns = link->timeout_ns,
	};

	err = verbs_connect(&link->card, link->qp, &connection, link->psn, &reply.end, local,
			    &reply.end.gids[0]);
	if (err)
		return err;
	link->reply = reply;
	link->connected = true;
	return NULL;
}

static struct gs_error *check(const struct fabric_link *link)
{
	if (link->broken)
		return gs_error_create(GS_ERROR_OTHER, "%s", link->broken);
	if (!link->connected)
		return gs_error_create(GS_ERROR_USAGE, "%s: the link is not connected",
				       link->card.name);
	return NULL;
}

// What cannot be mended: a queue pair that has failed once moves nothing any more.
__attribute__((format(printf, 2, 3))) static struct gs_error *break_link(struct fabric_link *link,
									 const char *format, ...)
{
	char text[VERBS_GID_TEXT], *what = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&what, format, args) < 0)
		what = NULL;
	va_end(args);
	if (asprintf(&link->broken, "%s to %s: %s", link->card.name,
		     verbs_gid_text(&link->reply.end.gids[0], text),
		     what ? what : "the link has failed") < 0)
		link->broken = strdup("the link has failed");
	free(what);
	return link->broken ? check(link) : &gs_enomem;
}

static struct gs_error *no_answer(struct fabric_link *link)
{
	return break_link(link, "the other end does not answer: look at that host's NIC and at the "
				"way there; or it has taken this monitor's access away");
}

static struct gs_error *failed(struct fabric_link *link, const struct operation *operation,
			       enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return no_answer(link);
	case IBV_WC_REM_ACCESS_ERR:
	case IBV_WC_REM_INV_REQ_ERR:
		return break_link(link,
				  "the other end refuses to have %u bytes %s at offset %" PRIu64
				  " of its mailbox (%s)",
				  operation->size, operation->is_read ? "read" : "written",
				  operation->offset, ibv_wc_status_str(status));
	default:
		return break_link(link, "%s of %u bytes at offset %" PRIu64 " failed: %s",
				  operation->is_read ? "a read" : "a write", operation->size,
				  operation->offset, ibv_wc_status_str(status));
	}
}

// Take what has completed. The operations of a queue pair complete in the order in which they were posted.
static struct gs_error *take(struct fabric_link *link, bool *any_ret)
{
	struct ibv_wc wc[POLL_MAX];
	int count = ibv_poll_cq(link->cq, POLL_MAX, wc);

	*any_ret = count > 0;
	if (count < 0)
		return break_link(link, "the NIC's completion queue has failed");
	for (int i = 0; i < count; i++) {
		size_t place = link->done % DEPTH;
		const struct operation *operation = &link->operations[place];

		if (wc[i].status != IBV_WC_SUCCESS)
			return failed(link, operation, wc[i].status);
		if (operation->buf)
			memcpy(operation->buf, link->memory.bytes + place * link->piece,
			       operation->size);
		link->done++;
	}
	return NULL;
}

// Until there is a completion, or the time has come.
static struct gs_error *sleep_for_event(struct fabric_link *link, uint64_t deadline)
{
	struct pollfd fd = { .fd = link->channel->fd, .events = POLLIN };
	struct ibv_cq *cq;
	void *context;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now < deadline && poll(&fd, 1, (int)((deadline - now) / 1000000) + 1) < 0 &&
	    errno != EINTR)
		return break_link(link, "cannot wait for the NIC: %s", strerror(errno));
	while (ibv_get_cq_event(link->channel, &cq, &context) == 0)
		ibv_ack_cq_events(cq, 1);
	return NULL;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

// After a completion that came so long after the first look.
static void adapt_spin(struct fabric_link *link, uint64_t waited)
{
	if (waited > SPIN_NS)
		link->spin_ns = max(link->spin_ns / 2, SPIN_LEAST_NS);
	else if (waited > link->spin_ns)
		link->spin_ns = min(link->spin_ns * 2, SPIN_NS);
}

// Wait for at least one completion.
static struct gs_error *wait_one(struct fabric_link *link)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), deadline = begin + link->timeout_ns;
	uint64_t now = begin;
	bool any, armed = false;

	for (;;) {
		struct gs_error *err = take(link, &any);

		if (any)
			adapt_spin(link, now - begin);
		if (err || any)
			return err;
		now = clock_ns(CLOCK_MONOTONIC);
		if (now >= deadline)
			return no_answer(link);
		if (now - begin < link->spin_ns)
			continue;
		// A completion between the last look and the arming makes no event: look once more in between.
		if (!armed && ibv_req_notify_cq(link->cq, 0))
			return break_link(link, "the NIC does not tell of completions");
		if (armed)
			err = sleep_for_event(link, deadline);
		armed = !armed;
		if (err)
			return err;
	}
}

static struct gs_error *wait_room(struct fabric_link *link, uint64_t under_way)
{
	while (link->posted - link->done > under_way) {
		struct gs_error *err = wait_one(link);

		if (err)
			return err;
	}
	return NULL;
}

static bool is_buffer(const struct fabric_link *link, const void *buf, size_t size)
{
	return link->buffer.mr &&
	       range_inside((uintptr_t)buf, size, (uintptr_t)link->buffer.bytes, link->buffer.size);
}

// The caller has seen to it that there is room. @source: bytes to write; NULL: it is a read, into @buf.
static struct gs_error *post(struct fabric_link *link, uint64_t offset, void *buf,
			     const void *source, uint32_t size)
{
	size_t place = link->posted % DEPTH;
	uint8_t *piece = link->memory.bytes + place * link->piece;
	bool direct = is_buffer(link, buf, size);
	struct ibv_sge sge = {
		.addr = (uintptr_t)(direct ? buf : piece),
		.length = size,
		.lkey = direct ? link->buffer.mr->lkey : link->memory.mr->lkey,
	};
	// No fence: reads have all come before something else is posted, and reads wait for the writes before them
	// (InfiniBand Architecture, 10.8.3.3).
	struct ibv_send_wr *bad, wr = {
		.wr_id = link->posted,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = source ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ,
		.wr.rdma = { .remote_addr = offset,
			     .rkey = source ? link->reply.slot_rkey : link->reply.rkey },
	};

	if (source && size <= link->inline_max) {
		sge.addr = (uintptr_t)source;
		wr.send_flags = IBV_SEND_INLINE;
	} else if (source) {
		memcpy(piece, source, size);
	}
	link->operations[place] = (struct operation){
		.buf = direct ? NULL : buf,
		.offset = offset,
		.size = size,
		.is_read = !source,
	};

	int result = ibv_post_send(link->qp, &wr, &bad);

	if (result)
		return break_link(link, "the NIC takes no more work: %s", strerror(result));
	link->posted++;
	return NULL;
}

static struct gs_error *check_pieces(const struct fabric_link *link,
				     const struct fabric_piece *pieces, size_t count,
				     uint64_t *total_ret)
{
	// What needs memory of the link's own.
	*total_ret = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t size = link->reply.size;

		if (!range_inside(pieces[i].offset, pieces[i].size, 0, size))
			return gs_error_create(GS_ERROR_USAGE,
					       "%zu bytes at offset %" PRIu64
					       " do not lie within the mailbox, which has %" PRIu64,
					       pieces[i].size, pieces[i].offset, size);
		if (!is_buffer(link, pieces[i].buf, pieces[i].size))
			*total_ret += pieces[i].size;
	}
	return NULL;
}

static struct gs_error *link_start(struct fabric_link *link, const struct fabric_piece *pieces,
				   size_t count)
{
	struct gs_error *err = check(link);
	uint64_t total;

	if (!err)
		err = check_pieces(link, pieces, count, &total);
	if (!err && total > SMALL_MAX && link->piece < PIECE_LARGE) {
		err = wait_room(link, 0);
		if (!err)
			err = make_pieces(link, PIECE_LARGE);
	}
	for (size_t i = 0; i < count && !err; i++) {
		char *buf = pieces[i].buf;
		uint32_t most = is_buffer(link, buf, pieces[i].size) ? PIECE_LARGE : link->piece;

		for (size_t at = 0; at < pieces[i].size && !err;) {
			size_t left = pieces[i].size - at;
			uint32_t size = left < most ? (uint32_t)left : most;

			err = wait_room(link, DEPTH - 1);
			if (!err)
				err = post(link, pieces[i].offset + at, buf + at, NULL, size);
			at += size;
		}
	}
	return err;
}

static struct gs_error *link_buffer(struct fabric_link *link, size_t size, void **ret)
{
	struct gs_error *err = check(link);

	if (!err && size > link->buffer.size) {
		err = wait_room(link, 0);
		if (!err)
			err = make_registered(link, size, &link->buffer);
	}
	*ret = link->buffer.bytes;
	return err;
}

static struct gs_error *link_finish(struct fabric_link *link)
{
	struct gs_error *err = check(link);

	return err ? err : wait_room(link, 0);
}

static struct gs_error *link_read(struct fabric_link *link, const struct fabric_piece *pieces,
				  size_t count)
{
	struct gs_error *err = link_start(link, pieces, count);

	return err ? err : link_finish(link);
}

static struct gs_error *link_write(struct fabric_link *link, uint64_t offset, const void *buf,
				   size_t size)
{
	const struct verbs_reply *reply = &link->reply;
	struct gs_error *err = check(link);

	if (!err && !range_inside(offset, size, reply->slot_offset, reply->slot_size))
		err = gs_error_create(GS_ERROR_USAGE,
				      "%zu bytes at offset %" PRIu64
				      " do not lie within this monitor's slot",
				      size, offset);
	for (size_t at = 0; at < size && !err;) {
		size_t left = size - at;
		uint32_t part = left < link->piece ? (uint32_t)left : link->piece;

		err = wait_room(link, DEPTH - 1);
		if (!err)
			err = post(link, offset + at, NULL, (const char *)buf + at, part);
		at += part;
	}
	// Nothing is waited for: what is read next tells whether it arrived.
	return err;
}

static uint64_t link_size(const struct fabric_link *link)
{
	return link->reply.size;
}

static void link_set_timeout(struct fabric_link *link, uint64_t ns)
{
	link->timeout_ns = ns;
}

const struct fabric_link_ops fabric_verbs_link = {
	.name = "verbs",
	.open = link_open,
	.connect = link_connect,
	.close = link_close,
	.read = link_read,
	.start = link_start,
	.buffer = link_buffer,
	.finish = link_finish,
	.write = link_write,
	.size = link_size,
	.set_timeout = link_set_timeout,
};
