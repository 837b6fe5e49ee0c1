// SPDX-License-Identifier: Apache-2.0
// What two ends of a verbs connection tell each other: all of it is checked before a NIC hears of it. That bytes move is
// tests/rdma's matter, where NICs are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <infiniband/verbs.h>
#include <json-c/json.h>

#include "grass/fabric.h"
#include "grass/verbs_end.h"
#include "util/array.h"

static const struct verbs_end an_end = {
	.qpn = 17,
	.psn = 0xfffffe,
	.lid = 3,
	.mtu = 4096,
	.reads = 16,
	.gid_count = 2,
	.gids = { { { 0xfe, 0x80, [15] = 1 }, VERBS_ROCE2, 0 },
		  { { [10] = 0xff, 0xff, 10, 0, 0, 1 }, VERBS_ROCE2, 1 } },
};

static struct verbs_reply a_reply(void)
{
	struct verbs_reply reply = {
		.end = an_end,
		.to = an_end.gids[1],
		.size = 26 << 20,
		.rkey = 0xfffffff0,
		.slot_offset = 8192,
		.slot_size = 4096,
		.slot_rkey = 7,
	};

	reply.end.gid_count = 1;
	return reply;
}

static void assert_ok(struct gs_error *err)
{
	if (err)
		fail_msg("%s", err->message);
}

static void assert_refused(struct gs_error *err, const char *word)
{
	assert_non_null(err);
	if (!strstr(err->message, word))
		fail_msg("\"%s\" does not name \"%s\"", err->message, word);
	gs_error_destroy(err);
}

static void assert_same_end(const struct verbs_end *a, const struct verbs_end *b)
{
	assert_int_equal(a->qpn, b->qpn);
	assert_int_equal(a->psn, b->psn);
	assert_int_equal(a->lid, b->lid);
	assert_int_equal(a->mtu, b->mtu);
	assert_int_equal(a->reads, b->reads);
	assert_int_equal(a->gid_count, b->gid_count);
	for (size_t i = 0; i < a->gid_count; i++) {
		assert_memory_equal(a->gids[i].raw, b->gids[i].raw, 16);
		assert_int_equal(a->gids[i].type, b->gids[i].type);
	}
}

static void offer_is_understood(void **state)
{
	struct json_object *json = json_object_new_object();
	struct verbs_end end;

	(void)state;
	assert_ok(verbs_offer_write(&an_end, json));
	// As it travels.
	struct json_object *other = json_tokener_parse(json_object_to_json_string(json));

	assert_ok(verbs_offer_read(other, &end));
	assert_same_end(&end, &an_end);
	json_object_put(other);
	json_object_put(json);
}

static void reply_is_understood(void **state)
{
	struct json_object *json = json_object_new_object();
	struct verbs_reply reply = a_reply(), other;

	(void)state;
	assert_ok(verbs_reply_write(&reply, json));
	assert_ok(verbs_reply_read(json, &other));
	assert_same_end(&other.end, &reply.end);
	assert_memory_equal(other.to.raw, reply.to.raw, 16);
	assert_int_equal(other.size, reply.size);
	assert_int_equal(other.rkey, reply.rkey);
	assert_int_equal(other.slot_offset, reply.slot_offset);
	assert_int_equal(other.slot_size, reply.slot_size);
	assert_int_equal(other.slot_rkey, reply.slot_rkey);
	json_object_put(json);
}

// The member of a reply (in @object of it, if given) becomes @value, as JSON; NULL: it goes.
struct change {
	const char *object, *member, *value;
};

static struct json_object *changed(const struct change *change)
{
	struct json_object *json = json_object_new_object(), *at = json;
	struct verbs_reply reply = a_reply();

	assert_ok(verbs_reply_write(&reply, json));
	if (change->object)
		assert_true(json_object_object_get_ex(json, change->object, &at));
	assert_true(json_object_object_get_ex(at, change->member, NULL));
	json_object_object_del(at, change->member);
	if (change->value)
		json_object_object_add(at, change->member, json_tokener_parse(change->value));
	return json;
}

static const struct change lies_of_both[] = {
	{ NULL, "version", "2" },
	{ NULL, "version", NULL },
	{ NULL, "qpn", "0" },
	{ NULL, "qpn", "1" },
	{ NULL, "qpn", "16777216" },
	{ NULL, "qpn", "-1" },
	{ NULL, "qpn", "\"17\"" },
	{ NULL, "qpn", "17.0" },
	{ NULL, "qpn", "null" },
	{ NULL, "psn", "16777216" },
	{ NULL, "psn", "18446744073709551615" },
	{ NULL, "psn", "99999999999999999999" },
	{ NULL, "lid", "49152" },
	{ NULL, "lid", "65536" },
	{ NULL, "mtu", "0" },
	{ NULL, "mtu", "1500" },
	{ NULL, "mtu", "8192" },
	{ NULL, "reads", "0" },
	{ NULL, "reads", "129" },
	{ NULL, "gids", "{}" },
	{ NULL, "gids", "[]" },
	{ NULL, "gids", "[1]" },
	{ NULL, "gids", "[null]" },
	{ NULL, "gids", "[{\"gid\": \"fe80::1\"}]" },
	{ NULL, "gids", "[{\"gid\": \"fe80::1\", \"type\": \"iwarp\"}]" },
	{ NULL, "gids", "[{\"gid\": \"10.0.0.1\", \"type\": \"roce2\"}]" },
	{ NULL, "gids", "[{\"gid\": \"::\", \"type\": \"roce2\"}]" },
	{ NULL, "gids", "[{\"gid\": \"ff02::1\", \"type\": \"roce2\"}]" },
	{ NULL, "gids", "[{\"gid\": 1, \"type\": \"roce2\"}]" },
};

static void lies_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lies_of_both); i++) {
		struct json_object *json = changed(&lies_of_both[i]);
		struct verbs_reply reply;
		struct verbs_end end;

		assert_refused(verbs_offer_read(json, &end), lies_of_both[i].member);
		assert_refused(verbs_reply_read(json, &reply), lies_of_both[i].member);
		json_object_put(json);
	}
	assert_refused(verbs_offer_read(NULL, &(struct verbs_end){}), "is no object");
}

static void too_many_addresses_are_refused(void **state)
{
	struct json_object *json = json_object_new_object(), *gids, *gid;
	struct verbs_end end;

	(void)state;
	assert_ok(verbs_offer_write(&an_end, json));
	assert_true(json_object_object_get_ex(json, "gids", &gids));
	gid = json_object_array_get_idx(gids, 0);
	while (json_object_array_length(gids) <= VERBS_GID_MAX)
		json_object_array_add(gids, json_object_get(gid));
	assert_refused(verbs_offer_read(json, &end), "too many");
	json_object_put(json);
}

static void lies_of_a_watched_host_are_refused(void **state)
{
	static const struct change lies[] = {
		{ NULL, "to", "{}" },
		{ NULL, "to", "1" },
		{ NULL, "mailbox", "[]" },
		{ "mailbox", "size", "0" },
		{ "mailbox", "size", "1099511627777" },
		{ "mailbox", "rkey", "4294967296" },
		{ NULL, "slot", NULL },
		{ "slot", "offset", "27262976" },
		{ "slot", "offset", "-4096" },
		{ "slot", "size", "27262976" },
		{ "slot", "size", "0" },
		{ "slot", "rkey", "true" },
		{ NULL, "gids",
		  "[{\"gid\": \"fe80::1\", \"type\": \"roce2\"}, "
		  "{\"gid\": \"fe80::2\", \"type\": \"roce2\"}]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct json_object *json = changed(&lies[i]);
		struct verbs_reply reply;

		assert_refused(verbs_reply_read(json, &reply), lies[i].member);
		json_object_put(json);
	}
}

static struct verbs_gid gid(enum verbs_gid_type type, const char *head, size_t length)
{
	struct verbs_gid ret = { .type = type };

	memcpy(ret.raw, head, length);
	ret.raw[15] = 9;
	return ret;
}

static void addresses_that_fit_are_preferred(void **state)
{
	static const char v4[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02",
			  near[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x03",
			  far[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\xa8\x00",
			  v6[] = "\x20\x01\x0d\xb8", local[] = "\xfe\x80";
	struct verbs_gid a = gid(VERBS_ROCE2, v4, 15), b = gid(VERBS_ROCE2, near, 15),
			 c = gid(VERBS_ROCE2, far, 15), d = gid(VERBS_ROCE2, v6, 4),
			 e = gid(VERBS_ROCE2, local, 2), f = gid(VERBS_ROCE1, v4, 15),
			 g = gid(VERBS_INFINIBAND, local, 2);

	(void)state;
	assert_true(verbs_gid_match(&a, &a) > verbs_gid_match(&a, &b));
	assert_true(verbs_gid_match(&a, &b) > verbs_gid_match(&a, &c));
	// A link-local address meets its like alone, and less gladly than others.
	assert_true(verbs_gid_match(&a, &c) > verbs_gid_match(&e, &e));
	assert_true(verbs_gid_match(&e, &e) > verbs_gid_match(&f, &f));
	assert_true(verbs_gid_match(&f, &f) > verbs_gid_match(&g, &g));
	assert_int_equal(verbs_gid_match(&a, &d), 0);
	assert_int_equal(verbs_gid_match(&d, &e), 0);
	assert_int_equal(verbs_gid_match(&a, &f), 0);
	assert_int_equal(verbs_gid_match(&e, &g), 0);
}

static void addresses_are_shown(void **state)
{
	char text[VERBS_GID_TEXT];

	(void)state;
	assert_string_equal(verbs_gid_text(&an_end.gids[0], text), "RoCE v2 fe80::1");
	assert_string_equal(verbs_gid_text(&an_end.gids[1], text), "RoCE v2 10.0.0.1");
}

static void no_nic_is_said(void **state)
{
	const struct gs_mailbox_export mailbox = { .size = 4096, .fd = -1 };
	struct json_object *offer = json_object_new_object();
	struct fabric_server *server;
	struct fabric_link *link;
	int count = 0;

	(void)state;
	struct ibv_device **list = ibv_get_device_list(&count);

	if (list)
		ibv_free_device_list(list);
	if (count > 0) {
		json_object_put(offer);
		skip();
	}
	assert_refused(fabric_verbs_server.open(NULL, &mailbox, &server), "no RDMA device");
	assert_refused(fabric_verbs_link.open("mlx5_0/1", offer, &link), "no RDMA device");
	assert_refused(fabric_verbs_link.open("mlx5_0/0", offer, &link), "no port");
	assert_refused(fabric_verbs_link.open("mlx5_0/1x", offer, &link), "no port");
	assert_refused(fabric_verbs_link.open("/1", offer, &link), "give a name");
	json_object_put(offer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offer_is_understood),
		cmocka_unit_test(reply_is_understood),
		cmocka_unit_test(lies_are_refused),
		cmocka_unit_test(too_many_addresses_are_refused),
		cmocka_unit_test(lies_of_a_watched_host_are_refused),
		cmocka_unit_test(addresses_that_fit_are_preferred),
		cmocka_unit_test(addresses_are_shown),
		cmocka_unit_test(no_nic_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
