// SPDX-License-Identifier: Apache-2.0
// A list of hosts. Nothing in it that is taken for one is anything else.
#include <stdlib.h>
#include <string.h>

#include "grass_cli/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hosts hosts = {};
	// Without a byte behind it.
	char *text = malloc(size + !size);

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	gs_error_destroy(hosts_parse(&hosts, "fuzz", text, size));
	for (size_t i = 0; i < hosts.count; i++) {
		const struct host_address *host = &hosts.list[i];

		if (!*host->name || !*host->address || !host->port || strchr(host->name, '@') ||
		    strpbrk(host->address, "[]@") || hosts_find(&hosts, host->name) != host)
			abort();
	}
	hosts_deinit(&hosts);
	free(text);
	return 0;
}
