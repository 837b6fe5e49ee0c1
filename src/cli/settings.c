// SPDX-License-Identifier: Apache-2.0
#include "cli/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/search.h"
#include "util/cleanup.h"

static const char *name_of(const struct gs_fat *fat, size_t index)
{
	struct gs_detector_info info;

	gs_fat_detector_info(fat, index, &info);
	return info.name;
}

static const struct gs_fat *find_fat(const struct chosen *chosen, const char *detector)
{
	for (size_t i = 0; i < chosen->count; i++) {
		if (!strcmp(name_of(chosen->list[i].fat, chosen->list[i].index), detector))
			return chosen->list[i].fat;
	}
	return NULL;
}

static bool has_param(const struct gs_fat *fat, const char *name)
{
	for (size_t i = 0; i < gs_fat_param_count(fat); i++) {
		struct gs_param_info info;

		gs_fat_param_info(fat, i, &info);
		if (!strcmp(info.name, name))
			return true;
	}
	return false;
}

static struct gs_error *check_param(const struct param *param, const struct chosen *chosen)
{
	const struct gs_fat *fat = find_fat(chosen, param->detector);

	if (!fat)
		return gs_error_create(GS_ERROR_USAGE, "-p %s.%s: no detector %s is run",
				       param->detector, param->name, param->detector);
	if (!has_param(fat, param->name))
		return gs_error_create(GS_ERROR_USAGE, "-p %s.%s: detector %s has no parameter %s",
				       param->detector, param->name, param->detector, param->name);
	return NULL;
}

// A detector that does not fit this kernel, or is not wanted now, may have its values all the same.
static struct gs_error *check_entry(const struct config *config, const struct config_entry *entry,
				    const struct chosen *chosen, const struct cli *cli)
{
	const struct gs_fat *fat = find_fat(chosen, entry->section);
	_cleanup_free_ char *path = NULL;
	char line[512];

	if (fat && strcmp(entry->name, "period") != 0 && !has_param(fat, entry->name))
		return config_bad(config, entry,
				  "the detector has no such parameter; 'gpusentinel list' shows "
				  "which there are");
	if (fat)
		return NULL;

	struct gs_error *err = search_detector(cli, entry->section, &path);

	if (err)
		return config_blame(config, entry, err);
	snprintf(line, sizeof(line), "%s:%u: the detector %s is not run", config->path, entry->line,
		 entry->section);
	cli_say(line);
	return NULL;
}

// The detectors of a file share their parameters.
static bool is_for(const char *detector, const char *name, const struct gs_fat *fat,
		   const char *param)
{
	if (strcmp(name, param) != 0)
		return false;
	for (size_t i = 0; i < gs_fat_detector_count(fat); i++) {
		if (!strcmp(name_of(fat, i), detector))
			return true;
	}
	return false;
}

static uint64_t value_of(const struct params *params, const struct config *config,
			 const struct gs_fat *fat, const struct gs_param_info *info)
{
	uint64_t value = info->value;

	for (size_t i = 0; config && i < config->count; i++) {
		const struct config_entry *entry = &config->list[i];

		if (is_for(entry->section, entry->name, fat, info->name))
			value = entry->number;
	}
	for (size_t i = 0; params && i < params->count; i++) {
		const struct param *param = &params->list[i];

		if (is_for(param->detector, param->name, fat, info->name))
			value = param->value;
	}
	return value;
}

struct gs_error *settings_of(const struct params *params, const struct config *config,
			     const struct gs_fat *fat, struct gs_param_value **ret,
			     size_t *count_ret)
{
	size_t count = gs_fat_param_count(fat);

	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret)
		return &gs_enomem;
	for (size_t i = 0; i < count; i++) {
		struct gs_param_info info;

		gs_fat_param_info(fat, i, &info);
		(*ret)[i] = (struct gs_param_value){
			.name = info.name,
			.value = value_of(params, config, fat, &info),
		};
	}
	*count_ret = count;
	return NULL;
}

struct gs_error *settings_check(const struct chosen *chosen, const struct cli *cli)
{
	const struct params *params = chosen->params;
	const struct config *config = chosen->config;
	struct gs_error *err = NULL;

	for (size_t i = 0; params && i < params->count && !err; i++)
		err = check_param(&params->list[i], chosen);
	for (size_t i = 0; config && i < config->count && !err; i++) {
		bool again = i && !strcmp(config->list[i].section, config->list[i - 1].section);

		if (*config->list[i].section &&
		    (!again || find_fat(chosen, config->list[i].section)))
			err = check_entry(config, &config->list[i], chosen, cli);
	}
	return err;
}

struct gs_error *settings_apply(const struct chosen *chosen, size_t index)
{
	const struct chosen_detector *it = &chosen->list[index];
	_cleanup_free_ struct gs_param_value *values = NULL;
	size_t count = 0;
	struct gs_error *err =
		settings_of(chosen->params, chosen->config, it->fat, &values, &count);

	// Also those that seem to have it: a monitor may have changed them.
	for (size_t i = 0; i < count && !err; i++)
		err = gs_detector_set_param(it->detector, values[i].name, values[i].value);
	return err;
}
