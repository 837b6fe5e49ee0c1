// SPDX-License-Identifier: Apache-2.0
#include "grass/verbs_card.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "util/cleanup.h"
#include "util/parse.h"

enum {
	// Of the NIC's table, which may be larger.
	TABLE_MAX = 256,
	HOP_LIMIT = 64,
	// As often as three bits can say: a burst of loss then lasts almost for the whole time-out.
	RETRIES = 7,
	// 4.096 us * 2^N (InfiniBand Architecture, 11.2.4.2), five bits, where 0 is for ever.
	ACK_TIMEOUT_NS = 4096,
	ACK_TIMEOUT_MAX = 31,
	// 0.64 ms until somebody who sends, which a monitor does not, is to try again.
	RNR_TIMER = 12,
};

// An opened device, which all links of a process share: each opening takes descriptors, and on many NICs a page of registers.
struct shared {
	struct shared *next;
	struct ibv_context *context;
	size_t users;
};

static struct shared *opened;
static pthread_mutex_t opened_lock = PTHREAD_MUTEX_INITIALIZER;

static struct ibv_context *shared_get(struct ibv_device *device)
{
	struct ibv_context *context = NULL;
	struct shared *shared;

	pthread_mutex_lock(&opened_lock);
	for (shared = opened; shared; shared = shared->next) {
		if (strcmp(ibv_get_device_name(shared->context->device),
			   ibv_get_device_name(device)) == 0)
			break;
	}
	if (!shared) {
		shared = calloc(1, sizeof(*shared));
		context = shared ? ibv_open_device(device) : NULL;
		if (context) {
			*shared = (struct shared){ .next = opened, .context = context };
			opened = shared;
		} else {
			free(shared);
			shared = NULL;
		}
	}
	if (shared) {
		shared->users++;
		context = shared->context;
	}
	pthread_mutex_unlock(&opened_lock);
	return context;
}

static void shared_put(struct ibv_context *context)
{
	pthread_mutex_lock(&opened_lock);
	for (struct shared **at = &opened; *at; at = &(*at)->next) {
		struct shared *shared = *at;

		if (shared->context != context)
			continue;
		if (--shared->users == 0) {
			*at = shared->next;
			ibv_close_device(context);
			free(shared);
		}
		break;
	}
	pthread_mutex_unlock(&opened_lock);
}

static void free_list(struct ibv_device ***list)
{
	if (*list)
		ibv_free_device_list(*list);
}

#define _cleanup_list_ _cleanup_(free_list)

static struct gs_error *no_device(int err)
{
	static const char *const hint =
		"load the NIC's driver (or 'rdma link add rxe0 type rxe netdev eth0' for "
		"software RDMA) and install ibverbs-providers; ibv_devices shows what there is";

	if (err && err != ENOSYS && err != ENOENT)
		return gs_error_errno(GS_ERROR_OTHER, err, "no RDMA device; %s", hint);
	return gs_error_create(GS_ERROR_OTHER, "no RDMA device; %s", hint);
}

// "mlx5_0/1" into its parts; port 0: any.
static struct gs_error *split_name(const char *name, char device[IBV_SYSFS_NAME_MAX], uint8_t *port)
{
	const char *slash = strchr(name, '/');
	size_t length = slash ? (size_t)(slash - name) : strlen(name);

	*port = 0;
	if (length == 0 || length >= IBV_SYSFS_NAME_MAX)
		return gs_error_create(GS_ERROR_USAGE,
				       "RDMA device \"%s\": give a name such as mlx5_0 or mlx5_0/1",
				       name);
	memcpy(device, name, length);
	device[length] = 0;
	if (slash) {
		const char *text = slash + 1;
		uint64_t number;

		if (!gs_parse_decimal(&text, &number) || *text || number < 1 || number > 255)
			return gs_error_create(
				GS_ERROR_USAGE,
				"RDMA device \"%s\": \"%s\" is no port; the first is 1", name,
				slash + 1);
		*port = (uint8_t)number;
	}
	return NULL;
}

static struct gs_error *unknown_device(const char *name, struct ibv_device **list)
{
	char names[256] = "";
	size_t used = 0;

	for (size_t i = 0; list[i] && used < sizeof(names); i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
					 ibv_get_device_name(list[i]));
	return gs_error_create(GS_ERROR_USAGE, "no RDMA device \"%s\"; there are: %s", name, names);
}

static bool gid_type(const struct ibv_gid_entry *entry, enum verbs_gid_type *ret)
{
	switch (entry->gid_type) {
	case IBV_GID_TYPE_ROCE_V2:
		*ret = VERBS_ROCE2;
		return true;
	case IBV_GID_TYPE_ROCE_V1:
		*ret = VERBS_ROCE1;
		return true;
	case IBV_GID_TYPE_IB:
		*ret = VERBS_INFINIBAND;
		return true;
	default:
		return false;
	}
}

// The addresses that a port has, the preferred kinds first, as many as there is room for.
static struct gs_error *read_gids(struct verbs_card *card)
{
	_cleanup_free_ struct ibv_gid_entry *table = calloc(TABLE_MAX, sizeof(*table));

	if (!table)
		return &gs_enomem;

	ssize_t count = ibv_query_gid_table(card->context, table, TABLE_MAX, 0);

	if (count < 0)
		return gs_error_errno(GS_ERROR_OTHER, (int)-count,
				      "%s: cannot read its addresses (GIDs)", card->name);
	card->gid_count = 0;
	for (int wanted = VERBS_ROCE2; wanted <= VERBS_INFINIBAND; wanted++) {
		for (ssize_t i = 0; i < count && card->gid_count < VERBS_GID_MAX; i++) {
			struct verbs_gid gid = { .index = (int)table[i].gid_index };

			if (table[i].port_num != card->port || !gid_type(&table[i], &gid.type) ||
			    (int)gid.type != wanted)
				continue;
			memcpy(gid.raw, table[i].gid.raw, sizeof(gid.raw));
			card->gids[card->gid_count++] = gid;
		}
	}
	if (!card->gid_count)
		return gs_error_create(
			GS_ERROR_OTHER,
			"%s: the port has no address (GID): give its network interface "
			"an IP address",
			card->name);
	return NULL;
}

// Take the port if it is up. @state_ret: what it is otherwise.
static bool try_port(struct verbs_card *card, uint8_t port, const char **state_ret)
{
	if (ibv_query_port(card->context, port, &card->port_attr)) {
		*state_ret = "unknown";
		return false;
	}
	if (card->port_attr.state != IBV_PORT_ACTIVE) {
		*state_ret = ibv_port_state_str(card->port_attr.state);
		return false;
	}
	card->port = port;
	return true;
}

static struct gs_error *open_device(struct ibv_device *device, uint8_t port,
				    struct verbs_card *card)
{
	const char *name = ibv_get_device_name(device), *state = "unknown";
	bool up = false;

	card->context = shared_get(device);
	if (!card->context)
		return gs_error_errno(GS_ERROR_OTHER, errno, "RDMA device %s: cannot open", name);
	if (ibv_query_device(card->context, &card->attr))
		return gs_error_create(GS_ERROR_OTHER, "RDMA device %s: does not say what it can",
				       name);
	if (port > card->attr.phys_port_cnt)
		return gs_error_create(GS_ERROR_USAGE, "RDMA device %s: has no port %u, only %u",
				       name, port, card->attr.phys_port_cnt);
	for (uint8_t i = 1; i <= card->attr.phys_port_cnt && !up; i++) {
		if (!port || port == i)
			up = try_port(card, i, &state);
	}
	if (!up)
		return gs_error_create(
			GS_ERROR_OTHER,
			"RDMA device %s: no port is up (%s); look at its cable, its network "
			"interface, and 'rdma link'",
			name, state);
	snprintf(card->name, sizeof(card->name), "%s/%u", name, card->port);
	return read_gids(card);
}

struct gs_error *verbs_card_refresh(struct verbs_card *card)
{
	const char *state = "unknown";

	if (!try_port(card, card->port, &state))
		return gs_error_create(GS_ERROR_OTHER,
				       "%s: the port is down (%s); look at its cable and its "
				       "network interface",
				       card->name, state);
	return read_gids(card);
}

struct gs_error *verbs_card_open(const char *name, struct verbs_card *ret)
{
	char wanted[IBV_SYSFS_NAME_MAX] = "";
	uint8_t port = 0;
	bool any = false;
	int count = 0;

	if (name) {
		struct gs_error *err = split_name(name, wanted, &port);

		if (err)
			return err;
	}
	errno = 0;

	_cleanup_list_ struct ibv_device **list = ibv_get_device_list(&count);
	_cleanup_error_ struct gs_error *why = NULL;

	if (!list || count == 0)
		return no_device(list ? 0 : errno);
	for (int i = 0; i < count; i++) {
		struct verbs_card card = {};

		if (name && strcmp(wanted, ibv_get_device_name(list[i])) != 0)
			continue;
		any = true;

		struct gs_error *err = open_device(list[i], port, &card);

		if (!err) {
			*ret = card;
			return NULL;
		}
		verbs_card_close(&card);
		// The first one's trouble is told.
		if (why)
			gs_error_destroy(err);
		else
			why = err;
	}
	return any ? no_cleanup_ptr(why) : unknown_device(name, list);
}

void verbs_card_close(struct verbs_card *card)
{
	if (card->context)
		shared_put(card->context);
	*card = (struct verbs_card){};
}

uint32_t verbs_card_mtu(const struct verbs_card *card)
{
	// IBV_MTU_256 is 1.
	return UINT32_C(128) << card->port_attr.active_mtu;
}

static enum ibv_mtu mtu_code(uint32_t bytes)
{
	int code = IBV_MTU_256;

	while (code < IBV_MTU_4096 && UINT32_C(128) << (code + 1) <= bytes)
		code++;
	return (enum ibv_mtu)code;
}

// The NIC may take up to four times as long as it is told, so the sum of all tries stays below.
static uint8_t ack_timeout(uint64_t timeout_ns)
{
	uint8_t code = 1;

	while (code < ACK_TIMEOUT_MAX &&
	       (RETRIES + 1) * ((uint64_t)ACK_TIMEOUT_NS << (code + 1)) <= timeout_ns)
		code++;
	return code;
}

static void fill_address(const struct verbs_card *card, const struct verbs_end *remote,
			 const struct verbs_gid *local_gid, const struct verbs_gid *remote_gid,
			 struct ibv_ah_attr *ret)
{
	ret->port_num = card->port;
	ret->dlid = remote->lid;
	// Within a subnet of InfiniBand the LID is enough; what is routed has a header of its own.
	ret->is_global = local_gid->type != VERBS_INFINIBAND ||
			 memcmp(local_gid->raw, remote_gid->raw, 8) != 0;
	if (!ret->is_global)
		return;
	memcpy(ret->grh.dgid.raw, remote_gid->raw, sizeof(remote_gid->raw));
	ret->grh.sgid_index = (uint8_t)local_gid->index;
	ret->grh.hop_limit = HOP_LIMIT;
}

static struct gs_error *modify(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
			       const struct verbs_card *card, const char *what)
{
	int result = ibv_modify_qp(qp, attr, mask);

	if (!result)
		return NULL;
	return gs_error_errno(GS_ERROR_OTHER, result, "%s: the queue pair cannot be made %s",
			      card->name, what);
}

struct gs_error *verbs_connect(const struct verbs_card *card, struct ibv_qp *qp,
			       const struct verbs_connection *connection, uint32_t psn,
			       const struct verbs_end *remote, const struct verbs_gid *local_gid,
			       const struct verbs_gid *remote_gid)
{
	uint32_t mtu = verbs_card_mtu(card);
	char text[VERBS_GID_TEXT];
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = card->port,
		.qp_access_flags = connection->access,
	};

	if (local_gid->type == VERBS_INFINIBAND && !remote->lid)
		return gs_error_create(GS_ERROR_OTHER,
				       "%s: the other end of the InfiniBand link has no LID; is "
				       "its subnet manager there?",
				       card->name);

	struct gs_error *err = modify(
		qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
		card, "ready");

	if (err)
		return err;
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTR,
		.path_mtu = mtu_code(remote->mtu < mtu ? remote->mtu : mtu),
		.dest_qp_num = remote->qpn,
		.rq_psn = remote->psn,
		.max_dest_rd_atomic = (uint8_t)connection->served_reads,
		.min_rnr_timer = RNR_TIMER,
	};
	fill_address(card, remote, local_gid, remote_gid, &attr.ah_attr);
	err = modify(qp, &attr,
		     IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
			     IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
		     card, "to receive");
	if (err)
		return gs_error_prefix(err, "no way to %s", verbs_gid_text(remote_gid, text));
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTS,
		.sq_psn = psn,
		.max_rd_atomic = (uint8_t)connection->reads,
		.timeout = ack_timeout(connection->timeout_ns),
		.retry_cnt = RETRIES,
		// Nobody sends what the other end would have to be ready for.
		.rnr_retry = 0,
	};
	return modify(qp, &attr,
		      IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_TIMEOUT |
			      IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY,
		      card, "to send");
}

struct gs_error *verbs_random_psn(uint32_t *ret)
{
	if (getrandom(ret, sizeof(*ret), 0) != sizeof(*ret))
		return gs_error_errno(GS_ERROR_OTHER, errno, "no random numbers");
	*ret &= 0xffffff;
	return NULL;
}
