// SPDX-License-Identifier: Apache-2.0
// Records. One is built behind the finished ones and counts only once it is whole: ctx->out_used
// moves in gs_rt_end(), so a run that stops in the middle leaves no half record.
#include "rt.h"

// Value of ctx->record while a record is under construction that did not fit.
#define RECORD_LOST UINT32_MAX

#ifdef __NVPTX__
typedef uint64_t __attribute__((may_alias)) string_word;
#define word_aligned(p) (((uintptr_t)(p) & 7) == 0)
#else
typedef uint64_t __attribute__((aligned(1), may_alias)) string_word;
#define word_aligned(p) true
#endif

static bool under_construction(const struct gs_ctx *ctx)
{
	return ctx->record && ctx->record != RECORD_LOST;
}

// True if @size bytes fit at ctx->record; false also for 0 (none) and RECORD_LOST, as 32 bits never
// hold them.
static inline __attribute__((always_inline)) bool fits(const struct gs_ctx *ctx, uint32_t size)
{
	return (uint64_t)(ctx->record - 1) + 1 + size <= ctx->out_size;
}

__attribute__((noinline, cold)) void gs_rt_lose(struct gs_ctx *ctx)
{
	if (ctx->record)
		ctx->record = RECORD_LOST;
}

static inline __attribute__((always_inline)) bool make_room(struct gs_ctx *ctx, uint32_t size)
{
	return __builtin_expect(fits(ctx, size), 1) ||
	       (under_construction(ctx) && gs_rt_grow(ctx, size));
}

__attribute__((noinline)) void gs_rt_begin(struct gs_ctx *ctx, uint32_t kind, uint32_t severity,
					   uint32_t format, uint32_t nargs)
{
	uint32_t start = ctx->out_used;
	bool room =
		start <= ctx->out_size && ctx->out_size - start >= sizeof(struct gs_record_header);

	ctx->record = 0;
	if (nargs > GS_RECORD_MAX_ARGS ||
	    (!room && !gs_rt_grow(ctx, sizeof(struct gs_record_header)))) {
		ctx->record = RECORD_LOST;
		return;
	}
	start = ctx->out_used;

	struct gs_record_header *header = (struct gs_record_header *)(ctx->out + start);

	header->kind = (uint16_t)kind;
	header->nargs = (uint16_t)nargs;
	header->format = format;
	header->severity = (uint16_t)severity;
	header->time_ns = ctx->now_ns;
	header->run = ctx->run;
	ctx->record = start + (uint32_t)sizeof(*header);
}

inline __attribute__((always_inline)) void gs_rt_arg(struct gs_ctx *ctx, uint64_t value)
{
	if (__builtin_expect(!make_room(ctx, 8), 0)) {
		gs_rt_lose(ctx);
		return;
	}
	*(uint64_t *)(ctx->out + ctx->record) = value;
	ctx->record += 8;
}

// Copy up to @size bytes, until a NUL; returns how many came before it. Whole words are written:
// what lies behind the NUL in the last one is zero.
static uint32_t copy_string(uint8_t *to, uint64_t from, uint32_t size, bool *nul_ret)
{
	uint32_t i = 0;

	*nul_ret = false;
	if (word_aligned(to) && word_aligned(from)) {
		for (; size - i >= 8; i += 8) {
			uint64_t word = *(const volatile string_word *)(from + i);
			// The lowest set bit is that of the first zero byte; those above may be
			// false alarms.
			uint64_t zeros = (word - UINT64_C(0x0101010101010101)) & ~word &
					 UINT64_C(0x8080808080808080);

			if (zeros) {
				uint64_t before = (zeros & -zeros) >> 7;

				*(string_word *)(to + i) = word & (before - 1);
				*nul_ret = true;
				return i + (uint32_t)__builtin_ctzll(before) / 8;
			}
			*(string_word *)(to + i) = word;
		}
	}
	for (; i < size; i++) {
		uint8_t byte = *(const volatile uint8_t *)(from + i);

		if (!byte) {
			*nul_ret = true;
			return i;
		}
		to[i] = byte;
	}
	return i;
}

// Where a string's bytes go, and how many of them may; 0: nowhere.
static uint8_t *string_begin(struct gs_ctx *ctx, uint64_t max, uint32_t *size_ret,
			     bool *limited_ret)
{
	if (!make_room(ctx, 8)) {
		gs_rt_lose(ctx);
		return 0;
	}

	uint32_t room = (ctx->out_size - ctx->record - 8) & ~7u;

	if (max > GS_RECORD_MAX_STRING)
		max = GS_RECORD_MAX_STRING;
	*limited_ret = max > room;
	*size_ret = *limited_ret ? room : (uint32_t)max;
	return (uint8_t *)(ctx->out + ctx->record + 8);
}

// Behind the bytes of a string. @return how many it takes with its first word.
static uint32_t string_finish(uint8_t *to, uint32_t len, uint64_t flags)
{
	uint32_t padded = (len + 7) & ~7u;

	for (uint32_t i = len; i < padded; i++)
		to[i] = 0;
	*(uint64_t *)(to - 8) = len | flags;
	return 8 + padded;
}

// A string that began where too little is left begins once more, elsewhere.
static bool more_room(struct gs_ctx *ctx, uint64_t max)
{
	if (max > GS_RECORD_MAX_STRING)
		max = GS_RECORD_MAX_STRING;
	if (gs_rt_grow(ctx, 8 + (((uint32_t)max + 7) & ~7u)))
		return true;
	gs_rt_lose(ctx);
	return false;
}

// Copy a string of the kernel, @size bytes of it at most. @return how many there were.
static uint32_t copy_from_kernel(struct gs_ctx *ctx, uint8_t *to, uint64_t address, uint32_t size,
				 uint64_t *flags_ret)
{
	uint32_t len = 0;

	*flags_ret = 0;
	while (len < size) {
		uint64_t from = address + len;
		// from < address: the string runs over the end of the address space.
		uint64_t page = from < address ? 0 : gs_rt_page(ctx, from);
		uint64_t offset = from & GS_RT_PAGE_MASK;
		uint32_t chunk = (uint32_t)(GS_RT_PAGE_SIZE - offset);
		bool nul;

		if (!page) {
			gs_rt_fault(ctx, from);
			*flags_ret = GS_RECORD_STRING_FAULT;
			return len;
		}
		if (chunk > size - len)
			chunk = size - len;
		len += copy_string(to + len, page + offset, chunk, &nul);
		if (nul)
			return len;
	}
	*flags_ret = GS_RECORD_STRING_CUT;
	return len;
}

static uint32_t copy_from_local(uint8_t *to, const char *s, uint32_t size, uint64_t *flags_ret)
{
	bool nul;
	uint32_t len = copy_string(to, (uint64_t)s, size, &nul);

	*flags_ret = nul ? 0 : GS_RECORD_STRING_CUT;
	return len;
}

// @return false if the buffer ended before the string did.
static bool string_from_kernel(struct gs_ctx *ctx, uint64_t address, uint64_t max)
{
	uint32_t size;
	uint64_t flags;
	bool limited;
	uint8_t *to = string_begin(ctx, max, &size, &limited);

	if (!to)
		return true;

	uint32_t len = copy_from_kernel(ctx, to, address, size, &flags);

	if (limited && flags == GS_RECORD_STRING_CUT)
		return false;
	ctx->record += string_finish(to, len, flags);
	return true;
}

__attribute__((noinline)) void gs_rt_arg_str(struct gs_ctx *ctx, uint64_t address, uint64_t max)
{
	while (!string_from_kernel(ctx, address, max)) {
		if (!more_room(ctx, max))
			return;
	}
}

static bool string_from_local(struct gs_ctx *ctx, const char *s, uint64_t max)
{
	uint32_t size;
	uint64_t flags;
	bool limited;
	uint8_t *to = string_begin(ctx, max, &size, &limited);

	if (!to)
		return true;

	uint32_t len = copy_from_local(to, s, size, &flags);

	if (limited && flags == GS_RECORD_STRING_CUT)
		return false;
	ctx->record += string_finish(to, len, flags);
	return true;
}

__attribute__((noinline)) void gs_rt_arg_str_local(struct gs_ctx *ctx, const char *s, uint64_t max)
{
	while (!string_from_local(ctx, s, max)) {
		if (!more_room(ctx, max))
			return;
	}
}

__attribute__((noinline)) void gs_rt_end(struct gs_ctx *ctx)
{
	uint32_t size = ctx->record - ctx->out_used;

	if (under_construction(ctx) && size <= GS_RECORD_MAX_SIZE) {
		struct gs_record_header *header =
			(struct gs_record_header *)(ctx->out + ctx->out_used);

		header->size = size;
		header->flags = ctx->faults != ctx->record_faults ? GS_RECORD_F_FAULT : 0;
		ctx->out_used = ctx->record;
		if (ctx->chunk)
			((struct gs_chunk *)ctx->chunk)->used = ctx->out_used;
	} else if (ctx->record) {
		ctx->out_lost++;
	}
	ctx->record_faults = ctx->faults;
	ctx->record = 0;
}

// --- records of which it is known how long they are at most ---

__attribute__((noinline, cold)) uint64_t gs_rt_open_slow(struct gs_ctx *ctx, uint32_t size)
{
	ctx->record = 0;
	if (!gs_rt_grow(ctx, size)) {
		ctx->out_lost++;
		ctx->record_faults = ctx->faults;
		return 0;
	}
	return ctx->out + ctx->out_used + sizeof(struct gs_record_header);
}

inline __attribute__((always_inline)) uint64_t gs_rt_open(struct gs_ctx *ctx, uint32_t size)
{
	uint32_t start = ctx->out_used;

	if (__builtin_expect((uint64_t)start + size <= ctx->out_size, 1))
		return ctx->out + start + sizeof(struct gs_record_header);
	return gs_rt_open_slow(ctx, size);
}

__attribute__((noinline)) uint64_t gs_rt_put_str(struct gs_ctx *ctx, uint64_t at, uint64_t address,
						 uint64_t max)
{
	uint8_t *to = (uint8_t *)at + 8;
	uint64_t flags;
	uint32_t len = copy_from_kernel(ctx, to, address, (uint32_t)max, &flags);

	return at + string_finish(to, len, flags);
}

__attribute__((noinline)) uint64_t gs_rt_put_str_local(struct gs_ctx *ctx, uint64_t at,
						       const char *s, uint64_t max)
{
	uint8_t *to = (uint8_t *)at + 8;
	uint64_t flags;

	(void)ctx;

	uint32_t len = copy_from_local(to, s, (uint32_t)max, &flags);

	return at + string_finish(to, len, flags);
}

// @max is a constant and the words are in registers: without loops and branches but for the end.
inline __attribute__((always_inline)) uint64_t gs_rt_put_words(struct gs_ctx *ctx, uint64_t at,
							       const uint64_t *words, uint64_t max)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
	uint64_t *to = (uint64_t *)at;

	(void)ctx;
	for (uint64_t i = 0; i < max; i += 8) {
		uint64_t word = words[i / 8], left = max - i;

		if (left < 8)
			word &= (UINT64_C(1) << 8 * left) - 1;

		uint64_t zeros = (word - ones) & ~word & tops;
		uint64_t before = (zeros & -zeros) >> 7;

		if (zeros) {
			uint64_t len = i + (uint64_t)__builtin_ctzll(before) / 8;

			to[1 + i / 8] = word & (before - 1);
			to[0] = len | (len < max ? 0 : GS_RECORD_STRING_CUT);
			return at + 8 + ((len + 7) & ~UINT64_C(7));
		}
		to[1 + i / 8] = word;
	}
	to[0] = max | GS_RECORD_STRING_CUT;
	return at + 8 + ((max + 7) & ~UINT64_C(7));
}

__attribute__((noinline)) void gs_rt_close(struct gs_ctx *ctx, uint64_t at, uint64_t what,
					   uint64_t which)
{
	uint64_t *header = (uint64_t *)(ctx->out + ctx->out_used);
	uint32_t size = (uint32_t)(at - (uint64_t)header);
	uint64_t flags = ctx->faults != ctx->record_faults ? GS_RECORD_F_FAULT : 0;

	_Static_assert(__builtin_offsetof(struct gs_record_header, format) == 8 &&
			       __builtin_offsetof(struct gs_record_header, time_ns) == 16,
		       "four words");
	header[0] = size | what << 32;
	header[1] = which | flags << 48;
	header[2] = ctx->now_ns;
	header[3] = ctx->run;
	ctx->out_used += size;
	if (ctx->chunk)
		((struct gs_chunk *)ctx->chunk)->used = ctx->out_used;
	ctx->record_faults = ctx->faults;
}
