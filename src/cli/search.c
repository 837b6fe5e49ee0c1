// SPDX-License-Identifier: Apache-2.0
#include "cli/search.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/array.h"
#include "util/cleanup.h"

static bool is_directory(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len >= n && !strcmp(s + len - n, suffix);
}

// A directory at @p relative to this program's own, if there is one and the program's path ends in @p program.
static char *beside(const char *program, const char *relative)
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (len < 0)
		return NULL;
	exe[len] = 0;
	if (!has_suffix(exe, program))
		return NULL;
	*strrchr(exe, '/') = 0;

	char *path;

	if (asprintf(&path, "%s/%s", exe, relative) < 0)
		return NULL;
	if (is_directory(path))
		return path;
	free(path);
	return NULL;
}

// Detectors of the build tree or the installation that this program lies in, NULL if it lies elsewhere.
static char *own_detectors(void)
{
	char *path = beside("/src/cli/gpusentinel", "../../detectors");

	return path ? path : beside("/gpusentinel", GS_LIB_DIR_RELATIVE "/detectors");
}

struct gs_error *search_directory(const struct cli *cli, char **ret)
{
	const char *given = cli->detectors, *by = "--detectors";

	if (!given) {
		// The directory's files are run as code: not from the environment of a setuid call.
		given = secure_getenv("GPUSENTINEL_DETECTORS");
		by = "GPUSENTINEL_DETECTORS";
	}
	if (given && !*given)
		given = NULL;
	if (given && !is_directory(given)) {
		return gs_error_create(GS_ERROR_DETECTOR, "%s: %s is not a directory", by, given);
	}
	if (!given) {
		*ret = own_detectors();
		if (*ret)
			return NULL;
		given = GS_DETECTOR_DIR;
	}
	*ret = strdup(given);
	return *ret ? NULL : &gs_enomem;
}

struct gs_error *search_rules(const struct cli *cli, char **ret)
{
	_cleanup_free_ char *dir = NULL, *path = NULL;
	struct gs_error *err = search_directory(cli, &dir);

	if (err)
		return err;
	if (asprintf(&path, "%s/log.rules", dir) < 0) {
		path = NULL;
		return &gs_enomem;
	}
	if (!access(path, F_OK)) {
		*ret = no_cleanup_ptr(path);
		return NULL;
	}

	_cleanup_free_ char *data = beside("/gpusentinel", GS_DATA_DIR_RELATIVE);

	if (asprintf(ret, "%s/log.rules", data ? data : GS_DATA_DIR) < 0) {
		*ret = NULL;
		return &gs_enomem;
	}
	return NULL;
}

bool search_is_path(const char *name)
{
	return strchr(name, '/') || has_suffix(name, ".so");
}

struct gs_error *search_detector(const struct cli *cli, const char *name, char **ret)
{
	if (search_is_path(name)) {
		*ret = strdup(name);
		return *ret ? NULL : &gs_enomem;
	}

	_cleanup_free_ char *dir = NULL;
	struct gs_error *err = search_directory(cli, &dir);

	if (err)
		return err;

	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s.so", dir, name) < 0) {
		path = NULL;
		return &gs_enomem;
	}
	if (access(path, F_OK)) {
		return gs_error_create(GS_ERROR_DETECTOR,
				       "no detector '%s' in %s; 'gpusentinel list' shows what is "
				       "there, --detectors DIR looks elsewhere",
				       name, dir);
	}
	*ret = no_cleanup_ptr(path);
	return NULL;
}

struct gs_error *search_in_fat(const struct gs_fat *fat, const char *name, const char *path,
			       size_t *ret)
{
	size_t count = gs_fat_detector_count(fat);

	for (size_t i = 0; i < count; i++) {
		struct gs_detector_info info;

		gs_fat_detector_info(fat, i, &info);
		if (!strcmp(info.name, name)) {
			*ret = i;
			return NULL;
		}
	}
	return gs_error_create(GS_ERROR_DETECTOR, "%s holds no detector named '%s'", path, name);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void search_free(char **paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(paths[i]);
	free(paths);
}

struct gs_error *search_all(const struct cli *cli, char ***ret, size_t *count_ret)
{
	_cleanup_free_ char *dir = NULL;
	struct gs_error *err = search_directory(cli, &dir);

	if (err)
		return err;

	_cleanup_closedir_ DIR *d = opendir(dir);

	if (!d) {
		return gs_error_create(GS_ERROR_DETECTOR,
				       "detectors: %s: %s; --detectors DIR says where they are",
				       dir, strerror(errno));
	}

	char **paths = NULL;
	size_t count = 0, capacity = 0;
	struct dirent *entry;

	while ((entry = readdir(d))) {
		char *path;

		if (entry->d_name[0] == '.' || !has_suffix(entry->d_name, ".so"))
			continue;
		if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0) {
			search_free(paths, count);
			return &gs_enomem;
		}
		if (!gs_array_push(paths, count, capacity, path)) {
			free(path);
			search_free(paths, count);
			return &gs_enomem;
		}
	}
	if (!count) {
		free(paths);
		return gs_error_create(GS_ERROR_DETECTOR,
				       "no detectors in %s; --detectors DIR says where they are",
				       dir);
	}
	qsort(paths, count, sizeof(*paths), compare_paths);
	*ret = paths;
	*count_ret = count;
	return NULL;
}
