// SPDX-License-Identifier: Apache-2.0
#include "cli/chosen.h"

#include <string.h>

#include "cli/search.h"
#include "cli/session.h"
#include "cli/settings.h"
#include "util/array.h"
#include "util/cleanup.h"

// What is to run, step by step: first everything is found and opened, then added, and then comes what is to end.
struct plan {
	struct chosen *chosen;
	struct cli *cli;
	struct chosen_detector *list;
	size_t count, capacity;
	// Of chosen->list: goes on, or could not be replaced.
	bool *kept;
	// Files that were opened for this.
	struct gs_fat **opened;
	size_t opened_count, opened_capacity;
};

static const char *path_of(const struct gs_fat *fat)
{
	struct gs_detector_info info;

	gs_fat_detector_info(fat, 0, &info);
	return info.file ? info.file : "";
}

static const char *name_of(const struct chosen_detector *it)
{
	struct gs_detector_info info;

	gs_fat_detector_info(it->fat, it->index, &info);
	return info.name;
}

// A file that runs already and has not changed is the one that runs.
static struct gs_error *open_fat(struct plan *plan, const char *path, struct gs_fat **ret)
{
	struct gs_fat *fat;
	struct gs_error *err = cli_open_fat(plan->cli, path, &fat);

	if (err)
		return err;
	for (size_t i = 0; i < plan->chosen->count; i++) {
		struct gs_fat *old = plan->chosen->list[i].fat;

		if (!strcmp(path_of(old), path) && gs_fat_same(old, fat)) {
			cli_close_fat(plan->cli, fat);
			*ret = old;
			return NULL;
		}
	}
	if (!gs_array_push(plan->opened, plan->opened_count, plan->opened_capacity, fat)) {
		cli_close_fat(plan->cli, fat);
		return &gs_enomem;
	}
	*ret = fat;
	return NULL;
}

static uint32_t period_for(const struct chosen *chosen, const char *name)
{
	const struct config_entry *entry = config_find(chosen->config, name, "period");

	if (!entry)
		entry = config_find(chosen->config, "", "period");
	return chosen->period_us || !entry ? chosen->period_us : (uint32_t)entry->number;
}

static struct gs_error *want(struct plan *plan, struct gs_fat *fat, size_t index)
{
	struct chosen_detector it = { .fat = fat, .index = index, .budget = plan->cli->budget };

	it.period_us = period_for(plan->chosen, name_of(&it));
	return gs_array_push(plan->list, plan->count, plan->capacity, it) ? NULL : &gs_enomem;
}

static struct gs_error *want_all(struct plan *plan, struct gs_fat *fat)
{
	struct gs_error *err = NULL;

	for (size_t i = 0; i < gs_fat_detector_count(fat) && !err; i++)
		err = want(plan, fat, i);
	return err;
}

static struct gs_error *want_named(struct plan *plan, const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct gs_fat *fat;
	size_t index;
	struct gs_error *err = search_detector(plan->cli, name, &path);

	if (!err)
		err = open_fat(plan, path, &fat);
	if (err)
		return err;
	if (search_is_path(name))
		return want_all(plan, fat);
	err = search_in_fat(fat, name, path, &index);
	return err ? err : want(plan, fat, index);
}

// What runs of a file that cannot be replaced goes on.
static void keep(struct plan *plan, const char *path, const char *name)
{
	for (size_t i = 0; i < plan->chosen->count; i++) {
		const struct chosen_detector *it = &plan->chosen->list[i];

		if (!strcmp(path_of(it->fat), path) && (!name || !strcmp(name_of(it), name)))
			plan->kept[i] = true;
	}
}

// Only what the detector itself is to blame for may be left out.
static struct gs_error *leave_out(struct plan *plan, struct gs_error *err, const char *path,
				  const char *name)
{
	if (!err || err->code != GS_ERROR_DETECTOR)
		return err;
	cli_print_error(err);
	gs_error_destroy(err);
	keep(plan, path, name);
	return NULL;
}

static struct gs_error *want_shipped(struct plan *plan)
{
	char **paths;
	size_t count;
	struct gs_error *err = search_all(plan->cli, &paths, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count && !err; i++) {
		struct gs_fat *fat;

		err = open_fat(plan, paths[i], &fat);
		if (!err)
			err = want_all(plan, fat);
		err = leave_out(plan, err, paths[i], NULL);
	}
	search_free(paths, count);
	return err;
}

static bool runs_already(struct plan *plan, struct chosen_detector *it)
{
	for (size_t i = 0; i < plan->chosen->count; i++) {
		const struct chosen_detector *old = &plan->chosen->list[i];

		if (!plan->kept[i] && old->fat == it->fat && old->index == it->index &&
		    old->period_us == it->period_us && old->budget == it->budget) {
			plan->kept[i] = true;
			it->detector = old->detector;
			return true;
		}
	}
	return false;
}

static struct gs_error *add(struct plan *plan, struct chosen_detector *it)
{
	const struct chosen *chosen = plan->chosen;
	_cleanup_free_ struct gs_param_value *values = NULL;
	struct gs_detector_options options = { .period_us = it->period_us };
	struct gs_error *err =
		settings_of(chosen->params, chosen->config, it->fat, &values, &options.param_count);

	options.params = values;
	if (!err)
		err = cli_add(plan->cli, it->fat, it->index, &options, &it->detector);
	if (err)
		it->detector = NULL;
	return err;
}

static struct gs_error *add_all(struct plan *plan, bool shipped)
{
	struct gs_error *err = NULL;

	// First all that go on: nothing else is to take their place.
	for (size_t i = 0; i < plan->count; i++)
		runs_already(plan, &plan->list[i]);
	for (size_t i = 0; i < plan->count && !err; i++) {
		struct chosen_detector *it = &plan->list[i];

		if (it->detector)
			continue;
		err = add(plan, it);
		if (shipped)
			err = leave_out(plan, err, path_of(it->fat), name_of(it));
	}
	return err;
}

static bool is_of(const struct chosen *chosen, const struct gs_detector *detector)
{
	for (size_t i = 0; i < chosen->count; i++) {
		if (chosen->list[i].detector == detector)
			return true;
	}
	return false;
}

static bool uses(const struct chosen *chosen, const struct gs_fat *fat)
{
	for (size_t i = 0; i < chosen->count; i++) {
		if (chosen->list[i].fat == fat)
			return true;
	}
	return false;
}

static void undo(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct gs_detector *detector = plan->list[i].detector;

		if (detector && !is_of(plan->chosen, detector))
			gs_engine_remove(plan->cli->engine, detector);
	}
}

// The plan's list becomes what is there in the end: what could not be added leaves it, what had to be kept joins it.
static struct gs_error *complete(struct plan *plan)
{
	const struct chosen *chosen = plan->chosen;
	size_t planned = 0;

	for (size_t i = 0; i < plan->count; i++) {
		if (plan->list[i].detector)
			plan->list[planned++] = plan->list[i];
	}
	plan->count = planned;
	for (size_t i = 0; i < chosen->count; i++) {
		bool listed = false;

		for (size_t j = 0; j < planned; j++)
			listed |= plan->list[j].detector == chosen->list[i].detector;
		if (plan->kept[i] && !listed &&
		    !gs_array_push(plan->list, plan->count, plan->capacity, chosen->list[i]))
			return &gs_enomem;
	}
	if (!plan->count)
		return gs_error_create(GS_ERROR_DETECTOR, "none of the detectors fits this kernel");

	struct chosen to_be = *chosen;

	to_be.list = plan->list;
	to_be.count = plan->count;
	return settings_check(&to_be, plan->cli);
}

static struct gs_error *commit(struct plan *plan)
{
	struct chosen *chosen = plan->chosen;
	struct chosen old = *chosen;

	chosen->list = no_cleanup_ptr(plan->list);
	chosen->count = plan->count;
	chosen->capacity = plan->capacity;
	for (size_t i = 0; i < old.count; i++) {
		if (plan->kept[i])
			continue;
		if (chosen->leaves)
			chosen->leaves(chosen->arg, old.list[i].detector);
		gs_engine_remove(plan->cli->engine, old.list[i].detector);
	}
	for (size_t i = 0; i < old.count; i++) {
		bool again = false;

		for (size_t j = 0; j < i; j++)
			again |= old.list[j].fat == old.list[i].fat;
		if (!again && !uses(chosen, old.list[i].fat))
			cli_close_fat(plan->cli, old.list[i].fat);
	}

	struct gs_error *err = NULL;

	// What is new has them already.
	for (size_t i = 0; i < chosen->count && !err; i++) {
		if (is_of(&old, chosen->list[i].detector))
			err = settings_apply(chosen, i);
	}
	free(old.list);
	return err;
}

struct gs_error *chosen_set(struct chosen *chosen, struct cli *cli, char *const *names,
			    size_t count)
{
	struct plan plan = { .chosen = chosen, .cli = cli };
	struct gs_error *err = NULL;

	plan.kept = calloc(chosen->count + 1, sizeof(*plan.kept));
	if (!plan.kept)
		err = &gs_enomem;
	else if (!count)
		err = want_shipped(&plan);
	for (size_t i = 0; i < count && !err; i++)
		err = want_named(&plan, names[i]);
	if (!err)
		err = add_all(&plan, !count);
	if (!err)
		err = complete(&plan);
	if (err)
		undo(&plan);
	else
		err = commit(&plan);
	for (size_t i = 0; i < plan.opened_count; i++) {
		if (!uses(chosen, plan.opened[i]))
			cli_close_fat(cli, plan.opened[i]);
	}
	free(plan.opened);
	free(plan.list);
	free(plan.kept);
	return err;
}

void chosen_deinit(struct chosen *chosen)
{
	free(chosen->list);
	*chosen = (struct chosen){};
}

struct gs_error *chosen_run_once(const struct chosen *chosen, gs_record_fn *fn, void *arg)
{
	struct gs_error *first = NULL;

	for (size_t i = 0; i < chosen->count; i++) {
		struct gs_error *err = gs_detector_run(chosen->list[i].detector, fn, arg);

		if (err && first) {
			cli_print_error(err);
			gs_error_destroy(err);
		} else if (err) {
			first = err;
		}
	}
	return first;
}
