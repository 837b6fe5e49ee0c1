// SPDX-License-Identifier: Apache-2.0
#include "grass/places.h"

#include <stdio.h>
#include <string.h>

void places_leave(struct places *places, uint32_t index)
{
	struct place *place = &places->list[index];

	if (place->access)
		places->fabric->detach(place->access);
	*place = (struct place){ .connection = -1 };
}

static int find(const struct places *places, const char *name)
{
	int oldest = -1;

	for (uint32_t i = 0; i < places->count; i++) {
		if (places->list[i].access && !strcmp(places->list[i].name, name))
			return (int)i;
	}
	for (uint32_t i = 0; i < places->count; i++) {
		if (!places->list[i].access)
			return (int)i;
	}
	for (uint32_t i = 0; i < places->count; i++) {
		const struct place *place = &places->list[i];

		if (place->connection < 0 &&
		    (oldest < 0 || place->broken_ns < places->list[oldest].broken_ns))
			oldest = (int)i;
	}
	return oldest;
}

int places_take(struct places *places, const char *name, char lost_ret[PLACE_NAME_MAX])
{
	int index = find(places, name);

	lost_ret[0] = '\0';
	if (index < 0)
		return -1;
	snprintf(lost_ret, PLACE_NAME_MAX, "%s", places->list[index].name);
	places_leave(places, (uint32_t)index);
	snprintf(places->list[index].name, PLACE_NAME_MAX, "%s", name);
	return index;
}
