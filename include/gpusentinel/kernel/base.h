/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What every other part of the kernel stands on: atomics, lists, arrays.
 */
#ifndef GPUSENTINEL_KERNEL_BASE_H
#define GPUSENTINEL_KERNEL_BASE_H

#include <gpusentinel/detector.h>

#define __always_inline inline __attribute__((always_inline))

/** x86-64 pages; counters of the kernel count these. */
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)

#define NSEC_PER_SEC 1000000000ULL

#define ALIGN(x, a) (((x) + ((a) - 1)) & ~((typeof(x))(a) - 1))

/** Each argument is evaluated once, as the kernel's own do. */
#define min(a, b)                      \
	({                             \
		typeof(a) __a = (a);   \
		typeof(b) __b = (b);   \
		__a < __b ? __a : __b; \
	})
#define max(a, b)                      \
	({                             \
		typeof(a) __a = (a);   \
		typeof(b) __b = (b);   \
		__a > __b ? __a : __b; \
	})

/**
 * Load @p x from memory here and now. Needed only where the same word is read twice on purpose,
 * to see whether it changed in between; such loads do not overlap with others, so everything else
 * does without.
 */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

/*
 * Members of kernel structs only: an anonymous struct behind a typedef has no name that the
 * watched kernel could know it by, so a pointer to one leads nowhere. Variables of these types
 * are declared below as the integer that they are.
 */
typedef struct {
	int counter;
} __kernel_type atomic_t;

typedef struct {
	s64 counter;
} __kernel_type atomic64_t;

typedef atomic64_t atomic_long_t;

/** Of a member. */
#define atomic_read(v) ((v)->counter)
#define atomic_long_read(v) ((v)->counter)

/**
 * Nanoseconds. A plain integer since Linux kernel commit 2456e8553544 ("ktime: Get rid of the
 * union") (in v4.10).
 */
typedef s64 ktime_t;

/** The struct of type @p type that contains @p ptr as its @p member. */
#define container_of(ptr, type, member) \
	((type *)((unsigned long)(ptr) - bpf_core_field_offset(type, member)))

/**
 * Address of element @p index of an array of kernel structs. Plain indexing would use the size
 * that the struct has in these headers, which declare only some of its members.
 */
#define kernel_array_at(array, index)                       \
	((typeof(&(array)[0]))((unsigned long)&(array)[0] + \
			       (unsigned long)(index) * bpf_core_type_size(typeof((array)[0]))))

/**
 * Load the unsigned member @p f of @p p, which is 32 bits wide in some kernels and 64 in others.
 */
#define kernel_read_unsigned(p, f)                                                       \
	({                                                                               \
		unsigned long __at = (unsigned long)(p) + bpf_core_field_offset((p)->f); \
		bpf_core_field_size((p)->f) == 8 ? *(u64 *)__at : *(u32 *)__at;          \
	})

/** include/linux/types.h */
struct list_head {
	struct list_head *next;
} __kernel_type;

#define list_entry(ptr, type, member) container_of(ptr, type, member)

/**
 * Walk the list @p head whose entries are of the type of @p pos, chained by @p member. Ends at
 * the head or at a NULL link.
 */
#define list_for_each_entry(pos, head, member)                           \
	for (struct list_head *__head = (head), *__node = __head->next;  \
	     __node && __node != __head &&                               \
	     ((pos) = list_entry(__node, typeof(*(pos)), member), true); \
	     __node = __node->next)

/** A list with one pointer as its head, which ends in NULL. include/linux/types.h */
struct hlist_node {
	struct hlist_node *next;
} __kernel_type;

struct hlist_head {
	struct hlist_node *first;
} __kernel_type;

/** Highest set bit of a 32-bit word, from 1; 0 for 0. */
static __always_inline int fls(u32 x)
{
	return x ? 32 - __builtin_clz(x) : 0;
}

/**
 * a * b / c in 128 bits, as arch/x86/include/asm/div64.h does it; a divisor of zero or a result
 * that needs more than 64 bits, which trap there, give all ones.
 */
static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	u64 low = (u32)a * (u64)(u32)b;
	u64 mid = (a >> 32) * (u32)b + (low >> 32);
	u64 mid2 = (u32)a * (b >> 32) + (u32)mid;
	u64 hi = (a >> 32) * (b >> 32) + (mid >> 32) + (mid2 >> 32);
	u64 quotient = 0;

	low = (mid2 << 32) | (u32)low;
	if (hi >= c)
		return ~0ULL;
	if (hi == 0)
		return low / c;
	// Long division: hi is the remainder so far, always less than c.
	for (int bit = 63; bit >= 0; bit--) {
		bool carry = hi >> 63;

		hi = (hi << 1) | ((low >> bit) & 1);
		if (carry || hi >= c) {
			hi -= c;
			quotient |= 1ULL << bit;
		}
	}
	return quotient;
}

#endif
