// SPDX-License-Identifier: Apache-2.0
#include "cli/chosen.h"

#include "cli/search.h"
#include "cli/session.h"
#include "util/array.h"
#include "util/cleanup.h"

void chosen_deinit(struct chosen *chosen)
{
	free(chosen->list);
	*chosen = (struct chosen){};
}

static struct gs_error *add_detector(struct chosen *chosen, struct cli *cli, struct gs_fat *fat,
				     size_t index, uint32_t period_us)
{
	struct gs_detector *detector;
	struct gs_error *err = cli_add(cli, fat, index, period_us, &detector);

	if (err)
		return err;
	if (!gs_array_push(chosen->list, chosen->count, chosen->capacity, detector))
		return &gs_enomem;
	return NULL;
}

struct gs_error *chosen_add_named(struct chosen *chosen, struct cli *cli, const char *name,
				  uint32_t period_us)
{
	_cleanup_free_ char *path = NULL;
	struct gs_fat *fat;
	size_t index;
	struct gs_error *err = search_detector(cli, name, &path);

	if (!err)
		err = cli_open_fat(cli, path, &fat);
	if (err)
		return err;
	if (!search_is_path(name)) {
		err = search_in_fat(fat, name, path, &index);
		return err ? err : add_detector(chosen, cli, fat, index, period_us);
	}
	for (size_t i = 0; i < gs_fat_detector_count(fat) && !err; i++)
		err = add_detector(chosen, cli, fat, i, period_us);
	return err;
}

struct gs_error *chosen_add_shipped(struct chosen *chosen, struct cli *cli, uint32_t period_us)
{
	char **paths;
	size_t count;
	struct gs_error *err = search_all(cli, &paths, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		struct gs_fat *fat;

		err = cli_open_fat(cli, paths[i], &fat);
		for (size_t j = 0; !err && j < gs_fat_detector_count(fat); j++)
			err = add_detector(chosen, cli, fat, j, period_us);
		if (!err)
			continue;
		if (err->code != GS_ERROR_DETECTOR)
			break;
		cli_print_error(err);
		gs_error_destroy(err);
		err = NULL;
	}
	search_free(paths, count);
	if (!err && !chosen->count)
		err = gs_error_create(GS_ERROR_DETECTOR, "none of the detectors fits this kernel");
	return err;
}

struct gs_error *chosen_run_once(const struct chosen *chosen, gs_record_fn *fn, void *arg)
{
	struct gs_error *first = NULL;

	for (size_t i = 0; i < chosen->count; i++) {
		struct gs_error *err = gs_detector_run(chosen->list[i], fn, arg);

		if (err && first) {
			cli_print_error(err);
			gs_error_destroy(err);
		} else if (err) {
			first = err;
		}
	}
	return first;
}
