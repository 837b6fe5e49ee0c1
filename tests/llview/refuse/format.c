// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	const char *format = init_task.pid ? "%d" : "%u";

	row(format, 1);
	row("%*d", 1, 2);
	row("%q", 1);
	row("%d");
	row("%d", 1, 2);
	row("%s", 1);
	row("%f", 1);
	row("%n", 1);
}
// warnings: -Wno-format -Wno-format-security -Wno-format-extra-args
// expect: 8:2: the format of row() must be a string constant
// expect: 9:2: '*' in the format
// expect: 10:2: conversion in the format is not supported
// expect: 11:2: the format has more conversions than there are arguments
// expect: 12:2: there are more arguments than the format has conversions
// expect: 13:2: argument 1 does not fit its conversion %s
// expect: 14:2: argument 1 does not fit its conversion %f
// expect: 15:2: conversion in the format is not supported
