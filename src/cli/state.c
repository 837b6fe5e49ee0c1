// SPDX-License-Identifier: Apache-2.0
#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "util/cleanup.h"

enum {
	VERSION = 1,
	// The file with all rows in use takes a tenth of it.
	FILE_MAX = 64 << 10,
	DEPTH_MAX = 4,
};

// Records and slots that are claimed ahead: more than there can be between two looks at how many there are.
#define AHEAD (UINT64_C(1) << 24)
#define AHEAD_GENERATIONS (1u << 10)
// No number comes near its end: adding to it needs no care.
#define NUMBER_MAX (UINT64_C(1) << 60)

char *state_path(const char *directory, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

static bool get_number(struct json_object *object, uint64_t max, uint64_t *ret)
{
	if (!json_object_is_type(object, json_type_int))
		return false;

	int64_t value = json_object_get_int64(object);

	*ret = (uint64_t)value;
	return value >= 0 && *ret <= max;
}

static bool get_numbers(struct json_object *array, size_t from, uint64_t *ret, size_t count)
{
	bool ok = true;

	for (size_t i = 0; i < count; i++)
		ok = ok &&
		     get_number(json_object_array_get_idx(array, from + i), NUMBER_MAX, &ret[i]);
	return ok;
}

static bool is_array(struct json_object *object, size_t count)
{
	return json_object_is_type(object, json_type_array) &&
	       json_object_array_length(object) == count;
}

static bool get_rows(struct json_object *rows, struct gs_mailbox_progress *ret)
{
	if (!is_array(rows, GS_MAILBOX_DETECTORS))
		return false;
	for (size_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		uint64_t generation;

		if (!is_array(row, 1 + GS_MAILBOX_RINGS) ||
		    !get_number(json_object_array_get_idx(row, 0), UINT32_MAX, &generation) ||
		    !get_numbers(row, 1, ret->rows[i].records, GS_MAILBOX_RINGS))
			return false;
		ret->rows[i].generation = (uint32_t)generation;
	}
	return true;
}

static bool says(struct json_object *object, const char *name, const char *what)
{
	struct json_object *member = json_object_object_get(object, name);

	return json_object_is_type(member, json_type_string) &&
	       !strcmp(json_object_get_string(member), what);
}

static const char *read_object(struct json_object *object, const char *boot, const char *target,
			       struct gs_mailbox_progress *ret)
{
	uint64_t version, epoch;

	if (!json_object_is_type(object, json_type_object) ||
	    !get_number(json_object_object_get(object, "version"), UINT32_MAX, &version))
		return "it is damaged";
	if (version != VERSION)
		return "another version of this program has written it";
	if (!says(object, "boot", boot))
		return "it is of before the machine was started";
	if (!says(object, "target", target))
		return "it is of another target";

	struct json_object *heads = json_object_object_get(object, "heads");

	if (!get_number(json_object_object_get(object, "epoch"), UINT32_MAX - 1, &epoch) ||
	    !is_array(heads, GS_MAILBOX_RINGS) ||
	    !get_numbers(heads, 0, ret->heads, GS_MAILBOX_RINGS) ||
	    !get_rows(json_object_object_get(object, "rows"), ret))
		return "it is damaged";
	ret->epoch = (uint32_t)epoch;
	return NULL;
}

static void put_tokener(struct json_tokener **tokener)
{
	if (*tokener)
		json_tokener_free(*tokener);
}

const char *state_parse(const char *text, size_t size, const char *boot, const char *target,
			struct gs_mailbox_progress *ret)
{
	_cleanup_(put_tokener) struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);

	*ret = (struct gs_mailbox_progress){};
	if (!tokener)
		return "memory is short";
	if (size > FILE_MAX)
		return "it is damaged";
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);

	struct json_object *object = json_tokener_parse_ex(tokener, text, (int)size);
	const char *why = object ? read_object(object, boot, target, ret) : "it is damaged";

	json_object_put(object);
	return why;
}

static struct json_object *write_object(const struct state *state)
{
	const struct gs_mailbox_progress *progress = &state->claimed;
	struct json_object *object = json_object_new_object();
	struct json_object *heads = json_object_new_array(), *rows = json_object_new_array();

	json_add_number(object, "version", VERSION);
	json_add_string(object, "boot", state->boot);
	json_add_string(object, "target", state->target);
	json_add_number(object, "epoch", progress->epoch);
	for (size_t i = 0; i < GS_MAILBOX_RINGS; i++)
		json_object_array_add(heads, json_object_new_uint64(progress->heads[i]));
	json_object_object_add(object, "heads", heads);
	for (size_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		struct json_object *row = json_object_new_array();

		json_object_array_add(row, json_object_new_uint64(progress->rows[i].generation));
		for (size_t j = 0; j < GS_MAILBOX_RINGS; j++)
			json_object_array_add(row,
					      json_object_new_uint64(progress->rows[i].records[j]));
		json_object_array_add(rows, row);
	}
	json_object_object_add(object, "rows", rows);
	return object;
}

static bool write_text(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t size = strlen(text);

	// One that is on disk survives the loss of power; a boot later it counts for nothing anyway.
	return fd >= 0 && write(fd, text, size) == (ssize_t)size && !fsync(fd);
}

// Whoever reads it sees the old or the new one.
static struct gs_error *store(const struct state *state)
{
	_cleanup_free_ char *path = state_path(state->directory, "sequence.json");
	_cleanup_free_ char *fresh = state_path(state->directory, "sequence.json.new");
	struct json_object *object = write_object(state);
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	struct gs_error *err = NULL;

	if (!path || !fresh || !text)
		err = &gs_enomem;
	else if (!write_text(fresh, text) || rename(fresh, path))
		err = gs_error_errno(GS_ERROR_OTHER, errno,
				     "%s: after a restart, numbers of findings would begin anew",
				     path);
	json_object_put(object);
	return err;
}

static void ahead_of(struct gs_mailbox_progress *claimed, const struct gs_mailbox_progress *now)
{
	*claimed = *now;
	for (size_t i = 0; i < GS_MAILBOX_RINGS; i++)
		claimed->heads[i] += AHEAD;
	for (size_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		struct gs_mailbox_row_progress *row = &claimed->rows[i];

		row->generation += AHEAD_GENERATIONS;
		for (size_t j = 0; j < GS_MAILBOX_RINGS; j++)
			row->records[j] += AHEAD;
	}
}

static bool is_near(const struct gs_mailbox_progress *claimed,
		    const struct gs_mailbox_progress *now)
{
	bool near = claimed->epoch != now->epoch;

	for (size_t i = 0; i < GS_MAILBOX_RINGS; i++)
		near |= (int64_t)(claimed->heads[i] - now->heads[i]) < (int64_t)AHEAD / 2;
	for (size_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		const struct gs_mailbox_row_progress *mine = &claimed->rows[i],
						     *its = &now->rows[i];

		near |= (int32_t)(mine->generation - its->generation) <
			(int32_t)AHEAD_GENERATIONS / 2;
		for (size_t j = 0; j < GS_MAILBOX_RINGS; j++)
			near |= (int64_t)(mine->records[j] - its->records[j]) < (int64_t)AHEAD / 2;
	}
	return near;
}

struct gs_error *state_claim(struct state *state, const struct gs_mailbox_progress *now)
{
	if (!is_near(&state->claimed, now))
		return NULL;
	ahead_of(&state->claimed, now);
	return store(state);
}

struct gs_error *state_settle(struct state *state, const struct gs_mailbox_progress *now)
{
	state->claimed = *now;
	return store(state);
}

static struct gs_error *take_lock(struct state *state)
{
	_cleanup_free_ char *path = state_path(state->directory, "lock");

	if (!path)
		return &gs_enomem;
	if (mkdir(state->directory, 0750) && errno != EEXIST)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", state->directory);
	state->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (state->lock < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
	if (flock(state->lock, LOCK_EX | LOCK_NB))
		return gs_error_create(GS_ERROR_OTHER,
				       "%s is in use by another gpusentinel; --state DIR, or "
				       "'state = DIR' in the configuration, gives this one its own",
				       state->directory);
	return NULL;
}

static void read_boot(struct state *state)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(state->boot, sizeof(state->boot), file))
		state->boot[0] = '\0';
	state->boot[strcspn(state->boot, "\n")] = '\0';
}

static bool load(const struct state *state, struct gs_mailbox_progress *ret)
{
	_cleanup_free_ char *path = state_path(state->directory, "sequence.json");
	_cleanup_free_ char *text = malloc(FILE_MAX + 1);
	_cleanup_fclose_ FILE *file = path ? fopen(path, "re") : NULL;
	char line[512];

	if (!file || !text)
		return false;

	const char *why = state_parse(text, fread(text, 1, FILE_MAX + 1, file), state->boot,
				      state->target, ret);

	if (!why)
		return true;
	snprintf(line, sizeof(line), "%s: %s: numbers of findings begin anew", path, why);
	cli_say(line);
	return false;
}

struct gs_error *state_open(struct state *state, const char *directory, const char *target,
			    struct gs_mailbox_progress *ret, bool *has_ret)
{
	state->directory = strdup(directory);
	state->target = target;
	if (!state->directory)
		return &gs_enomem;

	struct gs_error *err = take_lock(state);

	if (err)
		return err;
	read_boot(state);
	*has_ret = load(state, ret);
	if (!*has_ret)
		*ret = (struct gs_mailbox_progress){};
	// Before the first of them is used.
	ahead_of(&state->claimed, ret);
	state->claimed.epoch += *has_ret;
	return store(state);
}

void state_deinit(struct state *state)
{
	if (state->lock >= 0)
		close(state->lock);
	free(state->directory);
	*state = (struct state){ .lock = -1 };
}
