// SPDX-License-Identifier: Apache-2.0
// A fat detector made by hand, with the host's compiler: what engine_run.c runs.
#include "rt.c"

#include <stddef.h>

#include <gpusentinel/fat.h>

#define DIRECT UINT64_C(0xffff888000000000)

#define ENTRY __attribute__((visibility("default")))

ENTRY void gs_run_counter(struct gs_ctx *ctx);
ENTRY void gs_run_endless(struct gs_ctx *ctx);
ENTRY void gs_run_flood(struct gs_ctx *ctx);
ENTRY void gs_run_faulty(struct gs_ctx *ctx);
ENTRY void gs_run_reader(struct gs_ctx *ctx);
ENTRY void gs_run_parallel(struct gs_ctx *ctx);
ENTRY void gs_run_limited(struct gs_ctx *ctx);

enum {
	FORMAT_COUNTER,
	FORMAT_FLOOD,
	FORMAT_FAULTY,
	FORMAT_READER,
	FORMAT_PARALLEL,
	FORMAT_LIMITED
};
enum { SITE_NONE, SITE_LOOP };

static uint64_t runs;
static uint64_t floods = 100;

void gs_run_counter(struct gs_ctx *ctx)
{
	gs_rt_begin_run(ctx);
	runs++;
	gs_rt_begin(ctx, GS_RECORD_ROW, 0, FORMAT_COUNTER, 2);
	gs_rt_arg(ctx, runs);
	gs_rt_arg(ctx, gs_rt_run(ctx));
	gs_rt_end(ctx);
}

void gs_run_endless(struct gs_ctx *ctx)
{
	gs_rt_begin_run(ctx);
	while (gs_rt_edge(ctx, SITE_LOOP))
		;
}

// More than fits in the smallest buffer.
void gs_run_flood(struct gs_ctx *ctx)
{
	gs_rt_begin_run(ctx);
	floods++;
	for (uint32_t i = 0; i < 5000; i++) {
		gs_rt_begin(ctx, GS_RECORD_ROW, 0, FORMAT_FLOOD, 2);
		gs_rt_arg(ctx, i);
		gs_rt_arg(ctx, floods);
		gs_rt_end(ctx);
	}
}

void gs_run_faulty(struct gs_ctx *ctx)
{
	gs_rt_begin_run(ctx);

	uint64_t value = gs_rt_load64(ctx, 0x18) + gs_rt_load32(ctx, 0x20);

	gs_rt_begin(ctx, GS_RECORD_ROW, 0, FORMAT_FAULTY, 1);
	gs_rt_arg(ctx, value);
	gs_rt_end(ctx);
}

void gs_run_reader(struct gs_ctx *ctx)
{
	const uint64_t *slots = (const uint64_t *)ctx->slots;

	gs_rt_begin_run(ctx);
	gs_rt_begin(ctx, GS_RECORD_FINDING, GS_WARNING, FORMAT_READER, 2);
	gs_rt_arg_str(ctx, DIRECT + 4096, 64);
	gs_rt_arg(ctx, slots[0]);
	gs_rt_end(ctx);
}

// The same rows, whoever writes which; then a loop that one thread of 64 cannot finish, but all together can.
void gs_run_parallel(struct gs_ctx *ctx)
{
	gs_rt_begin_run(ctx);
	for (uint64_t i = gs_rt_thread_index(ctx); i < 200; i += gs_rt_thread_count(ctx)) {
		gs_rt_begin(ctx, GS_RECORD_ROW, 0, FORMAT_PARALLEL, 2);
		gs_rt_arg(ctx, i * 77 % 200);
		gs_rt_arg(ctx, gs_rt_run(ctx));
		gs_rt_end(ctx);
	}
	gs_rt_block_barrier(ctx);
	for (uint64_t i = gs_rt_thread_index(ctx); i < 1000; i += gs_rt_thread_count(ctx)) {
		if (!gs_rt_edge(ctx, SITE_LOOP))
			break;
	}
	gs_rt_end_run(ctx);
}

void gs_run_limited(struct gs_ctx *ctx)
{
	const volatile uint64_t *slots = (const uint64_t *)ctx->slots;

	gs_rt_begin_run(ctx);
	gs_rt_begin(ctx, GS_RECORD_ROW, 0, FORMAT_LIMITED, 1);
	gs_rt_arg(ctx, slots[1]);
	gs_rt_end(ctx);
	gs_rt_end_run(ctx);
}

// Never compiled: what stands in for a driver runs the functions above.
__attribute__((section(GS_FAT_PTX_SECTION), used)) static const char ptx[] = "// sample";

struct strings {
	char empty[1], file[16], counter[8], counter_fn[16], endless[8], endless_fn[16], flood[8],
		flood_fn[16], faulty[8], faulty_fn[16], reader[8], reader_fn[16],
		counter_format[16], flood_format[16], faulty_format[16], reader_format[16],
		symbol[16], parallel[16], parallel_fn[16], parallel_format[16], limited[16],
		limited_fn[16], limited_format[16], limit[16], description[16];
};

struct manifest {
	struct gs_fat_header header;
	struct gs_fat_detector detectors[7];
	struct gs_fat_slot slots[2];
	struct gs_fat_format formats[6];
	struct gs_fat_site sites[2];
	struct strings strings;
};

#define STRING(name) offsetof(struct strings, name)
#define TABLE(table, entries) { offsetof(struct manifest, table), entries }
#define DETECTOR(id)                   \
	{ .name = STRING(id),          \
	  .function = STRING(id##_fn), \
	  .period_us = 5000,           \
	  .threads = 1,                \
	  .blocks = 1 }
#define FORMAT(id, is, items) { .format = STRING(id##_format), .kind = is, .nargs = items }

__attribute__((section(GS_FAT_SECTION), used, aligned(8))) static const struct manifest manifest = {
	.header = {
		.magic = { 'G', 'S', 'F', 'A', 'T', '\r', '\n', '\032' },
		.version = GS_FAT_VERSION,
		.size = sizeof(struct manifest),
		.detectors = TABLE(detectors, 7),
		.slots = TABLE(slots, 2),
		.formats = TABLE(formats, 6),
		.sites = TABLE(sites, 2),
		.loads = TABLE(sites, 0),
		.strings = TABLE(strings, sizeof(struct strings)),
	},
	.detectors = {
		DETECTOR(counter), DETECTOR(endless), DETECTOR(flood), DETECTOR(faulty),
		DETECTOR(reader),
		{ .name = STRING(parallel), .function = STRING(parallel_fn), .period_us = 5000,
		  .threads = 32, .blocks = 2, .budget = 50 },
		DETECTOR(limited),
	},
	.slots = {
		{ .kind = GS_SLOT_SYMBOL, .name = STRING(symbol) },
		{ .kind = GS_SLOT_PARAM, .name = STRING(limit), .path = STRING(description),
		  .local_value = 7 },
	},
	.formats = {
		FORMAT(counter, GS_RECORD_ROW, 2),
		FORMAT(flood, GS_RECORD_ROW, 2),
		FORMAT(faulty, GS_RECORD_ROW, 1),
		FORMAT(reader, GS_RECORD_FINDING, 2),
		FORMAT(parallel, GS_RECORD_ROW, 2),
		FORMAT(limited, GS_RECORD_ROW, 1),
	},
	.sites = { { .file = STRING(file) }, { .file = STRING(file), .line = 40 } },
	.strings = {
		.file = "sample.c",
		.counter = "counter", .counter_fn = "gs_run_counter",
		.endless = "endless", .endless_fn = "gs_run_endless",
		.flood = "flood", .flood_fn = "gs_run_flood",
		.faulty = "faulty", .faulty_fn = "gs_run_faulty",
		.reader = "reader", .reader_fn = "gs_run_reader",
		.counter_format = "n=%lu run=%lu",
		.flood_format = "i=%lu n=%lu",
		.faulty_format = "value=%lu",
		.reader_format = "s=%s sym=%pS",
		.symbol = "init_task",
		.parallel = "parallel", .parallel_fn = "gs_run_parallel",
		.parallel_format = "i=%lu run=%lu",
		.limited = "limited", .limited_fn = "gs_run_limited",
		.limited_format = "limit=%lu", .limit = "limit", .description = "how much",
	},
};
