// SPDX-License-Identifier: Apache-2.0
// The whole runtime as one translation unit, as bitcode is compiled from it.
#include "copy.c"
#include "map.c"
#include "record.c"
#include "run.c"
