/* SPDX-License-Identifier: Apache-2.0 */
// What both ends of a verbs connection have: a NIC's port, and a queue pair that is brought up to another one.
#ifndef GS_GRASS_VERBS_CARD_H
#define GS_GRASS_VERBS_CARD_H

#include <infiniband/verbs.h>

#include "grass/verbs_end.h"

// A port of a NIC that is up.
struct verbs_card {
	struct ibv_context *context;
	struct ibv_device_attr attr;
	struct ibv_port_attr port_attr;
	uint8_t port;
	// "mlx5_0/1"
	char name[IBV_SYSFS_NAME_MAX + 8];
	size_t gid_count;
	struct verbs_gid gids[VERBS_GID_MAX];
};

// @name: "mlx5_0" or "mlx5_0/1"; NULL: the first port that is up.
struct gs_error *verbs_card_open(const char *name, struct verbs_card *ret);
// What the port is now: its addresses come and go.
struct gs_error *verbs_card_refresh(struct verbs_card *card);
// A card of which only zeros are known is allowed.
void verbs_card_close(struct verbs_card *card);

// Bytes of a packet, as the port has it now.
uint32_t verbs_card_mtu(const struct verbs_card *card);

// How a queue pair is set up, beside what its ends are.
struct verbs_connection {
	// IBV_ACCESS_REMOTE_*: what the other end may do, through keys that it has.
	unsigned int access;
	// Reads under way: of this end, and of the other one.
	uint32_t reads, served_reads;
	// Until an end that does not answer is given up.
	uint64_t timeout_ns;
};

// Bring a new queue pair up, from @local to @remote, of this end's sequence number @psn. It can be tried again with other
// addresses if it fails.
struct gs_error *verbs_connect(const struct verbs_card *card, struct ibv_qp *qp,
			       const struct verbs_connection *connection, uint32_t psn,
			       const struct verbs_end *remote, const struct verbs_gid *local_gid,
			       const struct verbs_gid *remote_gid);

// Packets' numbers begin where nobody guesses.
struct gs_error *verbs_random_psn(uint32_t *ret);

#endif
