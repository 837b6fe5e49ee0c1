// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(test)
{
	asm goto("" : : : : out);
out:
	row("x");
}
// expect: 6:2: asm goto
