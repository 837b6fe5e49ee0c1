// SPDX-License-Identifier: Apache-2.0
// Objects whose fields are read together.
#include <gpusentinel/detector.h>

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

struct list_head {
	struct list_head *next;
} __kernel_type;

struct blob {
	u8 bytes[64];
};

struct item {
	u64 a;
	u32 b;
	u16 c;
	u8 d;
	s8 e;
	char comm[16];
	float f;
	double g;
	struct list_head node;
	struct item *other;
	struct blob blob;
	long state;
	char name[13];
	char longer[40];
} __kernel_type;

struct item___old {
	int old_state;
} __kernel_type;

extern struct item head __ksym;

#define item_of(link) \
	((struct item *)((unsigned long)(link) - bpf_core_field_offset(struct item, node)))

static inline long state_of(const struct item *p)
{
	if (bpf_core_field_exists(p->state))
		return p->state;
	return ((const struct item___old *)p)->old_state;
}

static inline struct item *next_item(const struct item *p)
{
	struct list_head *next = p->node.next;

	return next ? item_of(next) : NULL;
}

DETECTOR(chain)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p))
		row("%llu %u %u %u %d %s %.2f %.2f %ld", p->a, p->b, p->c, p->d, p->e, p->comm,
		    p->f, p->g, state_of(p));
}

// Nothing of an object that is not there is missed.
DETECTOR(guarded)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p)) {
		struct item *other = p->other;

		if (other)
			row("%llu %u", other->a, other->b);
		if (p->d == 1 && p->b > 5)
			row("%s %llu", p->comm, p->a);
	}
}

#define COPY(size)                                               \
	do {                                                     \
		u8 copy[64] = {};                                \
		u64 sum = 0;                                     \
                                                                 \
		__builtin_memcpy(copy, p->blob.bytes, size);     \
		for (int i = 0; i < 64; i++)                     \
			sum = sum * 31 + copy[(i + shift) & 63]; \
		row("%d %llu", size, sum);                       \
	} while (0)

DETECTOR(copies)
{
	struct item *p = next_item(&head);
	u32 shift = p->b;

	COPY(1);
	COPY(3);
	COPY(7);
	COPY(8);
	COPY(9);
	row("%llu", p->a);
}

DETECTOR(more_copies)
{
	struct item *p = next_item(&head);
	u32 shift = p->b;

	COPY(16);
	COPY(22);
	row("%llu", p->a);
}

DETECTOR(large_copy)
{
	struct item *p = next_item(&head);
	u32 shift = p->b;

	COPY(64);
	row("%llu", p->a);
}

DETECTOR(strings)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p))
		row("%s %s %.3s %s", p->comm, p->name, p->name, p->longer);
}

// Two loads stay two loads, and the second comes second.
DETECTOR(twice)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p)) {
		char text[8] = "before";
		u32 first = p->b;

		text[first & 3] = 'X';
		row("%s %llu", text, p->a);
		row("%u %u", first, p->b);
	}
}

DETECTOR(ordered)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p)) {
		u32 before = READ_ONCE(p->b);
		u64 a = p->a, c = p->c;
		long state = state_of(p);

		if (READ_ONCE(p->b) == before)
			row("%u %llu %llu %ld", before, a, c, state);
	}
}

static u64 done;

DETECTOR(atomics)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p)) {
		u64 a = p->a;
		u32 b = p->b;

		__atomic_fetch_add(&done, a + b, __ATOMIC_SEQ_CST);
		row("%llu %u %u", done, p->c, p->d);
	}
}

// Of two fields only one is ever wanted.
DETECTOR(either)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p)) {
		u64 x;

		if (p->d & 1) {
			row("odd");
			x = p->a + p->c;
		} else {
			x = p->a * p->b;
		}
		row("%llu", x);
	}
}

// What an inner loop reads may change while it runs.
DETECTOR(nested)
{
	for (struct item *p = next_item(&head); p && p != &head; p = next_item(p)) {
		u64 sum = 0;

		for (struct item *q = p->other; q; q = q->other)
			sum += q->a + q->b + p->c;
		row("%llu %llu %u", sum, p->a, p->b);
	}
}

DETECTOR(indexed)
{
	struct item *p = next_item(&head);
	const u64 *words = (const u64 *)&p->blob;
	u32 count = p->b & 7;

	for (u32 i = 0; i < count; i += 4)
		row("%llu %llu %llu %llu", words[i], words[i + 1], words[i + 2], words[i + 3]);
}
