// SPDX-License-Identifier: Apache-2.0
#include "cli/params.h"

#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

void params_deinit(struct params *params)
{
	for (size_t i = 0; i < params->count; i++) {
		free(params->list[i].detector);
		free(params->list[i].name);
	}
	free(params->list);
	*params = (struct params){};
}

static bool parse_value(const char *text, uint64_t *ret)
{
	bool hex = gs_parse_skip(&text, "0x");

	return (hex ? gs_parse_hex(&text, ret) : gs_parse_decimal(&text, ret)) && !*text;
}

struct gs_error *params_parse(struct params *params, const char *text)
{
	const char *dot = strchr(text, '.'), *equals = dot ? strchr(dot, '=') : NULL;
	struct param param = {};

	if (!equals || dot == text || equals == dot + 1)
		return gs_error_create(GS_ERROR_USAGE,
				       "-p takes DETECTOR.NAME=VALUE, e.g. memory.warn_percent=20, "
				       "not '%s'",
				       text);
	if (!parse_value(equals + 1, &param.value))
		return gs_error_create(GS_ERROR_USAGE,
				       "-p %.*s takes a number from 0 to 2^64-1, decimal or 0x..., "
				       "not '%s'",
				       (int)(equals - text), text, equals + 1);
	param.detector = strndup(text, (size_t)(dot - text));
	param.name = strndup(dot + 1, (size_t)(equals - dot - 1));
	if (param.detector && param.name &&
	    gs_array_push(params->list, params->count, params->capacity, param))
		return NULL;
	free(param.detector);
	free(param.name);
	return &gs_enomem;
}
