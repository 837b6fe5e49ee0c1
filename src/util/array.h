/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Growing arrays.
 */
#ifndef GS_UTIL_ARRAY_H
#define GS_UTIL_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/**
 * Make room for one more element of @p element bytes behind @p count.
 *
 * @param array Address of the array pointer (NULL at first); end it with free().
 * @param capacity Elements that there is room for (0 at first).
 * @return false if memory is short; the array stays as it was.
 */
static inline bool gs_array_reserve(void *array, size_t count, size_t *capacity, size_t element)
{
	if (count < *capacity)
		return true;

	size_t wanted = *capacity ? *capacity * 2 : 16;

	if (wanted <= count)
		return false;

	void *grown = reallocarray(*(void **)array, wanted, element);

	if (!grown)
		return false;
	*(void **)array = grown;
	*capacity = wanted;
	return true;
}

/** Append @p value to the array @p a with @p n elements of which @p cap fit; false if memory is short. */
#define gs_array_push(a, n, cap, value) \
	(gs_array_reserve(&(a), (n), &(cap), sizeof(*(a))) ? ((a)[(n)++] = (value), true) : false)

#endif
