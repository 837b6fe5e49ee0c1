// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/text.h"

struct gs_error *cli_flush(void)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return NULL;
	// The reader has seen what it wanted, like head(1).
	if (errno == EPIPE)
		return NULL;
	return gs_error_errno(GS_ERROR_OTHER, errno ? errno : EIO, "standard output");
}

void cli_print_error(const struct gs_error *err)
{
	// Order matters where both go to one file.
	fflush(stdout);
	fputs("gpusentinel: ", stderr);
	text_print(stderr, err->message, strlen(err->message), false);
	fputc('\n', stderr);
}
