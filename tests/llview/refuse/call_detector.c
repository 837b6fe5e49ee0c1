// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

DETECTOR(other)
{
	row("other");
}

DETECTOR(test)
{
	gs_run_test();
}
// expect: 11:2: recursion: gs_run_test() is still running
