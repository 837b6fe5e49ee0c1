// SPDX-License-Identifier: Apache-2.0
#include "find.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "llview.h"

// `dir/file` if it exists, as new memory.
static char *existing(const char *dir, const char *file)
{
	char *path = lv_format("%s/%s", dir, file);

	if (access(path, R_OK) == 0) {
		free(path);
		return lv_format("%s", dir);
	}
	free(path);
	return NULL;
}

static char *beside_program(const char *relative)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length < 0)
		return NULL;
	self[length] = 0;
	return lv_format("%s/%s", dirname(self), relative);
}

char *lv_find_include(void)
{
	static const char header[] = "gpusentinel/detector.h";
	_cleanup_free_ char *installed = beside_program(LV_INCLUDEDIR_RELATIVE);
	_cleanup_free_ char *build_marker = beside_program("../device/rt.x86_64.bc");

	// In the build tree the sources' own headers count, not those of an older installation.
	if (build_marker && access(build_marker, R_OK) == 0) {
		char *found = existing(LV_SOURCE_INCLUDE, header);

		if (found)
			return found;
	}

	char *found = installed ? existing(installed, header) : NULL;

	if (!found)
		found = existing(LV_INCLUDEDIR, header);
	return found ? found : existing(LV_SOURCE_INCLUDE, header);
}

char *lv_find_runtime(const char *option)
{
	static const char bitcode[] = "rt.x86_64.bc";

	if (option)
		return lv_format("%s", option);

	const char *env = getenv("GPUSENTINEL_RUNTIME");

	if (env && env[0])
		return lv_format("%s", env);

	_cleanup_free_ char *build = beside_program("../device");
	_cleanup_free_ char *prefix = beside_program(LV_RUNTIMEDIR_RELATIVE);
	char *found = build ? existing(build, bitcode) : NULL;

	if (!found && prefix)
		found = existing(prefix, bitcode);
	return found ? found : existing(LV_RUNTIMEDIR, bitcode);
}
