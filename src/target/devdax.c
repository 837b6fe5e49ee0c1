// SPDX-License-Identifier: Apache-2.0
#include "target/devdax.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "util/cleanup.h"
#include "util/parse.h"

static bool read_number(const char *directory, const char *name, uint64_t *ret)
{
	char path[PATH_MAX], line[64];
	const char *text = line;

	snprintf(path, sizeof(path), "%s/%s", directory, name);

	_cleanup_fclose_ FILE *file = fopen(path, "re");

	return file && fgets(line, sizeof(line), file) && gs_parse_size(&text, ret) && *ret > 0;
}

bool gs_devdax_size(const struct stat *st, uint64_t *size_ret, uint64_t *align_ret)
{
	char directory[64], link[PATH_MAX + 16], subsystem[PATH_MAX];

	if (!S_ISCHR(st->st_mode))
		return false;
	snprintf(directory, sizeof(directory), "/sys/dev/char/%u:%u", major(st->st_rdev),
		 minor(st->st_rdev));
	snprintf(link, sizeof(link), "%s/subsystem", directory);

	ssize_t length = readlink(link, subsystem, sizeof(subsystem) - 1);

	if (length < 0)
		return false;
	subsystem[length] = 0;

	const char *slash = strrchr(subsystem, '/');

	return slash && strcmp(slash, "/dax") == 0 && read_number(directory, "size", size_ret) &&
	       read_number(directory, "align", align_ret);
}
