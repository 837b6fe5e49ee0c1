// SPDX-License-Identifier: Apache-2.0
#include "tasks.h"

// The same members twice: relocated, and as the compiler alone lays them out.
#define MEMBERS                     \
	u8 head;                    \
	u32 a : 20;                 \
	u32 b : 4;                  \
	u8 between;                 \
	s16 c : 9;                  \
	s16 d : 7;                  \
	bool e : 1;                 \
	u64 f : 33;                 \
	u64 g : 31;                 \
	union {                     \
		u32 all;            \
		struct {            \
			u32 h : 3;  \
			s32 i : 29; \
		};                  \
	};                          \
	s64 j : 64;                 \
	enum { X, Y, Z } k : 2;     \
	unsigned char l : 3, m : 5; \
	u32 n : 1;

struct relocated {
	MEMBERS
} __kernel_type;

#define X X2
#define Y Y2
#define Z Z2
struct plain {
	MEMBERS
};

extern struct relocated shapes __ksym;

#define SHOW(p)                                                                                    \
	row("%u %u %d %d %u %llu %llu %u %d %lld %u %u %u %u", (p)->a, (p)->b, (p)->c, (p)->d,     \
	    (p)->e, (u64)(p)->f, (u64)(p)->g, (p)->h, (p)->i, (s64)(p)->j, (p)->k, (p)->l, (p)->m, \
	    (p)->n)

DETECTOR(shapes)
{
	SHOW(&shapes);
	SHOW((struct plain *)&shapes);
}
