// SPDX-License-Identifier: Apache-2.0
// What the other end of a verbs connection says of itself: a monitor's offer, and a watched host's reply. What is
// accepted keeps to its limits, and says the same when it is written again.
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "grass/verbs_end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH = 16 };

static void check_end(const struct verbs_end *end)
{
	if (end->qpn < 2 || end->qpn > 0xffffff || end->psn > 0xffffff || end->mtu < 256 ||
	    end->mtu > 4096 || end->reads < 1 || end->reads > VERBS_READS_MAX ||
	    end->gid_count < 1 || end->gid_count > VERBS_GID_MAX)
		abort();
	for (size_t i = 0; i < end->gid_count; i++) {
		char text[VERBS_GID_TEXT];

		if (!strchr(verbs_gid_text(&end->gids[i], text), ' ') ||
		    !verbs_gid_match(&end->gids[i], &end->gids[i]))
			abort();
	}
}

static void check_reply(const struct verbs_reply *reply)
{
	struct json_object *json = json_object_new_object();
	struct verbs_reply again;

	check_end(&reply->end);
	if (reply->end.gid_count != 1 || reply->slot_offset >= reply->size ||
	    reply->slot_size > reply->size - reply->slot_offset)
		abort();
	if (verbs_reply_write(reply, json) || verbs_reply_read(json, &again) ||
	    again.size != reply->size || again.rkey != reply->rkey ||
	    again.slot_offset != reply->slot_offset || again.slot_rkey != reply->slot_rkey)
		abort();
	json_object_put(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH);
	struct json_object *json = json_tokener_parse_ex(tokener, (const char *)data, (int)size);
	struct verbs_reply reply;
	struct verbs_end end;

	struct gs_error *err = verbs_offer_read(json, &end);

	if (!err)
		check_end(&end);
	gs_error_destroy(err);
	err = verbs_reply_read(json, &reply);
	if (!err)
		check_reply(&reply);
	gs_error_destroy(err);
	json_object_put(json);
	json_tokener_free(tokener);
	return 0;
}
