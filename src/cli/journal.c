// SPDX-License-Identifier: Apache-2.0
#include "cli/journal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool journal_takes(FILE *file)
{
	// "DEVICE:INODE" of the socket; who has redirected the output has another one, but still the variable.
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	char own[64];

	if (!stream || fstat(fileno(file), &st))
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(stream, own);
}

void journal_begin(FILE *file, enum journal_priority priority)
{
	fprintf(file, "<%d>", priority);
}

enum journal_priority journal_priority(enum gs_severity severity, bool closed)
{
	if (closed)
		return JOURNAL_NOTICE;
	switch (severity) {
	case GS_WARNING:
		return JOURNAL_WARNING;
	case GS_ERROR:
		return JOURNAL_ERROR;
	case GS_CRITICAL:
		return JOURNAL_CRITICAL;
	default:
		return JOURNAL_INFO;
	}
}
