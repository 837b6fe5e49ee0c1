// SPDX-License-Identifier: Apache-2.0
// The whole runtime as one translation unit, as bitcode is compiled from it.
#include "block.c"
#include "chunk.c"
#include "copy.c"
#include "map.c"
#include "fetch.c"
#include "ram.c"
#include "record.c"
#include "run.c"

#ifdef __NVPTX__
// Who runs by itself also writes the mailbox. On the CPU the engine does that.
#include "mailbox.c"
#include "metric.c"
#include "publish.c"
#include "loop.c"
#endif
