/* SPDX-License-Identifier: Apache-2.0 */
// What two ends of a verbs connection tell each other, as JSON. It knows nothing of libibverbs, and takes nothing on trust.
#ifndef GS_GRASS_VERBS_END_H
#define GS_GRASS_VERBS_END_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

struct json_object;

// How a port is addressed; the order in which they are preferred.
enum verbs_gid_type {
	// UDP over IPv4 or IPv6: may be routed.
	VERBS_ROCE2,
	VERBS_ROCE1,
	VERBS_INFINIBAND,
};

struct verbs_gid {
	uint8_t raw[16];
	enum verbs_gid_type type;
	// In this machine's table; -1 for the other end's.
	int index;
};

enum {
	VERBS_GID_MAX = 8,
	// "InfiniBand fe80:..."
	VERBS_GID_TEXT = 64,
	VERBS_READS_MAX = 128,
};

// One end: a queue pair, and the addresses at which its port is reached.
struct verbs_end {
	// 24 bits each.
	uint32_t qpn, psn;
	// Of InfiniBand; 0: none.
	uint16_t lid;
	// Bytes of a packet's payload.
	uint32_t mtu;
	// Reads that may be under way at a time.
	uint32_t reads;
	size_t gid_count;
	struct verbs_gid gids[VERBS_GID_MAX];
};

// What the watched side answers: its own end, with the one address that it has chosen, and what may be done there. Bytes
// are addressed by their offset in the mailbox.
struct verbs_reply {
	struct verbs_end end;
	// The monitor's address that the watched side has chosen.
	struct verbs_gid to;
	uint64_t size;
	uint32_t rkey;
	uint64_t slot_offset, slot_size;
	uint32_t slot_rkey;
};

struct gs_error *verbs_offer_write(const struct verbs_end *end, struct json_object *offer);
struct gs_error *verbs_offer_read(struct json_object *offer, struct verbs_end *ret);
struct gs_error *verbs_reply_write(const struct verbs_reply *reply, struct json_object *ret);
struct gs_error *verbs_reply_read(struct json_object *reply, struct verbs_reply *ret);

// "RoCE v2 10.0.0.1", into VERBS_GID_TEXT bytes. Returns @text.
const char *verbs_gid_text(const struct verbs_gid *gid, char *text);

// How well two addresses fit; 0: not at all. More for the kind that is preferred, then for the nearer network.
unsigned int verbs_gid_match(const struct verbs_gid *a, const struct verbs_gid *b);

#endif
