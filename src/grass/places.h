/* SPDX-License-Identifier: Apache-2.0 */
// Who of the monitors has which place in the mailbox.
#ifndef GS_GRASS_PLACES_H
#define GS_GRASS_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include <gpusentinel/mailbox.h>

#include "grass/fabric.h"

// Bytes of a monitor's name with the final NUL.
#define PLACE_NAME_MAX 64
// The last place of a mailbox is for programs on the watched side.
#define PLACES_MAX (GS_MAILBOX_MONITORS - 1)
// Of one name at a time: a monitor that watches, and programs that somebody runs beside it.
#define PLACES_PER_NAME 4

struct place {
	char name[PLACE_NAME_MAX];
	// Somebody is being let in, and has no access yet.
	bool pending;
	// NULL, and nobody pending: the place is free.
	struct fabric_session *access;
	// When it was taken.
	uint64_t since_ns;
	// The connection that it came by; negative: broken, since @ref broken_ns.
	int connection;
	uint64_t broken_ns;
};

struct places {
	const struct fabric_server_ops *fabric;
	uint32_t count;
	struct place list[PLACES_MAX];
};

// Of a mailbox, for monitors.
static inline uint32_t places_count(const struct gs_mailbox_header *header)
{
	uint32_t count = header->monitor_count ? header->monitor_count - 1 : 0;

	return count < PLACES_MAX ? count : PLACES_MAX;
}

// A place for the monitor @name, which nobody has access to any more; it is pending. One that its name had and whose
// connection is broken, else a free one unless the name has PLACES_PER_NAME, else that of whoever has been disconnected for
// longest, else the oldest of its name, or the newest of a name that has several. @lost_ret: the name of who loses it, or
// empty. Negative: all are taken by monitors that are connected.
int places_take(struct places *places, const char *name, char lost_ret[PLACE_NAME_MAX]);

// The place is left.
void places_leave(struct places *places, uint32_t index);

#endif
