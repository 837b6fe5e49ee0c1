// SPDX-License-Identifier: Apache-2.0
#include "../run/tasks.h"

static const struct gs_detector_def gs_def_test
	__attribute__((section(".gs.detectors"), used)) = { .name = "test" };
// expect: no DETECTOR() in this file
