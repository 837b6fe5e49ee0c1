// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static u32 own[4];

DETECTOR(test)
{
	row("%u", *(own + 4));
	own[-1] = 2;
}
// warnings: -Wno-array-bounds
// expect: 8:12: out of bounds: 4 bytes at offset 16 of a static variable own of 16 bytes
// expect: 9:10: out of bounds: 4 bytes at offset -4 of a static variable own of 16 bytes
