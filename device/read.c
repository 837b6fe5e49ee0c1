// SPDX-License-Identifier: Apache-2.0
// Copying the target's memory for a monitor. A warp does a page: its lanes take one unit in turn, so that what
// they load and store lies side by side. On a CPU one thread takes the units in order.
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
typedef uint64_t word __attribute__((may_alias));
#else
#define LANES 1
#define sum(value) (value)

typedef uint64_t unit __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t word __attribute__((aligned(1), may_alias));
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

// As a CPU does it: word by word in order, so that the lookups of one strand do not wait for those of another. The sum over all
// strands.
static uint32_t copy_in_order(const struct gs_crc32c *crc32c, uint64_t from, uint64_t to,
			      uint32_t units, bool verify, uint32_t *torn, uint64_t *bits)
{
	volatile const word *source = (volatile const word *)from;
	volatile word *target = (volatile word *)to;
	uint32_t crc[GS_READ_STRANDS], check = 0;

	for (uint32_t strand = 0; strand < GS_READ_STRANDS; strand++)
		crc[strand] = GS_CRC32C_START;
	for (uint32_t k = 0; k < units; k++) {
		uint64_t first = source[2 * k], second = source[2 * k + 1];
		uint32_t *sum = &crc[k % GS_READ_STRANDS];

		target[2 * k] = first;
		target[2 * k + 1] = second;
		*bits |= first | second;
		*sum = gs_crc32c_word(crc32c, gs_crc32c_word(crc32c, *sum, first), second);
	}
	for (uint32_t strand = 0; strand < GS_READ_STRANDS; strand++)
		check += (2 * strand + 1) * gs_crc32c_finish(crc[strand]);
	// Nobody else writes the copy.
	for (uint32_t i = 0; verify && i < 2 * units; i++)
		*torn |= source[i] != target[i];
	return check;
}

// On a CPU, pages of zeros are told first: much of a machine's memory may be free, and is then not summed up word by word. A GPU
// has all units in registers by then.
static bool all_zero(uint64_t from, uint32_t units)
{
	unit bits = {};

	// In steps, so that a page of data is soon known for one.
	for (uint32_t k = 0; k < units && !(bits[0] | bits[1]);) {
		uint32_t end = k + GS_READ_STRANDS < units ? k + GS_READ_STRANDS : units;

		for (; k < end; k++)
			bits |= load(from + k * GS_READ_UNIT);
	}
	return !(bits[0] | bits[1]);
}

// The check of so many units of zeros.
static uint32_t zero_check(const struct gs_crc32c *crc32c, uint32_t units)
{
	// The first strands have one unit more than the others. The factors of N strands make N * N.
	uint32_t longer = units % GS_READ_STRANDS * (units % GS_READ_STRANDS);
	uint32_t others = GS_READ_STRANDS * GS_READ_STRANDS - longer;
	uint32_t crc = GS_CRC32C_START, check;

	for (uint32_t i = 0; i < units / GS_READ_STRANDS * 2; i++)
		crc = gs_crc32c_word(crc32c, crc, 0);
	check = others * gs_crc32c_finish(crc);
	crc = gs_crc32c_word(crc32c, gs_crc32c_word(crc32c, crc, 0), 0);
	return check + longer * gs_crc32c_finish(crc);
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
	if (LANES == 1 && from && all_zero(from, units)) {
		clear_units(to, units);
		check = zero_check(crc32c, units);
		torn = verify && !all_zero(from, units);
		flags = GS_PAGE_VALID | GS_PAGE_ZERO | (torn ? GS_PAGE_TORN : 0);
	} else if (from) {
		if (LANES == 1)
			check = copy_in_order(crc32c, from, to, units, verify, &torn, &bits);
		else
			check = (2 * my_lane() + 1) * copy_strand(crc32c, from, to, units,
								  my_lane(), verify, &torn, &bits);
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
