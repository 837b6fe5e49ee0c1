// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

struct gs_error *lv_spawn(char *const *argv, int *ret_status)
{
	pid_t pid;
	int err = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (err)
		return gs_error_errno(GS_ERROR_OTHER, err, "cannot run %s", argv[0]);

	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return gs_error_errno(GS_ERROR_OTHER, errno, "cannot wait for %s", argv[0]);
	}
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return NULL;
}
