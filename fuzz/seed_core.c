// SPDX-License-Identifier: Apache-2.0
// Small cores out of QEMU's compressed dump, which for the smallest guest still is half a megabyte.
#include "seed.h"

#include <endian.h>
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BLOCK = 4096,
	// Page frames of the small core, and which of them are in it: RAM that was never written, and the BIOS.
	FRAMES = 256,
	FIRST_ZERO = 0,
	FIRST_BIOS = 0xf0,
	EACH = 4,
	// makedumpfile's diskdump_mod.h, struct disk_dump_header and kdump_sub_header: offsets of fields.
	SUB_HDR_SIZE = 432,
	BITMAP_BLOCKS = 436,
	MAX_MAPNR = 440,
	MAX_MAPNR_64 = BLOCK + 96,
};

struct page_desc {
	uint64_t offset;
	uint32_t size, flags;
	uint64_t page_flags;
};

// The flattened format: behind 4096 bytes, blocks of {be64 offset, be64 size} up to offset -1.
static void unflatten(const char *path, struct seed *ret)
{
	FILE *in = fopen(path, "re");
	int64_t head[2];

	if (!in || fseek(in, BLOCK, SEEK_SET))
		err(1, "%s", path);
	while (fread(head, sizeof(head), 1, in) == 1 && (int64_t)be64toh(head[0]) >= 0) {
		size_t offset = be64toh(head[0]), size = be64toh(head[1]);

		if (offset > 64 << 20 || size > 64 << 20)
			errx(1, "%s: too large", path);
		if (offset + size > ret->size) {
			size_t old = ret->size;

			ret->bytes = realloc(ret->bytes, offset + size);
			if (!ret->bytes)
				errx(1, "no memory");
			ret->size = offset + size;
			memset(ret->bytes + old, 0, ret->size - old);
		}
		if (fread(ret->bytes + offset, 1, size, in) != size)
			errx(1, "%s: cut off", path);
	}
	fclose(in);
}

static uint32_t word_at(const struct seed *seed, size_t offset)
{
	uint32_t word;

	if (offset + sizeof(word) > seed->size)
		errx(1, "a core without headers");
	memcpy(&word, seed->bytes + offset, sizeof(word));
	return word;
}

static bool bit(const uint8_t *bits, size_t n)
{
	return bits[n / 8] >> (n % 8) & 1;
}

static bool wanted(size_t frame)
{
	return (frame >= FIRST_ZERO && frame < FIRST_ZERO + EACH) ||
	       (frame >= FIRST_BIOS && frame < FIRST_BIOS + EACH);
}

static void shrink(const struct seed *from, struct seed *to)
{
	size_t bitmaps = BLOCK * (1 + word_at(from, SUB_HDR_SIZE));
	size_t bitmap_size = BLOCK * word_at(from, BITMAP_BLOCKS) / 2;
	size_t descs = bitmaps + 2 * bitmap_size;
	const uint8_t *machine = from->bytes + bitmaps, *file = machine + bitmap_size;
	uint8_t page[BLOCK] = {};
	uint32_t blocks = 2, frames = FRAMES;
	uint64_t frames_64 = FRAMES;
	struct page_desc small[2 * EACH] = {};
	struct seed data = {};
	size_t rank = 0, count = 0;

	if (descs + FRAMES * sizeof(small[0]) > from->size)
		errx(1, "a core without descriptors");
	seed_add(to, from->bytes, 2 * BLOCK);
	memcpy(to->bytes + SUB_HDR_SIZE, &(uint32_t){ 1 }, 4);
	memcpy(to->bytes + BITMAP_BLOCKS, &blocks, sizeof(blocks));
	memcpy(to->bytes + MAX_MAPNR, &frames, sizeof(frames));
	memcpy(to->bytes + MAX_MAPNR_64, &frames_64, sizeof(frames_64));
	memcpy(page, machine, FRAMES / 8);
	seed_add(to, page, sizeof(page));
	memset(page, 0, sizeof(page));
	for (size_t frame = 0; frame < FRAMES; frame++) {
		struct page_desc desc;

		if (!bit(file, frame))
			continue;
		memcpy(&desc, from->bytes + descs + rank++ * sizeof(desc), sizeof(desc));
		if (!wanted(frame) || desc.size > BLOCK || desc.offset > from->size - desc.size)
			continue;
		page[frame / 8] |= 1 << (frame % 8);
		small[count] = desc;
		small[count++].offset = 4 * BLOCK + sizeof(small) + data.size;
		seed_add(&data, from->bytes + desc.offset, desc.size);
	}
	seed_add(to, page, sizeof(page));
	seed_add(to, small, sizeof(small));
	seed_add(to, data.bytes, data.size);
	free(data.bytes);
}

void seed_core(const char *path, const char *name)
{
	struct seed whole = {}, small = {}, seed = {};
	// "makedumpfile", type 1, version 1.
	uint8_t head[BLOCK] = "makedumpfile\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1";

	unflatten(path, &whole);
	shrink(&whole, &small);
	seed_add(&seed, "", 1);
	seed_add(&seed, small.bytes, small.size);
	seed_save(&seed, "target_core", name, "kdump");

	int64_t block[2] = { 0, htobe64(small.size) }, end[2] = { -1, -1 };

	seed_add(&seed, "", 1);
	seed_add(&seed, head, sizeof(head));
	seed_add(&seed, block, sizeof(block));
	seed_add(&seed, small.bytes, small.size);
	seed_add(&seed, end, sizeof(end));
	seed_save(&seed, "target_core", name, "flattened");
	free(small.bytes);
	free(whole.bytes);
}
