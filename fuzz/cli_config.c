// SPDX-License-Identifier: Apache-2.0
// The configuration of the service: a file that somebody wrote.
#include <stdlib.h>
#include <string.h>

#include "cli/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config;
	struct gs_error *err = config_parse(&config, (const char *)data, size, "config");

	for (size_t i = 0; i < config.count; i++) {
		const struct config_entry *entry = &config.list[i];

		if (!config_find(&config, entry->section, entry->name) || !entry->line)
			abort();
	}
	if (!err && !config_same(&config, &config, "listen"))
		abort();
	gs_error_destroy(err);
	config_deinit(&config);
	return 0;
}
