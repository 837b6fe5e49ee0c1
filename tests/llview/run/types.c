// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

typedef struct {
	int counter;
} __kernel_type atomic_t;

typedef struct {
	u64 bits[2];
} nodemask_t;

struct zone {
	u32 pages;
	char name[4];
} __kernel_type;

struct node {
	atomic_t usage;
	struct {
		union {
			int a;
			float f;
		};
	} in;
	double d;
	struct zone zones[2];
	nodemask_t mask;
	__int128 big;
} __kernel_type;

struct packed {
	u8 a, b, c;
} __attribute__((packed));

extern struct node nodes[4] __ksym;
extern char linux_banner[] __ksym;

static const char *english[] = { "zero", "one", "two" };
static const char *const german[] = { "null", "eins" };

DETECTOR(types)
{
	struct node *node = &nodes[0];
	nodemask_t mask = node->mask;
	struct packed packed = *(struct packed *)node;

	row("%d %d %.3f %.2f", node->usage.counter, node->in.a, node->in.f, node->d);
	row("%llx %llx", (u64)node->big, (u64)(node->big >> 64));
	row("%llu %d %d %d", mask.bits[1], packed.a, packed.b, packed.c);
	row("%s %d", linux_banner, linux_banner[1]);
	row("%d", __atomic_load_n(&node->usage.counter, __ATOMIC_ACQUIRE));
}

DETECTOR(steps)
{
	struct node *node = &nodes[2];
	int i = node->usage.counter;
	struct zone *zone = node->zones;
	struct zone own[2];

	row("%d %d", node->in.a, nodes[i].in.a);
	row("%u %u", node->zones[i].pages, (zone + 1)->pages);
	for (u32 z = 0; z < 2; z++, zone++)
		own[z] = *zone;
	row("%u %u", own[0].pages, own[1].pages);
}

DETECTOR(languages)
{
	int i = nodes[0].usage.counter, which = nodes[0].in.a;

	row("%s", english[i]);
	row("%s", (which ? english : german)[i]);
}
