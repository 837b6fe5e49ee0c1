// SPDX-License-Identifier: Apache-2.0
// The watched side: memory that the NIC gives out by itself.
#include "grass/fabric.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include <json-c/json.h>

#include "grass/verbs_card.h"
#include "util/cleanup.h"
#include "util/range.h"

enum {
	// Pairs of addresses that are tried, a second each at most while the kernel asks for a neighbour.
	TRIES = 4,
};

// This end asks for nothing, so nothing of it runs out; a queue pair wants a time-out all the same.
#define TIMEOUT_NS UINT64_C(2000000000)

struct fabric_server {
	struct verbs_card card;
	struct gs_mailbox_export mailbox;
};

// All that a monitor has, in a protection domain of its own: its keys fit no other queue pair, and no other's fit its own.
struct fabric_session {
	struct ibv_pd *pd;
	struct ibv_mr *mailbox, *slot;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
};

static struct gs_error *server_open(const char *device, const struct gs_mailbox_export *mailbox,
				    struct fabric_server **ret)
{
	_cleanup_free_ struct fabric_server *server = calloc(1, sizeof(*server));

	if (!server)
		return &gs_enomem;

	struct gs_error *err = verbs_card_open(device, &server->card);

	if (err)
		return err;
	server->mailbox = *mailbox;
	*ret = no_cleanup_ptr(server);
	return NULL;
}

static void server_close(struct fabric_server *server)
{
	if (!server)
		return;
	verbs_card_close(&server->card);
	free(server);
}

static void detach(struct fabric_session *session)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	if (!session)
		return;
	if (session->qp) {
		// From here on the NIC answers none of its packets.
		ibv_modify_qp(session->qp, &attr, IBV_QP_STATE);
		ibv_destroy_qp(session->qp);
	}
	if (session->cq)
		ibv_destroy_cq(session->cq);
	if (session->slot)
		ibv_dereg_mr(session->slot);
	if (session->mailbox)
		ibv_dereg_mr(session->mailbox);
	if (session->pd)
		ibv_dealloc_pd(session->pd);
	free(session);
}

static void cleanup_session(struct fabric_session **session)
{
	detach(*session);
}

#define _cleanup_session_ _cleanup_(cleanup_session)

static struct gs_error *register_error(const struct fabric_server *server, int err)
{
	if (!server->mailbox.memory && (err == EOPNOTSUPP || err == ENOSYS))
		return gs_error_create(GS_ERROR_OTHER,
				       "%s: the NIC or its driver cannot register GPU memory by "
				       "dma-buf; mlx5 can, from Linux 5.12 on",
				       server->card.name);
	if (err == ENOMEM)
		return gs_error_create(
			GS_ERROR_OTHER,
			"%s: the mailbox cannot be locked in memory; raise the limit "
			"(ulimit -l) to %" PRIu64 " KiB for each monitor",
			server->card.name, server->mailbox.size >> 10);
	return gs_error_errno(GS_ERROR_OTHER, err, "%s: cannot register the mailbox",
			      server->card.name);
}

// Bytes are addressed by their offset in the mailbox: a monitor learns nothing of where they lie.
static struct gs_error *register_part(const struct fabric_server *server, struct ibv_pd *pd,
				      uint64_t offset, uint64_t size, int access,
				      struct ibv_mr **ret)
{
	// Not IBV_ACCESS_RELAXED_ORDERING: it would let the word that says that a request is there overtake the
	// request on its way through PCIe, and a read overtake what the GPU has written before.
	if (server->mailbox.memory)
		*ret = ibv_reg_mr_iova(pd, (char *)server->mailbox.memory + offset, size, offset,
				       access);
	else
		*ret = ibv_reg_dmabuf_mr(pd, offset, size, offset, server->mailbox.fd, access);
	return *ret ? NULL : register_error(server, errno);
}

static struct gs_error *create_session(const struct fabric_server *server, uint64_t slot,
				       uint64_t slot_size, struct fabric_session **ret)
{
	_cleanup_session_ struct fabric_session *session = calloc(1, sizeof(*session));
	struct ibv_context *context = server->card.context;

	if (!session)
		return &gs_enomem;
	session->pd = ibv_alloc_pd(context);
	if (!session->pd)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s: no protection domain",
				      server->card.name);

	struct gs_error *err = register_part(server, session->pd, 0, server->mailbox.size,
					     IBV_ACCESS_REMOTE_READ, &session->mailbox);

	if (!err)
		err = register_part(server, session->pd, slot, slot_size,
				    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
				    &session->slot);
	if (err)
		return err;
	session->cq = ibv_create_cq(context, 1, NULL, NULL, 0);
	if (!session->cq)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s: no completion queue",
				      server->card.name);

	struct ibv_qp_init_attr attr = {
		.send_cq = session->cq,
		.recv_cq = session->cq,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC,
	};

	session->qp = ibv_create_qp(session->pd, &attr);
	if (!session->qp)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s: no queue pair",
				      server->card.name);
	*ret = no_cleanup_ptr(session);
	return NULL;
}

struct pair {
	const struct verbs_gid *local, *remote;
	unsigned int match;
};

// The best pairs of addresses, the best first. Returns how many.
static size_t choose_pairs(const struct verbs_card *card, const struct verbs_end *remote,
			   struct pair pairs[TRIES])
{
	size_t count = 0;

	for (size_t l = 0; l < card->gid_count; l++) {
		for (size_t r = 0; r < remote->gid_count; r++) {
			struct pair pair = { &card->gids[l], &remote->gids[r], 0 };
			size_t at = count;

			pair.match = verbs_gid_match(pair.local, pair.remote);
			while (at > 0 && pairs[at - 1].match < pair.match)
				at--;
			if (!pair.match || at == TRIES)
				continue;
			if (count < TRIES)
				count++;
			for (size_t i = count - 1; i > at; i--)
				pairs[i] = pairs[i - 1];
			pairs[at] = pair;
		}
	}
	return count;
}

static struct gs_error *connect_session(const struct verbs_card *card,
					struct fabric_session *session,
					const struct verbs_end *remote, struct verbs_reply *reply)
{
	uint32_t served = (uint32_t)card->attr.max_qp_rd_atom;
	struct gs_error *err = NULL;
	struct pair pairs[TRIES];
	size_t count = choose_pairs(card, remote, pairs);

	if (!count) {
		char own[VERBS_GID_TEXT], theirs[VERBS_GID_TEXT];

		return gs_error_create(GS_ERROR_OTHER,
				       "%s: the ends have no kind of address in common: here %s, "
				       "there %s",
				       card->name, verbs_gid_text(&card->gids[0], own),
				       verbs_gid_text(&remote->gids[0], theirs));
	}
	if (served > remote->reads)
		served = remote->reads;
	if (served < 1)
		served = 1;

	struct verbs_connection connection = {
		.access = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
		.served_reads = served,
		.timeout_ns = TIMEOUT_NS,
	};

	for (size_t i = 0; i < count; i++) {
		struct ibv_qp_attr reset = { .qp_state = IBV_QPS_RESET };

		gs_error_destroy(err);
		// What an earlier pair left.
		ibv_modify_qp(session->qp, &reset, IBV_QP_STATE);
		err = verbs_connect(card, session->qp, &connection, reply->end.psn, remote,
				    pairs[i].local, pairs[i].remote);
		if (!err) {
			reply->end.gids[0] = *pairs[i].local;
			reply->to = *pairs[i].remote;
			reply->end.reads = served;
			return NULL;
		}
	}
	return err;
}

static struct gs_error *attach(struct fabric_server *server, uint64_t slot, uint64_t slot_size,
			       struct json_object *offer, struct json_object *reply,
			       struct fabric_session **ret)
{
	_cleanup_session_ struct fabric_session *session = NULL;
	struct verbs_reply answer = {
		.size = server->mailbox.size,
		.slot_offset = slot,
		.slot_size = slot_size,
		.end = { .gid_count = 1 },
	};
	// Several monitors may come at a time.
	struct verbs_card card = server->card;
	struct verbs_end remote;

	if (slot_size == 0 || !range_inside(slot, slot_size, 0, server->mailbox.size))
		return gs_error_create(GS_ERROR_USAGE, "the slot does not lie within the mailbox");

	struct gs_error *err = verbs_offer_read(offer, &remote);

	if (!err)
		err = verbs_card_refresh(&card);
	if (!err)
		err = verbs_random_psn(&answer.end.psn);
	if (!err)
		err = create_session(server, slot, slot_size, &session);
	if (!err)
		err = connect_session(&card, session, &remote, &answer);
	if (err)
		return err;
	answer.end.qpn = session->qp->qp_num;
	answer.end.lid = card.port_attr.lid;
	answer.end.mtu = verbs_card_mtu(&card);
	answer.rkey = session->mailbox->rkey;
	answer.slot_rkey = session->slot->rkey;
	err = verbs_reply_write(&answer, reply);
	if (err)
		return err;
	*ret = no_cleanup_ptr(session);
	return NULL;
}

const struct fabric_server_ops fabric_verbs_server = {
	.name = "verbs",
	.open = server_open,
	.close = server_close,
	.attach = attach,
	.detach = detach,
};
