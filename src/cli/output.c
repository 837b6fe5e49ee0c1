// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/journal.h"
#include "cli/text.h"

// Also true if the write that found it out was an earlier one, and its errno is lost.
static bool reader_has_gone(void)
{
	struct pollfd fd = { STDOUT_FILENO, 0, 0 };

	return errno == EPIPE || (poll(&fd, 1, 0) == 1 && fd.revents & POLLERR);
}

struct gs_error *cli_flush(void)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return NULL;
	// The reader has seen what it wanted, like head(1).
	if (reader_has_gone())
		return NULL;
	return gs_error_errno(GS_ERROR_OTHER, errno ? errno : EIO, "standard output");
}

static void say(enum journal_priority priority, const char *line)
{
	// Order matters where both go to one file.
	fflush(stdout);
	flockfile(stderr);
	if (journal_takes(stderr))
		journal_begin(stderr, priority);
	else
		fprintf(stderr, "%s: ", program_invocation_short_name);
	text_print(stderr, line, strlen(line), false);
	fputc('\n', stderr);
	funlockfile(stderr);
}

void cli_say(const char *line)
{
	say(JOURNAL_INFO, line);
}

void cli_print_error(const struct gs_error *err)
{
	say(JOURNAL_ERROR, err->message);
}
