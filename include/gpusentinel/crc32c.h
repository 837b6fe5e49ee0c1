/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4) over 8-byte words, for the host and for the device.
 *
 * Eight table lookups a word, none of which waits for another ("slicing by 8"): on a GPU they are in
 * flight together. The device has no constant data of its own; whoever calls brings the table.
 */
#ifndef GPUSENTINEL_CRC32C_H
#define GPUSENTINEL_CRC32C_H

#include <stdint.h>

/** Tables for the eight bytes of a word. */
struct gs_crc32c {
	uint32_t table[8][256];
};

static inline void gs_crc32c_init(struct gs_crc32c *crc32c)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		// The polynomial 0x1edc6f41 with its bits reversed.
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
		crc32c->table[0][i] = crc;
	}
	for (uint32_t i = 0; i < 256; i++) {
		for (int byte = 1; byte < 8; byte++) {
			uint32_t crc = crc32c->table[byte - 1][i];

			crc32c->table[byte][i] = crc32c->table[0][crc & 255] ^ crc >> 8;
		}
	}
}

/** Before the first word. */
#define GS_CRC32C_START UINT32_MAX

/** Take in one little-endian word. */
static inline uint32_t gs_crc32c_word(const struct gs_crc32c *crc32c, uint32_t crc, uint64_t word)
{
	const uint32_t(*t)[256] = crc32c->table;

	word ^= crc;
	return t[7][word & 255] ^ t[6][word >> 8 & 255] ^ t[5][word >> 16 & 255] ^
	       t[4][word >> 24 & 255] ^ t[3][word >> 32 & 255] ^ t[2][word >> 40 & 255] ^
	       t[1][word >> 48 & 255] ^ t[0][word >> 56];
}

/** After the last word. */
static inline uint32_t gs_crc32c_finish(uint32_t crc)
{
	return ~crc;
}

/** The CRC of @p count words. */
static inline uint32_t gs_crc32c_words(const struct gs_crc32c *crc32c, const uint64_t *words,
				       uint64_t count)
{
	uint32_t crc = GS_CRC32C_START;

	for (uint64_t i = 0; i < count; i++)
		crc = gs_crc32c_word(crc32c, crc, words[i]);
	return gs_crc32c_finish(crc);
}

#endif
