/* SPDX-License-Identifier: Apache-2.0 */
// A kernel's symbols as they travel to monitors, who cannot look into a dead kernel's table: lines "ADDRESS NAME" in
// hexadecimal, sorted by address, compressed by zlib. Modules are lines "ADDRESS SIZE NAME".
#ifndef GS_GRASS_SYMBOLS_H
#define GS_GRASS_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>
#include <gpusentinel/kernel_info.h>

// Bytes of the text at most; compressed they are fewer.
#define SYMBOLS_SIZE_MAX (64U << 20)

struct symbols;

// @ret: compressed; end it with free(). @text_size_ret: bytes of the text.
struct gs_error *symbols_pack(struct gs_kernel *kernel, uint8_t **ret, size_t *size_ret,
			      size_t *text_size_ret);

// What a peer has sent; hostile.
struct gs_error *symbols_unpack(const uint8_t *packed, size_t size, size_t text_size,
				struct symbols **ret);
void symbols_free(struct symbols *symbols);

// "name+0xoffset/0xsize", "0xoffset [module]", or "0x..."; @symbols may be NULL.
void symbols_name(const struct symbols *symbols, uint64_t address, char *buf, size_t len);

#endif
