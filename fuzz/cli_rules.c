// SPDX-License-Identifier: Apache-2.0
// Rules over the kernel's log: a file that somebody wrote, and messages of a hostile kernel. What follows the first byte 0
// of the input is such a message.
#include <stdlib.h>
#include <string.h>

#include "cli/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// As long as the detector `log` delivers.
#define MESSAGE_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	size_t length = end ? (size_t)(end - data) : size, left = size - length;
	char message[MESSAGE_MAX + 1] = "";
	struct rules rules = {};
	uint64_t untold;

	if (left > 1)
		memcpy(message, end + 1, left - 1 < MESSAGE_MAX ? left - 1 : MESSAGE_MAX);

	struct gs_error *err = rules_parse(&rules, (const char *)data, length, "rules");

	if (!err) {
		struct rule *rule = rules_match(&rules, message);

		if (rule && !rule_tell(rule, length, &untold))
			abort();
	}
	gs_error_destroy(err);
	rules_deinit(&rules);
	return 0;
}
