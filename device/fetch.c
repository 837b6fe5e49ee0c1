// SPDX-License-Identifier: Apache-2.0
// Reads that are issued together: first all addresses are translated, then all are read, and what
// cannot be translated is left to an ordinary load where its value is used (llview/overlap.h).
#include "rt.h"

#ifndef __NVPTX__
typedef uint16_t __attribute__((aligned(1), may_alias)) target_u16;
typedef uint32_t __attribute__((aligned(1), may_alias)) target_u32;
typedef uint64_t __attribute__((aligned(1), may_alias)) target_u64;
#endif

// Kernel addresses are negative, with five levels of page tables in 57 bits (Intel SDM volume 3,
// 4.5). What else a pointer may hold (NULL, a user's address, LIST_POISON1) is worth no walk.
#define KERNEL_HALF (UINT64_MAX << 56)

static inline bool is_aligned(uint64_t address, uint64_t size)
{
#ifdef __NVPTX__
	return size > 8 || !(address & (size - 1));
#else
	(void)address;
	(void)size;
	return true;
#endif
}

__attribute__((noinline)) uint64_t gs_rt_translate(struct gs_ctx *ctx, uint64_t address,
						   uint64_t size)
{
	uint64_t offset = address & GS_RT_PAGE_MASK;

	if (address < KERNEL_HALF || offset + size > GS_RT_PAGE_SIZE || !is_aligned(address, size))
		return 0;

	uint64_t page = gs_rt_page(ctx, address);

	return page ? page + offset : 0;
}

inline __attribute__((always_inline)) void gs_rt_window(struct gs_ctx *ctx, uint64_t address,
							struct gs_window *window)
{
	uint64_t mask = ~GS_RT_STRETCH_MASK, base = gs_rt_stretch(ctx, address);

	if (__builtin_expect(!base, 0)) {
		base = address < KERNEL_HALF ? 0 : gs_rt_page(ctx, address);
		mask = base ? ~GS_RT_PAGE_MASK : UINT64_MAX;
	}
	window->mask = mask;
	window->first = base ? address & mask : 0;
	window->delta = base ? base - window->first : 0;
}

inline __attribute__((always_inline)) uint64_t gs_rt_place(struct gs_ctx *ctx,
							   const struct gs_window *window,
							   uint64_t address, uint64_t size)
{
	uint64_t wrong;

#ifdef __NVPTX__
	// What is aligned ends where it begins: one test for both, of bits that must agree and of
	// those that must be clear.
	wrong = (address ^ window->first) & (window->mask | ((size < 8 ? size : 8) - 1));
	if (size > 8)
		wrong |= ((address + size - 8) ^ window->first) & window->mask;
#else
	wrong = (address ^ window->first) & window->mask;
	wrong |= ((address + size - 1) ^ window->first) & window->mask;
#endif
	if (__builtin_expect(!wrong, 1))
		return address + window->delta;
	// An absent field ends here.
	return address < KERNEL_HALF ? 0 : gs_rt_translate(ctx, address, size);
}

#ifdef __NVPTX__
// Volatile keeps them in order; a predicate in place of a branch keeps them together (PTX ISA 7.0,
// 9.7.8.8).
#define DEFINE_READ(bits, word, reg, constraint)                                                  \
	inline __attribute__((always_inline)) uint##bits##_t gs_rt_read##bits(struct gs_ctx *ctx, \
									      uint64_t place)     \
	{                                                                                         \
		reg value;                                                                        \
                                                                                                  \
		(void)ctx;                                                                        \
		__asm__ volatile("{\n\t"                                                          \
				 ".reg .pred found;\n\t"                                          \
				 "setp.ne.u64 found, %1, 0;\n\t"                                  \
				 "mov.u" #word " %0, 0;\n\t"                                      \
				 "@found ld.relaxed.sys.global.u" #bits " %0, [%1];\n\t"          \
				 "}"                                                              \
				 : "=&" constraint(value)                                         \
				 : "l"(place));                                                   \
		return (uint##bits##_t)value;                                                     \
	}

DEFINE_READ(8, 32, uint32_t, "r")
DEFINE_READ(16, 32, uint32_t, "r")
DEFINE_READ(32, 32, uint32_t, "r")
DEFINE_READ(64, 64, uint64_t, "l")

inline __attribute__((always_inline)) void gs_rt_read_pair(struct gs_ctx *ctx, uint64_t place,
							   uint64_t pair[2])
{
	(void)ctx;
	__asm__ volatile("{\n\t"
			 ".reg .pred found;\n\t"
			 "setp.ne.u64 found, %2, 0;\n\t"
			 "mov.u64 %0, 0;\n\t"
			 "mov.u64 %1, 0;\n\t"
			 "@found ld.relaxed.sys.global.v2.u64 {%0, %1}, [%2];\n\t"
			 "}"
			 : "=&l"(pair[0]), "=&l"(pair[1])
			 : "l"(place));
}
#else
#define DEFINE_READ(bits, type)                                                                   \
	inline __attribute__((always_inline)) uint##bits##_t gs_rt_read##bits(struct gs_ctx *ctx, \
									      uint64_t place)     \
	{                                                                                         \
		(void)ctx;                                                                        \
		return place ? *(const volatile type *)place : 0;                                 \
	}

DEFINE_READ(8, uint8_t)
DEFINE_READ(16, target_u16)
DEFINE_READ(32, target_u32)
DEFINE_READ(64, target_u64)

inline __attribute__((always_inline)) void gs_rt_read_pair(struct gs_ctx *ctx, uint64_t place,
							   uint64_t pair[2])
{
	pair[0] = gs_rt_read64(ctx, place);
	pair[1] = gs_rt_read64(ctx, place ? place + 8 : 0);
}
#endif

// Where a load was tried early and failed it mostly fails again. A GPU, whose instruction cache is
// small, gets no copy of the fast path for it.
#ifdef __NVPTX__
#define load_again(bits, ctx, address) gs_rt_load_slow(ctx, address, bits / 8)
#else
#define load_again(bits, ctx, address) gs_rt_load##bits(ctx, address)
#endif

#ifdef __NVPTX__
// Loads before it are done before those behind it are issued (PTX ISA 7.0, 9.7.12.3).
#define order_reads() __asm__ volatile("fence.acq_rel.sys;" ::: "memory")
#else
// x86-64 does loads in order.
#define order_reads() __asm__ volatile("" ::: "memory")
#endif

#define DEFINE_RARE_LOADS(bits)                                                                    \
	inline __attribute__((always_inline)) uint##bits##_t gs_rt_again##bits(struct gs_ctx *ctx, \
									       uint64_t address)   \
	{                                                                                          \
		return (uint##bits##_t)load_again(bits, ctx, address);                             \
	}                                                                                          \
                                                                                                   \
	inline __attribute__((always_inline)) uint##bits##_t gs_rt_once##bits(struct gs_ctx *ctx,  \
									      uint64_t address)    \
	{                                                                                          \
		order_reads();                                                                     \
		uint##bits##_t value = (uint##bits##_t)load_again(bits, ctx, address);             \
		order_reads();                                                                     \
		return value;                                                                      \
	}

DEFINE_RARE_LOADS(8)
DEFINE_RARE_LOADS(16)
DEFINE_RARE_LOADS(32)
DEFINE_RARE_LOADS(64)
