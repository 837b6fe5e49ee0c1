// SPDX-License-Identifier: Apache-2.0
#include <gpusentinel/detector.h>

PARAM(limit, 10, "what is too much");

static u64 twice(const u64 *p)
{
	return *p * 2;
}

DETECTOR(test)
{
	row("%llu", twice(&limit));
}
// expect: 13:14: limit is a parameter: nothing but its value can be taken
