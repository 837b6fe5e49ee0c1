// SPDX-License-Identifier: Apache-2.0
// Copying the target's memory for a monitor. A warp does a page: its lanes take one unit in turn, so that what
// they load and store lies side by side. On a CPU one thread plays all lanes.
#include "request.h"
#include "rt.h"
#include "threads.h"
#include "words.h"

enum {
	UNITS = GS_READ_PAGE / GS_READ_UNIT,
	// Units of a page that a lane has.
	EACH = UNITS / GS_READ_STRANDS,
};

#ifdef __NVPTX__
#define LANES 32

static inline uint32_t sum(uint32_t value)
{
	return (uint32_t)__nvvm_redux_sync_add((int)value, -1);
}

typedef uint64_t unit __attribute__((vector_size(16), may_alias));
#else
#define LANES 1
#define sum(value) (value)

typedef uint64_t unit __attribute__((vector_size(16), aligned(1), may_alias));
#endif

static inline uint32_t my_lane(void)
{
	return gs_my_thread() % LANES;
}

#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED
#endif

static inline unit load(uint64_t address)
{
	return *(const volatile unit *)address;
}

// One lane's units of a page; all loads first, so that they are in flight together. Returns the strand's CRC; adds the bits that
// are set anywhere.
static uint32_t copy_strand(const struct gs_crc32c *crc32c, uint64_t from, uint64_t to,
			    uint32_t units, uint32_t lane, bool verify, uint32_t *torn,
			    uint64_t *bits)
{
	uint32_t crc = GS_CRC32C_START;
	unit taken[EACH];

	UNROLLED
	for (uint32_t i = 0; i < EACH; i++) {
		uint32_t k = i * GS_READ_STRANDS + lane;

		if (k < units)
			taken[i] = load(from + k * GS_READ_UNIT);
	}
	UNROLLED
	for (uint32_t i = 0; i < EACH; i++) {
		uint32_t k = i * GS_READ_STRANDS + lane;

		if (k >= units)
			continue;
		*(volatile unit *)(to + k * GS_READ_UNIT) = taken[i];
		*bits |= taken[i][0] | taken[i][1];
		crc = gs_crc32c_word(crc32c, crc, taken[i][0]);
		crc = gs_crc32c_word(crc32c, crc, taken[i][1]);
	}
	if (verify) {
		UNROLLED
		for (uint32_t i = 0; i < EACH; i++) {
			uint32_t k = i * GS_READ_STRANDS + lane;

			if (k < units) {
				unit again = load(from + k * GS_READ_UNIT);

				*torn |= again[0] != taken[i][0] || again[1] != taken[i][1];
			}
		}
	}
	return gs_crc32c_finish(crc);
}

static void clear_units(uint64_t to, uint32_t units)
{
	const unit zero = {};

	for (uint32_t k = my_lane(); k < units; k += LANES)
		*(volatile unit *)(to + k * GS_READ_UNIT) = zero;
}

// Part of one page.
static void read_page(const struct gs_crc32c *crc32c, uint64_t from, uint64_t to, uint32_t units,
		      bool verify, gs_word *ret)
{
	uint32_t check = 0, torn = 0, flags = 0;
	uint64_t bits = 0;

	// Units that are not aligned end a GPU's context.
	if (LANES > 1 && from % GS_READ_UNIT)
		from = 0;
	if (from) {
		for (uint32_t lane = my_lane(); lane < GS_READ_STRANDS; lane += LANES)
			check += (2 * lane + 1) *
				 copy_strand(crc32c, from, to, units, lane, verify, &torn, &bits);
		check = sum(check);
		torn = sum(torn);
		flags = GS_PAGE_VALID | (torn ? GS_PAGE_TORN : 0) |
			(sum(bits != 0) ? 0 : GS_PAGE_ZERO);
	} else {
		clear_units(to, units);
	}
	if (!my_lane())
		gs_put(ret, (uint64_t)flags << 32 | check);
}

void gs_requests_copy(const struct gs_supervisor *supervisor, const struct gs_crc32c *crc32c,
		      const struct gs_piece *piece)
{
	struct gs_ctx ctx = {
		.map = supervisor->map,
		.fault_fn = supervisor->fault_fn,
		.fault_arg = supervisor->fault_arg,
		.block = supervisor->block,
		.threads = GS_THREADS,
		.blocks = 1,
		.thread_index = gs_my_thread(),
	};
	uint64_t first = piece->address / GS_READ_PAGE;
	uint64_t last = (piece->address + piece->size - 1) / GS_READ_PAGE;

	// Of page tables that have changed since, translations must not stay.
	if (ctx.map)
		gs_rt_block_load(&ctx);
	gs_wait_for_all();
	for (uint64_t i = gs_my_thread() / LANES; i <= last - first; i += GS_THREADS / LANES) {
		uint64_t page = (first + i) * GS_READ_PAGE;
		uint64_t begin = i ? 0 : piece->address % GS_READ_PAGE;
		uint64_t end = first + i == last
				       ? (piece->address + piece->size - 1) % GS_READ_PAGE + 1
				       : GS_READ_PAGE;
		uint64_t to = piece->to + (page + begin - piece->address);
		uint64_t from = 0;

		if (ctx.map)
			from = piece->space == GS_READ_PHYSICAL ? gs_rt_phys_page(&ctx, page)
								: gs_rt_page(&ctx, page);
		read_page(crc32c, from ? from + begin : 0, to,
			  (uint32_t)(end - begin) / GS_READ_UNIT, piece->flags & GS_READ_F_VERIFY,
			  (gs_word *)(piece->pages + i * sizeof(struct gs_read_page)));
	}
}
