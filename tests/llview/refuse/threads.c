// SPDX-License-Identifier: Apache-2.0
#include <gpusentinel/detector.h>

DETECTOR(periods, .period_ms = 1, .period_us = 1)
{
}

DETECTOR(slow, .period_ms = 5000000)
{
}

DETECTOR(wide, .threads = 1025, .blocks = 65)
{
}

// expect: 4: both period_ms and period_us are given
// expect: 8: a period of 5000000 ms is too long
// expect: 12: 1025 threads are too many: at most 1024
// expect: 12: 65 blocks are too many: at most 64
