// SPDX-License-Identifier: Apache-2.0
#include "grass/verbs_end.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "util/array.h"

enum {
	VERSION = 1,
	BITS_24 = 0xffffff,
	// 0 and 1 are for management.
	QPN_MIN = 2,
	// Above are addresses of groups (InfiniBand Architecture, 4.1.3).
	LID_MAX = 0xbfff,
};

#define MAILBOX_MAX (UINT64_C(1) << 40)

static const struct {
	const char *name, *text;
} types[] = {
	[VERBS_ROCE2] = { "roce2", "RoCE v2" },
	[VERBS_ROCE1] = { "roce1", "RoCE v1" },
	[VERBS_INFINIBAND] = { "infiniband", "InfiniBand" },
};

static bool is_mapped_ipv4(const uint8_t raw[16])
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(raw, prefix, sizeof(prefix)) == 0;
}

static bool is_link_local(const uint8_t raw[16])
{
	return raw[0] == 0xfe && (raw[1] & 0xc0) == 0x80;
}

const char *verbs_gid_text(const struct verbs_gid *gid, char *text)
{
	char address[INET6_ADDRSTRLEN] = "";

	if (is_mapped_ipv4(gid->raw))
		inet_ntop(AF_INET, gid->raw + 12, address, sizeof(address));
	else
		inet_ntop(AF_INET6, gid->raw, address, sizeof(address));
	snprintf(text, VERBS_GID_TEXT, "%s %s", types[gid->type].text, address);
	return text;
}

unsigned int verbs_gid_match(const struct verbs_gid *a, const struct verbs_gid *b)
{
	unsigned int prefix = 0;

	if (a->type != b->type)
		return 0;
	// InfiniBand's ports have one address that counts. Elsewhere those of two families never meet.
	if (a->type != VERBS_INFINIBAND && (is_mapped_ipv4(a->raw) != is_mapped_ipv4(b->raw) ||
					    is_link_local(a->raw) != is_link_local(b->raw)))
		return 0;
	while (prefix < 128 && !((a->raw[prefix / 8] ^ b->raw[prefix / 8]) & (0x80 >> prefix % 8)))
		prefix++;
	return (ARRAY_SIZE(types) - a->type) * 256 + (is_link_local(a->raw) ? 0 : 128) +
	       prefix / 2 + 1;
}

static bool add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool add_number(struct json_object *object, const char *key, uint64_t value)
{
	return add(object, key, json_object_new_uint64(value));
}

static struct json_object *gid_write(const struct verbs_gid *gid)
{
	struct json_object *object = json_object_new_object();
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(AF_INET6, gid->raw, text, sizeof(text));
	if (!object || !add(object, "gid", json_object_new_string(text)) ||
	    !add(object, "type", json_object_new_string(types[gid->type].name))) {
		json_object_put(object);
		return NULL;
	}
	return object;
}

// Takes the array that gets the addresses.
static bool end_write(const struct verbs_end *end, struct json_object *object)
{
	struct json_object *gids = json_object_new_array();

	for (size_t i = 0; gids && i < end->gid_count; i++) {
		struct json_object *gid = gid_write(&end->gids[i]);

		if (!gid || json_object_array_add(gids, gid) < 0) {
			json_object_put(gid);
			json_object_put(gids);
			return false;
		}
	}
	return add(object, "gids", gids) && add_number(object, "version", VERSION) &&
	       add_number(object, "qpn", end->qpn) && add_number(object, "psn", end->psn) &&
	       add_number(object, "lid", end->lid) && add_number(object, "mtu", end->mtu) &&
	       add_number(object, "reads", end->reads);
}

struct gs_error *verbs_offer_write(const struct verbs_end *end, struct json_object *offer)
{
	return end_write(end, offer) ? NULL : &gs_enomem;
}

struct gs_error *verbs_reply_write(const struct verbs_reply *reply, struct json_object *ret)
{
	struct json_object *mailbox = json_object_new_object(), *slot = json_object_new_object();
	bool ok = end_write(&reply->end, ret) && add(ret, "to", gid_write(&reply->to));

	ok = ok && mailbox && add_number(mailbox, "size", reply->size) &&
	     add_number(mailbox, "rkey", reply->rkey);
	ok = ok && slot && add_number(slot, "offset", reply->slot_offset) &&
	     add_number(slot, "size", reply->slot_size) &&
	     add_number(slot, "rkey", reply->slot_rkey);
	ok = ok && add(ret, "mailbox", json_object_get(mailbox)) &&
	     add(ret, "slot", json_object_get(slot));
	json_object_put(mailbox);
	json_object_put(slot);
	return ok ? NULL : &gs_enomem;
}

static struct gs_error *bad(const char *key, const char *why)
{
	return gs_error_create(GS_ERROR_OTHER,
			       "verbs: the other end's \"%s\" %s; are both of this version?", key,
			       why);
}

static struct gs_error *get_number(struct json_object *object, const char *key, uint64_t min,
				   uint64_t max, uint64_t *ret)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_int))
		return bad(key, "is no number");
	// Negative numbers become 0, as those in the object are signed.
	if (json_object_get_int64(value) < 0)
		return bad(key, "is out of range");
	*ret = json_object_get_uint64(value);
	if (*ret < min || *ret > max)
		return bad(key, "is out of range");
	return NULL;
}

static struct gs_error *get_u32(struct json_object *object, const char *key, uint32_t min,
				uint32_t max, uint32_t *ret)
{
	uint64_t value = 0;
	struct gs_error *err = get_number(object, key, min, max, &value);

	*ret = (uint32_t)value;
	return err;
}

static struct gs_error *get_object(struct json_object *object, const char *key,
				   struct json_object **ret)
{
	if (!json_object_object_get_ex(object, key, ret) ||
	    !json_object_is_type(*ret, json_type_object))
		return bad(key, "is no object");
	return NULL;
}

static const char *get_string(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

static struct gs_error *gid_read(struct json_object *object, const char *key, struct verbs_gid *ret)
{
	static const uint8_t zero[16];
	const char *gid, *type;

	*ret = (struct verbs_gid){ .index = -1 };
	if (!json_object_is_type(object, json_type_object))
		return bad(key, "is no object");
	gid = get_string(object, "gid");
	type = get_string(object, "type");
	if (!gid || !type || inet_pton(AF_INET6, gid, ret->raw) != 1)
		return bad(key, "is no address");
	if (memcmp(ret->raw, zero, sizeof(zero)) == 0 || ret->raw[0] == 0xff)
		return bad(key, "is not the address of one port");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcmp(type, types[i].name) == 0) {
			ret->type = (enum verbs_gid_type)i;
			return NULL;
		}
	}
	return bad(key, "is of a type that is not known");
}

static struct gs_error *gids_read(struct json_object *object, struct verbs_end *end)
{
	struct json_object *gids;

	if (!json_object_object_get_ex(object, "gids", &gids) ||
	    !json_object_is_type(gids, json_type_array))
		return bad("gids", "is no list");

	size_t count = json_object_array_length(gids);

	if (count < 1 || count > VERBS_GID_MAX)
		return bad("gids", "has none or too many");
	for (size_t i = 0; i < count; i++) {
		struct gs_error *err =
			gid_read(json_object_array_get_idx(gids, i), "gids", &end->gids[i]);

		if (err)
			return err;
	}
	end->gid_count = count;
	return NULL;
}

static struct gs_error *end_read(struct json_object *object, struct verbs_end *end)
{
	uint32_t version, lid = 0;
	struct gs_error *err;

	*end = (struct verbs_end){};
	if (!json_object_is_type(object, json_type_object))
		return bad("fabric", "is no object");
	err = get_u32(object, "version", VERSION, VERSION, &version);
	if (!err)
		err = get_u32(object, "qpn", QPN_MIN, BITS_24, &end->qpn);
	if (!err)
		err = get_u32(object, "psn", 0, BITS_24, &end->psn);
	if (!err)
		err = get_u32(object, "lid", 0, LID_MAX, &lid);
	if (!err)
		err = get_u32(object, "mtu", 256, 4096, &end->mtu);
	if (!err && (end->mtu & (end->mtu - 1)))
		err = bad("mtu", "is no power of two");
	if (!err)
		err = get_u32(object, "reads", 1, VERBS_READS_MAX, &end->reads);
	end->lid = (uint16_t)lid;
	return err ? err : gids_read(object, end);
}

struct gs_error *verbs_offer_read(struct json_object *offer, struct verbs_end *ret)
{
	return end_read(offer, ret);
}

struct gs_error *verbs_reply_read(struct json_object *reply, struct verbs_reply *ret)
{
	struct json_object *mailbox, *slot, *to = NULL;
	struct gs_error *err = end_read(reply, &ret->end);

	if (err)
		return err;
	if (ret->end.gid_count != 1)
		return bad("gids", "has more than one");
	err = get_object(reply, "to", &to);
	if (!err)
		err = gid_read(to, "to", &ret->to);
	if (!err)
		err = get_object(reply, "mailbox", &mailbox);
	if (!err)
		err = get_number(mailbox, "size", 1, MAILBOX_MAX, &ret->size);
	if (!err)
		err = get_u32(mailbox, "rkey", 0, UINT32_MAX, &ret->rkey);
	if (!err)
		err = get_object(reply, "slot", &slot);
	if (!err)
		err = get_number(slot, "offset", 0, ret->size - 1, &ret->slot_offset);
	if (!err)
		err = get_number(slot, "size", 1, ret->size - ret->slot_offset, &ret->slot_size);
	if (!err)
		err = get_u32(slot, "rkey", 0, UINT32_MAX, &ret->slot_rkey);
	return err;
}
