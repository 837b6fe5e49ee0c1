// SPDX-License-Identifier: Apache-2.0
// The target's memory as the GPU sees it.
//
// Memory that does not change (a core) is copied into GPU memory if it fits. Other memory is registered with
// the driver, which pins its pages and maps them for the GPU at the addresses that they have in this
// process. Pinning a hole would allocate it, so only pages that are present are registered: as many
// stretches as there are, since by equal addresses one segment covers them all, and its presence bitmap
// in GPU memory says which pages the GPU may read. Pages that the target begins to use later are
// registered when they are found (cuda_reader.c): a look at them until then fails, and is counted.
#include <inttypes.h>
#include <string.h>

#include "engine/cuda.h"
#include "host/iommu.h"
#include "util/array.h"
#include "util/cleanup.h"

// Registering takes 16 bytes a page of the host kernel's vmalloc space while it lasts
// (nv-os-mlock.c, os_lookup_user_io_memory). Chunks end at 2 MiB, as the GPU's large pages do.
#define CHUNK_MAX (UINT64_C(64) << 30)
#define CHUNK_ALIGN (UINT64_C(2) << 20)
// Left free of copies of a core, for the driver and everything else.
#define RESERVE (UINT64_C(512) << 20)

static uint64_t bitmap_words(uint64_t pages)
{
	return (pages + 63) / 64;
}

static uint64_t present_word(const struct gs_segment *segment, uint64_t word)
{
	// Pairs with the release in the target, which sets a bit after it put the page in place.
	return __atomic_load_n(&segment->present[word], __ATOMIC_ACQUIRE);
}

// The next pages that are present and not readable yet, from @page on: *begin to *end - 1.
static bool next_run(const struct gs_segment *segment, const struct cuda_segment *mine,
		     uint64_t page, uint64_t *begin, uint64_t *end)
{
	bool inside = false;

	for (; page < mine->pages; page++) {
		uint64_t word = present_word(segment, page / 64) & ~mine->readable[page / 64];

		if (!inside && !(word >> page % 64)) {
			page |= 63;
			continue;
		}

		bool bit = word >> page % 64 & 1;

		if (bit && !inside)
			*begin = page;
		if (!bit && inside)
			break;
		inside |= bit;
	}
	*end = page < mine->pages ? page : mine->pages;
	return inside;
}

static void set_readable(struct cuda_segment *mine, uint64_t begin, uint64_t end)
{
	for (uint64_t page = begin; page < end; page++)
		mine->readable[page / 64] |= UINT64_C(1) << page % 64;
}

// The driver takes page frames from page tables. A look at one page brings in its whole block of 2 MiB.
static void touch(const volatile uint8_t *address, size_t size)
{
	size_t block = CHUNK_ALIGN - ((uintptr_t)address & (CHUNK_ALIGN - 1));

	(void)address[0];
	for (; block < size; block += CHUNK_ALIGN)
		(void)address[block];
}

// Physical addresses are what the driver is given, so that what the GPU puts on the bus must be that, too.
static struct gs_error *check_iommu(struct cuda *cuda)
{
	int domain = 0, bus = 0, device = 0;
	char address[32];

	if (cuda->api.device_attribute(&domain, CUDA_ATTRIBUTE_PCI_DOMAIN, cuda->device) ||
	    cuda->api.device_attribute(&bus, CUDA_ATTRIBUTE_PCI_BUS, cuda->device) ||
	    cuda->api.device_attribute(&device, CUDA_ATTRIBUTE_PCI_DEVICE, cuda->device))
		return gs_error_create(GS_ERROR_ENGINE,
				       "the driver does not tell where the GPU is, so it cannot "
				       "be seen whether an IOMMU is in its way: use -e cpu");
	snprintf(address, sizeof(address), "%04x:%02x:%02x.0", domain, bus, device);
	return gs_iommu_check("", address);
}

static struct gs_error *register_chunk(struct cuda *cuda, struct cuda_segment *mine, uint64_t phys,
				       uint8_t *address, size_t size)
{
	struct cuda_memory *memory = &cuda->memory;
	struct cuda_registration registration = { address, size };
	unsigned int flags = CUDA_REGISTER_DEVICEMAP |
			     (cuda->read_only ? CUDA_REGISTER_READ_ONLY : 0) |
			     (cuda->io_memory ? CUDA_REGISTER_IOMEMORY : 0);
	cuda_address seen = 0;

	if (!gs_array_push(memory->registrations, memory->registration_count,
			   memory->registration_capacity, registration))
		return &gs_enomem;

	if (cuda->io_memory)
		touch(address, size);

	unsigned int result = cuda->api.memory_register(address, size, flags);

	if (result) {
		memory->registration_count--;
		return cuda_error(&cuda->api, result,
				  "the driver refuses to register %zu KiB of memory at physical "
				  "address 0x%" PRIx64,
				  size >> 10, phys);
	}
	result = cuda->api.memory_device_pointer(&seen, address, 0);
	if (result)
		return cuda_error(&cuda->api, result,
				  "the GPU does not map memory at physical address 0x%" PRIx64,
				  phys);
	if (!mine->has_delta)
		mine->delta = seen - (uintptr_t)address;
	mine->has_delta = true;
	if (seen - (uintptr_t)address != mine->delta)
		return gs_error_create(
			GS_ERROR_ENGINE,
			"the GPU maps each stretch of registered memory at an address "
			"of its own; this machine needs -e cpu");
	memory->bytes += size;
	return NULL;
}

static struct gs_error *register_run(struct cuda *cuda, const struct gs_segment *segment,
				     struct cuda_segment *mine, uint64_t begin, uint64_t end)
{
	while (begin < end) {
		uint64_t offset = begin << GS_PAGE_SHIFT;
		uint8_t *address = (uint8_t *)segment->host + offset;
		uint64_t size = (end - begin) << GS_PAGE_SHIFT;

		if (size > CHUNK_MAX)
			size = CHUNK_MAX - ((uintptr_t)address & (CHUNK_ALIGN - 1));

		struct gs_error *err =
			register_chunk(cuda, mine, segment->phys + offset, address, size);

		if (err)
			return err;
		set_readable(mine, begin, begin + (size >> GS_PAGE_SHIFT));
		begin += size >> GS_PAGE_SHIFT;
	}
	return NULL;
}

static struct gs_error *copy_run(struct cuda *cuda, const struct gs_segment *segment,
				 struct cuda_segment *mine, uint64_t begin, uint64_t end)
{
	struct gs_error *err = cuda_write(cuda, mine->copy + (begin << GS_PAGE_SHIFT),
					  segment->host + (begin << GS_PAGE_SHIFT),
					  (end - begin) << GS_PAGE_SHIFT);

	if (err)
		return err;
	set_readable(mine, begin, end);
	cuda->memory.bytes += (end - begin) << GS_PAGE_SHIFT;
	return NULL;
}

// Whatever is present and not readable yet. @changed_ret: the bitmap in GPU memory is not up to date.
static struct gs_error *take_segment(struct cuda *cuda, const struct gs_segment *segment,
				     struct cuda_segment *mine, bool *changed_ret)
{
	uint64_t begin, end = 0;
	struct gs_error *err = NULL;

	*changed_ret = false;
	while (!err && next_run(segment, mine, end, &begin, &end)) {
		*changed_ret = true;
		err = mine->copy ? copy_run(cuda, segment, mine, begin, end)
				 : register_run(cuda, segment, mine, begin, end);
	}
	return err;
}

// A compressed core's pages come into being when somebody asks for them.
static void make_all_pages(struct gs_target *target)
{
	uint64_t phys = 0;

	while (gs_target_next_present(target, phys, &phys))
		phys += GS_PAGE_SIZE;
}

static struct gs_error *choose_copies(struct cuda *cuda, struct gs_target *target,
				      const struct gs_segment *segments)
{
	struct cuda_memory *memory = &cuda->memory;
	uint64_t total = 0;
	size_t unused = 0, all = 0;
	bool aligned = true;

	for (size_t i = 0; i < memory->count; i++) {
		total += segments[i].size;
		aligned &= (uintptr_t)segments[i].host % GS_PAGE_SIZE == 0;
	}
	if (!gs_target_frozen(target) && !aligned)
		return gs_error_create(
			GS_ERROR_ENGINE,
			"%s: its pages are not aligned in the file, which GPUs need: "
			"use -e cpu",
			gs_target_spec(target));
	// On demand a core is treated as a guest is, so that this can be tested without one.
	if (!gs_target_frozen(target) || (getenv("GPUSENTINEL_CUDA_REGISTER") && aligned))
		return NULL;

	struct gs_error *err = cuda_error(&cuda->api, cuda->api.memory_info(&unused, &all),
					  "the GPU does not tell its memory");

	if (err)
		return err;
	if (total + RESERVE > unused) {
		if (aligned)
			return NULL;
		return gs_error_create(GS_ERROR_ENGINE,
				       "%s: %" PRIu64
				       " MiB do not fit in the GPU's %zu MiB of free "
				       "memory, and its pages are not aligned in the file; "
				       "'gpusentinel dump' makes a core whose pages are",
				       gs_target_spec(target), total >> 20, unused >> 20);
	}
	for (size_t i = 0; i < memory->count && !err; i++)
		err = cuda_alloc(cuda, "a copy of the core", segments[i].size,
				 &memory->segments[i].copy);
	return err;
}

static struct gs_error *write_map(struct cuda *cuda, const struct gs_segment *segments)
{
	struct cuda_memory *memory = &cuda->memory;
	size_t size = sizeof(struct gs_map) + memory->count * sizeof(struct gs_map_segment);
	_cleanup_free_ struct gs_map *map = calloc(1, size);
	struct gs_error *err =
		map ? cuda_alloc(cuda, "the memory map", size, &memory->map) : &gs_enomem;

	if (err)
		return err;

	struct gs_map_segment *to = (struct gs_map_segment *)(map + 1);

	*map = *gs_kernel_map(cuda->engine->kernel);
	map->segments = memory->map + sizeof(*map);
	map->segment_count = (uint32_t)memory->count;
	for (size_t i = 0; i < memory->count; i++) {
		const struct cuda_segment *mine = &memory->segments[i];

		to[i] = (struct gs_map_segment){
			.phys = segments[i].phys,
			.end = segments[i].phys + segments[i].size,
			.base = mine->copy ? mine->copy : (uint64_t)segments[i].host + mine->delta,
			.present = mine->bitmap,
		};
	}
	return cuda_write(cuda, memory->map, map, size);
}

static struct gs_error *open_segments(struct cuda *cuda, const struct gs_segment *segments)
{
	struct cuda_memory *memory = &cuda->memory;

	for (size_t i = 0; i < memory->count; i++) {
		struct cuda_segment *mine = &memory->segments[i];
		uint64_t words = bitmap_words(segments[i].size >> GS_PAGE_SHIFT);
		bool changed;

		mine->pages = segments[i].size >> GS_PAGE_SHIFT;
		mine->readable = calloc(words, sizeof(*mine->readable));

		struct gs_error *err = mine->readable ? NULL : &gs_enomem;

		if (!err)
			err = take_segment(cuda, &segments[i], mine, &changed);
		if (!err)
			err = cuda_alloc(cuda, "the presence bitmap", words * 8, &mine->bitmap);
		if (!err)
			err = cuda_write(cuda, mine->bitmap, mine->readable, words * 8);
		if (err)
			return err;
	}
	return NULL;
}

struct gs_error *cuda_memory_open(struct cuda *cuda)
{
	struct cuda_memory *memory = &cuda->memory;
	struct gs_target *target = gs_kernel_target(cuda->engine->kernel);
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	if (count > GS_MAP_SEGMENTS)
		return gs_error_create(
			GS_ERROR_ENGINE,
			"the target's memory has %zu segments; engines take %d at most", count,
			GS_MAP_SEGMENTS);
	memory->segments = calloc(count + 1, sizeof(*memory->segments));
	if (!memory->segments)
		return &gs_enomem;
	memory->count = count;
	cuda->io_memory = gs_target_io_memory(target);
	if (gs_target_frozen(target))
		make_all_pages(target);
	// None of it is a hole, so that it makes few and large registrations.
	if (cuda->io_memory)
		gs_target_scan(target);

	struct gs_error *err = cuda->io_memory ? check_iommu(cuda) : NULL;

	if (!err)
		err = choose_copies(cuda, target, segments);
	if (!err)
		err = open_segments(cuda, segments);
	return err ? err : write_map(cuda, segments);
}

struct gs_error *cuda_memory_refresh(struct cuda *cuda)
{
	struct gs_target *target = gs_kernel_target(cuda->engine->kernel);
	struct cuda_memory *memory = &cuda->memory;
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);
	struct gs_error *err = NULL;

	if (gs_target_frozen(target))
		return NULL;
	gs_target_scan(target);
	for (size_t i = 0; i < memory->count && !err; i++) {
		struct cuda_segment *mine = &memory->segments[i];
		bool changed;

		err = take_segment(cuda, &segments[i], mine, &changed);

		// Also after an error: what was registered before it can be read.
		struct gs_error *write_err =
			changed ? cuda_write(cuda, mine->bitmap, mine->readable,
					     bitmap_words(mine->pages) * 8)
				: NULL;

		if (err)
			gs_error_destroy(write_err);
		else
			err = write_err;
	}
	return err;
}

void cuda_memory_close(struct cuda *cuda, bool entered)
{
	struct cuda_memory *memory = &cuda->memory;

	for (size_t i = memory->registration_count; entered && i > 0; i--)
		cuda->api.memory_unregister(memory->registrations[i - 1].address);
	for (size_t i = 0; i < memory->count; i++) {
		if (entered) {
			cuda_free(cuda, &memory->segments[i].copy);
			cuda_free(cuda, &memory->segments[i].bitmap);
		}
		free(memory->segments[i].readable);
	}
	if (entered)
		cuda_free(cuda, &memory->map);
	free(memory->segments);
	free(memory->registrations);
	*memory = (struct cuda_memory){};
}
