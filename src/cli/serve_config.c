// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"

// What @name says, if the command line has left it open.
static void take(const struct config *config, const char *name, const char **to)
{
	const struct config_entry *entry = config_find(config, "", name);

	if (!*to && entry)
		*to = entry->value;
}

static void take_flag(const struct config *config, const char *name, bool *to)
{
	const struct config_entry *entry = config_find(config, "", name);

	if (entry && entry->number)
		*to = true;
}

// What can change while it runs. The command line's stays.
static void take_changing(struct serve *serve, const struct config *config)
{
	const struct config_entry *budget = config_find(config, "", "budget");
	struct cli *cli = serve->running.cli;

	cli->detectors = serve->given.detectors;
	take(config, "detector-directory", &cli->detectors);
	serve->running.rules = serve->given.rules;
	take(config, "rules", &serve->running.rules);
	cli->budget = serve->given.budget || !budget ? serve->given.budget : budget->number;
}

static struct gs_error *take_listen(struct serve *serve, const struct config *config)
{
	const struct config_entry *entry = NULL;

	if (serve->listen_count)
		return NULL;
	while ((entry = config_next(config, "", "listen", entry))) {
		if (serve->listen_count == SERVE_LISTEN_MAX)
			return config_bad(config, entry, "may be given %d times", SERVE_LISTEN_MAX);
		serve->listen[serve->listen_count++] = entry->value;
	}
	return NULL;
}

struct gs_error *serve_configure(struct serve *serve)
{
	struct cli *cli = serve->running.cli;
	const struct config *config = &serve->config;

	serve->given.detectors = cli->detectors;
	serve->given.rules = serve->running.rules;
	serve->given.budget = cli->budget;
	if (!serve->config_path)
		return NULL;

	struct gs_error *err = config_load(&serve->config, serve->config_path);

	if (err)
		return err;
	take(config, "target", &cli->target_spec);
	take(config, "layout", &cli->layout);
	take(config, "system-map", &cli->system_map);
	take(config, "engine", &cli->engine_name);
	take(config, "keys", &serve->keys);
	take(config, "name", &serve->name);
	take(config, "fabric", &serve->fabric);
	take(config, "device", &serve->device);
	take(config, "state", &serve->state_directory);
	take_flag(config, "json", &cli->json);
	take_flag(config, "quiet", &serve->running.quiet);
	take_flag(config, "rows", &serve->running.stream.rows);
	take_flag(config, "metrics", &serve->running.stream.metrics);
	take_changing(serve, config);
	serve->running.config = config;
	return take_listen(serve, config);
}

void serve_free_names(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static bool add_name(const char *text, size_t length, char ***names, size_t *count,
		     size_t *capacity)
{
	char *name = strndup(text, length);

	if (name && gs_array_push(*names, *count, *capacity, name))
		return true;
	free(name);
	return false;
}

static bool add_words(const char *text, char ***names, size_t *count, size_t *capacity)
{
	static const char space[] = " \t,";

	for (const char *p = text + strspn(text, space); *p; p += strspn(p, space)) {
		size_t length = strcspn(p, space);

		if (!add_name(p, length, names, count, capacity))
			return false;
		p += length;
	}
	return true;
}

struct gs_error *serve_names(const struct serve *serve, const struct config *config, char ***ret,
			     size_t *count_ret)
{
	const struct config_entry *entry = NULL;
	size_t capacity = 0;
	bool enough = true;

	*ret = NULL;
	*count_ret = 0;
	for (size_t i = 0; i < serve->operand_count && enough; i++)
		enough = add_name(serve->operands[i], strlen(serve->operands[i]), ret, count_ret,
				  &capacity);
	while (!serve->operand_count && enough &&
	       (entry = config_next(config, "", "detectors", entry)))
		enough = !strcmp(entry->value, "all") ||
			 add_words(entry->value, ret, count_ret, &capacity);
	if (enough)
		return NULL;
	serve_free_names(*ret, *count_ret);
	return &gs_enomem;
}

// What the new configuration says of things that are settled at the start.
static void tell_settled(const struct serve *serve, const struct config *config)
{
	const char *name;
	bool restart;

	for (size_t i = 0; (name = config_key(i, &restart)); i++) {
		char line[256];

		if (!restart || config_same(&serve->config, config, name))
			continue;
		snprintf(line, sizeof(line), "%s: '%s' has changed, which takes a restart",
			 config->path, name);
		cli_say(line);
	}
}

static void free_config(struct config *config)
{
	if (config)
		config_deinit(config);
	free(config);
}

static struct gs_error *reload(struct serve *serve, struct config *config)
{
	char **names;
	size_t count;
	struct gs_error *err = config_load(config, serve->config_path);

	if (!err)
		err = serve_names(serve, config, &names, &count);
	if (err)
		return err;
	take_changing(serve, config);
	err = running_change(&serve->running, config, names, count);
	serve_free_names(names, count);
	if (err)
		take_changing(serve, serve->running.config);
	return err;
}

bool serve_reload(struct serve *serve)
{
	struct config *config = calloc(1, sizeof(*config));
	struct gs_error *err = config ? reload(serve, config) : &gs_enomem;
	char line[256];

	if (err) {
		free_config(config);
		err = gs_error_prefix(err, "reload refused, all goes on as before");
		cli_print_error(err);
		gs_error_destroy(err);
		return false;
	}
	tell_settled(serve, config);
	free_config(serve->reloaded);
	serve->reloaded = config;
	snprintf(line, sizeof(line), "%s is read anew: %zu detectors run", serve->config_path,
		 serve->running.chosen.count);
	cli_say(line);
	return true;
}

void serve_deinit(struct serve *serve)
{
	running_deinit(&serve->running);
	state_deinit(&serve->state);
	free_config(serve->reloaded);
	config_deinit(&serve->config);
}
