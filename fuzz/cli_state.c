// SPDX-License-Identifier: Apache-2.0
// From where the numbers of findings go on: a file that may hold anything.
#include <stdlib.h>

#include "cli/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gs_mailbox_progress progress;

	if (state_parse((const char *)data, size, "b", "t", &progress))
		return 0;
	// Adding to what was taken never overflows.
	for (size_t i = 0; i < GS_MAILBOX_RINGS; i++) {
		if (progress.heads[i] >> 62)
			abort();
	}
	return progress.epoch == UINT32_MAX ? abort(), 0 : 0;
}
