// SPDX-License-Identifier: Apache-2.0
#include "grass/places.h"

#include <stdio.h>
#include <string.h>

#include "util/clock.h"

void places_leave(struct places *places, uint32_t index)
{
	struct place *place = &places->list[index];

	if (place->access)
		places->fabric->detach(place->access);
	*place = (struct place){ .connection = -1 };
}

static unsigned int count_of(const struct places *places, const char *name)
{
	unsigned int count = 0;

	for (uint32_t i = 0; i < places->count; i++) {
		const struct place *place = &places->list[i];

		count += (place->access || place->pending) && !strcmp(place->name, name);
	}
	return count;
}

// Each is the index of a place, or negative.
struct candidates {
	int own_broken, free, broken, own_oldest, spare;
};

static struct candidates look(const struct places *places, const char *name)
{
	struct candidates ret = { -1, -1, -1, -1, -1 };

	for (uint32_t i = 0; i < places->count; i++) {
		const struct place *place = &places->list[i], *list = places->list;
		bool own = !strcmp(place->name, name);

		if (place->pending)
			continue;
		if (!place->access) {
			if (ret.free < 0)
				ret.free = (int)i;
			continue;
		}
		if (place->connection < 0 && own)
			ret.own_broken = (int)i;
		if (place->connection < 0 &&
		    (ret.broken < 0 || place->broken_ns < list[ret.broken].broken_ns))
			ret.broken = (int)i;
		if (own && (ret.own_oldest < 0 || place->since_ns < list[ret.own_oldest].since_ns))
			ret.own_oldest = (int)i;
		if (!own && count_of(places, place->name) > 1 &&
		    (ret.spare < 0 || place->since_ns > list[ret.spare].since_ns))
			ret.spare = (int)i;
	}
	return ret;
}

static int find(const struct places *places, const char *name)
{
	struct candidates may = look(places, name);
	unsigned int own = count_of(places, name);

	if (may.own_broken >= 0)
		return may.own_broken;
	if (own >= PLACES_PER_NAME)
		return may.own_oldest;
	if (may.free >= 0)
		return may.free;
	if (may.broken >= 0)
		return may.broken;
	return own ? may.own_oldest : may.spare;
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
	places->list[index].pending = true;
	places->list[index].since_ns = clock_ns(CLOCK_MONOTONIC);
	return index;
}
