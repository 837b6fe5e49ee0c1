// SPDX-License-Identifier: Apache-2.0
// The symbols that a host sends. A first byte of 0: what comes behind it is compressed, and has two bytes that say how long the
// text is; else it is the text.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "grass/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const struct symbols *symbols, const uint8_t *data, size_t size)
{
	uint64_t address = 0;
	char name[64];

	symbols_name(symbols, 0, name, sizeof(name));
	symbols_name(symbols, UINT64_MAX, name, sizeof(name));
	// Each byte is the next one of an address.
	for (size_t i = 0; i < size && i < 256; i++) {
		address = address << 8 | data[i];
		symbols_name(symbols, address, name, sizeof(name));
		if (strlen(name) >= sizeof(name))
			abort();
	}
}

static void unpack(const uint8_t *packed, size_t size, size_t text_size, const uint8_t *data,
		   size_t data_size)
{
	struct symbols *symbols = NULL;
	struct gs_error *err = symbols_unpack(packed, size, text_size, &symbols);

	if (!err)
		look_up(symbols, data, data_size);
	gs_error_destroy(err);
	symbols_free(symbols);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	if (!data[0]) {
		unpack(data + 3, size - 3, (size_t)data[1] << 8 | data[2], data, size);
		return 0;
	}

	uLongf packed_size = compressBound(size - 1);
	uint8_t *packed = malloc(packed_size);

	if (!packed || compress2(packed, &packed_size, data + 1, size - 1, 1) != Z_OK)
		abort();
	unpack(packed, packed_size, size - 1, data, size);
	// Cut short, and of another length than was said.
	unpack(packed, packed_size / 2, size - 1, data, size);
	unpack(packed, packed_size, size, data, size);
	free(packed);
	return 0;
}
