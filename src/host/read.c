// SPDX-License-Identifier: Apache-2.0
#include "host/read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/array.h"
#include "util/cleanup.h"

enum { NAMES_MAX = 64, WORDS_MAX = 1 << 20 };

int host_read(const char *root, const char *path, char *buf, size_t size)
{
	char full[PATH_MAX];

	*buf = '\0';
	if ((size_t)snprintf(full, sizeof(full), "%s%s", root, path) >= sizeof(full))
		return -1;

	// Some files of the kernel wait for what comes.
	_cleanup_close_ int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t done = 0;
	ssize_t n = fd < 0 ? -1 : 0;

	while (fd >= 0 && done < size - 1 && (n = read(fd, buf + done, size - 1 - done)) > 0)
		done += (size_t)n;
	buf[done] = '\0';
	return n < 0 ? -1 : (int)done;
}

bool host_read_line(const char *root, const char *path, char *buf, size_t size)
{
	if (host_read(root, path, buf, size) < 0)
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

bool host_read_number(const char *root, const char *path, int64_t *ret)
{
	char line[64], *end;

	if (!host_read_line(root, path, line, sizeof(line)))
		return false;
	errno = 0;
	*ret = strtoll(line, &end, 10);
	return end != line && !*end && !errno;
}

bool host_lockdown(const char *root, char *ret, size_t size)
{
	char line[128], *begin;

	if (!host_read_line(root, "/sys/kernel/security/lockdown", line, sizeof(line)) ||
	    !(begin = strchr(line, '[')))
		return false;
	begin++;
	snprintf(ret, size, "%.*s", (int)strcspn(begin, "]"), begin);
	return true;
}

bool host_exists(const char *root, const char *path)
{
	char full[PATH_MAX];

	return (size_t)snprintf(full, sizeof(full), "%s%s", root, path) < sizeof(full) &&
	       !access(full, F_OK);
}

bool host_has_word(const char *root, const char *path, const char *word)
{
	_cleanup_free_ char *text = malloc(WORDS_MAX);
	size_t length = strlen(word);

	if (!text || host_read(root, path, text, WORDS_MAX) < 0)
		return false;
	for (const char *p = text; (p = strstr(p, word)); p += length) {
		bool begins = p == text || strchr(" \t\n", p[-1]);

		if (begins && (!p[length] || strchr(" \t\n", p[length])))
			return true;
	}
	return false;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t host_list(const char *root, const char *path, char **names_ret[])
{
	size_t count = 0, capacity = 0;
	char full[PATH_MAX];
	struct dirent *entry;

	*names_ret = NULL;
	if ((size_t)snprintf(full, sizeof(full), "%s%s", root, path) >= sizeof(full))
		return 0;

	_cleanup_closedir_ DIR *dir = opendir(full);

	while (dir && count < NAMES_MAX && (entry = readdir(dir))) {
		char *name = entry->d_name[0] == '.' ? NULL : strdup(entry->d_name);

		if (name && !gs_array_push(*names_ret, count, capacity, name))
			free(name);
	}
	if (count)
		qsort(*names_ret, count, sizeof(**names_ret), compare);
	return count;
}

void host_free_names(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}
