// SPDX-License-Identifier: Apache-2.0
#include "grass/fabric.h"

#include <string.h>

#include "util/array.h"

static const struct fabric_server_ops *const servers[] = {
	&fabric_shm_server,
	&fabric_verbs_server,
};

static const struct fabric_link_ops *const links[] = {
	&fabric_shm_link,
	&fabric_verbs_link,
};

const struct fabric_server_ops *fabric_server_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		if (!strcmp(servers[i]->name, name))
			return servers[i];
	}
	return NULL;
}

const struct fabric_link_ops *fabric_link_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		if (!strcmp(links[i]->name, name))
			return links[i];
	}
	return NULL;
}
