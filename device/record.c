// SPDX-License-Identifier: Apache-2.0
// Records. One is built behind the finished ones and counts only once it is whole: ctx->out_used moves in
// gs_rt_end(), so a run that stops in the middle leaves no half record.
#include "rt.h"

// Value of ctx->record while a record is under construction that did not fit.
#define RECORD_LOST UINT32_MAX

static struct gs_record_header *record(struct gs_ctx *ctx)
{
	if (!ctx->record || ctx->record == RECORD_LOST)
		return 0;
	return (struct gs_record_header *)(ctx->out + (ctx->record - 1));
}

// Bytes that the record may still grow by; a multiple of 8.
static uint32_t room(const struct gs_ctx *ctx, const struct gs_record_header *header)
{
	uint32_t in_buffer = ctx->out_size - (ctx->record - 1);
	uint32_t limit = in_buffer < GS_RECORD_MAX_SIZE ? in_buffer : GS_RECORD_MAX_SIZE;

	return limit > header->size ? (limit - header->size) & ~7u : 0;
}

__attribute__((noinline)) void gs_rt_begin(struct gs_ctx *ctx, uint32_t kind, uint32_t severity,
					   uint32_t format, uint32_t nargs)
{
	uint32_t start = ctx->out_used;

	ctx->record = RECORD_LOST;
	if (start > ctx->out_size || ctx->out_size - start < sizeof(struct gs_record_header))
		return;
	if (nargs > GS_RECORD_MAX_ARGS)
		return;

	struct gs_record_header *header = (struct gs_record_header *)(ctx->out + start);

	header->size = sizeof(*header);
	header->kind = (uint16_t)kind;
	header->nargs = (uint16_t)nargs;
	header->format = format;
	header->severity = (uint16_t)severity;
	header->flags = 0;
	header->time_ns = ctx->now_ns;
	header->run = ctx->run;
	ctx->record = start + 1;
}

__attribute__((noinline)) void gs_rt_arg(struct gs_ctx *ctx, uint64_t value)
{
	struct gs_record_header *header = record(ctx);

	if (!header)
		return;
	if (room(ctx, header) < 8) {
		ctx->record = RECORD_LOST;
		return;
	}
	*(uint64_t *)((uint8_t *)header + header->size) = value;
	header->size += 8;
}

// Room for a string's bytes behind its first word: *max_ret is what it may be long.
static uint8_t *string_begin(struct gs_ctx *ctx, uint64_t max, uint32_t *max_ret)
{
	struct gs_record_header *header = record(ctx);

	if (!header)
		return 0;

	uint32_t left = room(ctx, header);

	if (left < 8) {
		ctx->record = RECORD_LOST;
		return 0;
	}
	if (max > GS_RECORD_MAX_STRING)
		max = GS_RECORD_MAX_STRING;
	// One more than fits: reaching it means that the record is lost rather than the string cut.
	if (max > left - 8)
		max = (uint64_t)left - 8 + 1;
	*max_ret = (uint32_t)max;
	return (uint8_t *)header + header->size + 8;
}

static void string_end(struct gs_ctx *ctx, uint32_t len, uint64_t flags)
{
	struct gs_record_header *header = record(ctx);
	uint32_t padded = (len + 7) & ~7u;

	if (padded > room(ctx, header) - 8) {
		ctx->record = RECORD_LOST;
		return;
	}

	uint8_t *at = (uint8_t *)header + header->size;

	*(uint64_t *)at = len | flags;
	for (uint32_t i = len; i < padded; i++)
		at[8 + i] = 0;
	header->size += 8 + padded;
}

__attribute__((noinline)) void gs_rt_arg_str(struct gs_ctx *ctx, uint64_t address, uint64_t max)
{
	uint32_t limit;
	uint8_t *to = string_begin(ctx, max, &limit);

	if (!to)
		return;

	uint32_t room_bytes = room(ctx, record(ctx)) - 8;
	uint32_t len = 0;
	uint64_t page = 0;

	while (len < limit) {
		uint64_t from = address + len;

		if (!page || (from & GS_RT_PAGE_MASK) == 0) {
			// from < address: the string runs over the end of the address space.
			page = from < address ? 0 : gs_rt_page(ctx, from);
			if (!page) {
				gs_rt_fault(ctx, from);
				string_end(ctx, len, GS_RECORD_STRING_FAULT);
				return;
			}
		}

		uint8_t byte = *(const volatile uint8_t *)(page + (from & GS_RT_PAGE_MASK));

		if (!byte) {
			string_end(ctx, len, 0);
			return;
		}
		if (len < room_bytes)
			to[len] = byte;
		len++;
	}
	string_end(ctx, len, GS_RECORD_STRING_CUT);
}

__attribute__((noinline)) void gs_rt_arg_str_local(struct gs_ctx *ctx, const char *s, uint64_t max)
{
	uint32_t limit;
	uint8_t *to = string_begin(ctx, max, &limit);

	if (!to)
		return;

	uint32_t room_bytes = room(ctx, record(ctx)) - 8;
	uint32_t len = 0;

	for (; len < limit; len++) {
		char byte = s[len];

		if (!byte) {
			string_end(ctx, len, 0);
			return;
		}
		if (len < room_bytes)
			to[len] = (uint8_t)byte;
	}
	string_end(ctx, len, GS_RECORD_STRING_CUT);
}

__attribute__((noinline)) void gs_rt_end(struct gs_ctx *ctx)
{
	struct gs_record_header *header = record(ctx);

	if (header) {
		if (ctx->faults != ctx->record_faults)
			header->flags |= GS_RECORD_F_FAULT;
		ctx->out_used += header->size;
	} else if (ctx->record == RECORD_LOST) {
		ctx->out_lost++;
	}
	ctx->record_faults = ctx->faults;
	ctx->record = 0;
}
