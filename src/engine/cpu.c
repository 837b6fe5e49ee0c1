// SPDX-License-Identifier: Apache-2.0
// The cpu engine: the host code of fat detectors, called in this process.
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/internal.h"
#include "util/array.h"
#include "util/cleanup.h"

struct cpu {
	struct gs_map map;
	struct gs_map_segment segments[];
};

// A writable part of a loaded file, and its contents as they were.
struct statics {
	uint8_t *start;
	size_t size;
	uint8_t *saved;
};

struct code {
	void *handle;
	// The file's private copy. Open as long as the handle is: the number is part of the name by
	// which the dynamic loader knows it, and it takes two files of one name for one file.
	int fd;
	struct statics statics[4];
	size_t count;
};

static struct gs_error *cpu_create(struct gs_engine *engine)
{
	size_t count;
	const struct gs_segment *segments =
		gs_target_segments(gs_kernel_target(engine->kernel), &count);

	if (count > GS_MAP_SEGMENTS) {
		return gs_error_create(
			GS_ERROR_ENGINE,
			"the target's memory has %zu segments; engines take %d at most", count,
			GS_MAP_SEGMENTS);
	}

	struct cpu *cpu = calloc(1, sizeof(*cpu) + count * sizeof(cpu->segments[0]));

	if (!cpu)
		return &gs_enomem;
	cpu->map = *gs_kernel_map(engine->kernel);
	cpu->map.segments = (uint64_t)cpu->segments;
	cpu->map.segment_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		cpu->segments[i] = (struct gs_map_segment){
			.phys = segments[i].phys,
			.end = segments[i].phys + segments[i].size,
			.base = (uint64_t)segments[i].host,
			.present = (uint64_t)segments[i].present,
		};
	}
	engine->priv = cpu;
	return NULL;
}

static void cpu_destroy(struct gs_engine *engine)
{
	free(engine->priv);
}

static int find_statics(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct code *code = arg;
	struct link_map *map;

	(void)size;
	if (dlinfo(code->handle, RTLD_DI_LINKMAP, &map) || info->dlpi_addr != map->l_addr)
		return 0;

	uint64_t relro_start = 0, relro_end = 0;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];

		if (phdr->p_type == PT_GNU_RELRO) {
			// The dynamic loader protects whole pages, up to the one in which it ends.
			relro_start = phdr->p_vaddr & ~(uint64_t)4095;
			relro_end = (phdr->p_vaddr + phdr->p_memsz) & ~(uint64_t)4095;
		}
	}
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];
		uint64_t start = phdr->p_vaddr, end = phdr->p_vaddr + phdr->p_memsz;

		if (phdr->p_type != PT_LOAD || !(phdr->p_flags & PF_W))
			continue;
		if (start >= relro_start && start < relro_end)
			start = relro_end;
		if (start < end && code->count < ARRAY_SIZE(code->statics)) {
			code->statics[code->count++] = (struct statics){
				.start = (uint8_t *)info->dlpi_addr + start,
				.size = end - start,
			};
		}
	}
	return 1;
}

// A private copy of the file: the dynamic loader gives one set of static variables to a file,
// however often it is opened, but engines must not see each other's.
static struct gs_error *open_copy(const struct gs_fat *fat, struct code *code)
{
	_cleanup_close_ int fd = memfd_create("gpusentinel-detector", MFD_CLOEXEC);
	char path[64];

	if (fd < 0)
		return gs_error_errno(GS_ERROR_ENGINE, errno, "%s: no memory file", fat->path);
	for (size_t done = 0; done < fat->image_size;) {
		ssize_t n = write(fd, fat->image + done, fat->image_size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return gs_error_errno(GS_ERROR_ENGINE, errno, "%s: no memory file",
					      fat->path);
		done += (size_t)n;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	code->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!code->handle)
		return gs_error_create(GS_ERROR_DETECTOR, "%s: cannot be loaded: %s", fat->path,
				       dlerror());
	code->fd = no_cleanup_fd(fd);
	return NULL;
}

static struct gs_error *cpu_load(struct gs_engine *engine, struct loaded *loaded)
{
	struct code *code = calloc(1, sizeof(*code));

	(void)engine;
	if (!code)
		return &gs_enomem;

	struct gs_error *err = open_copy(loaded->fat, code);

	if (err) {
		free(code);
		return err;
	}
	loaded->code = code;
	dl_iterate_phdr(find_statics, code);
	for (size_t i = 0; i < code->count; i++) {
		code->statics[i].saved = malloc(code->statics[i].size);
		if (!code->statics[i].saved)
			return &gs_enomem;
	}
	return NULL;
}

static void cpu_unload(struct gs_engine *engine, struct loaded *loaded)
{
	struct code *code = loaded->code;

	(void)engine;
	for (size_t i = 0; i < code->count; i++)
		free(code->statics[i].saved);
	dlclose(code->handle);
	close(code->fd);
	free(code);
}

static uint32_t fault(uint64_t arg, uint64_t segment, uint64_t page)
{
	return gs_target_fault((struct gs_target *)arg, segment, page);
}

static struct gs_error *cpu_add(struct gs_detector *detector)
{
	struct gs_engine *engine = detector->engine;
	const struct gs_fat *fat = detector->loaded->fat;
	const struct code *code = detector->loaded->code;
	struct cpu *cpu = engine->priv;
	const char *function = fat_string(fat, fat->detectors[detector->index].function);

	detector->code = dlsym(code->handle, function);
	if (!detector->code) {
		return gs_error_create(
			GS_ERROR_DETECTOR,
			"%s: damaged detector: it has no function %s; compile it again with llview",
			fat->path, function);
	}
	detector->ctx->map = (uint64_t)&cpu->map;
	detector->ctx->fault_fn = (uint64_t)fault;
	detector->ctx->fault_arg = (uint64_t)gs_kernel_target(engine->kernel);
	return NULL;
}

static struct gs_error *cpu_run(struct gs_detector *detector)
{
	void (*function)(struct gs_ctx *ctx);

	// ISO C has no conversion from an object pointer to a function pointer; POSIX promises this
	// one.
	memcpy(&function, &detector->code, sizeof(function));
	function(detector->ctx);
	return NULL;
}

static bool cpu_save(struct loaded *loaded)
{
	const struct code *code = loaded->code;

	for (size_t i = 0; i < code->count; i++)
		memcpy(code->statics[i].saved, code->statics[i].start, code->statics[i].size);
	return true;
}

static struct gs_error *cpu_restore(struct gs_engine *engine, struct loaded *loaded)
{
	const struct code *code = loaded->code;

	(void)engine;
	for (size_t i = 0; i < code->count; i++)
		memcpy(code->statics[i].start, code->statics[i].saved, code->statics[i].size);
	return NULL;
}

static struct gs_error *cpu_describe(char **ret)
{
	*ret = strdup("this machine's CPUs");
	return *ret ? NULL : &gs_enomem;
}

const struct engine_ops cpu_ops = {
	.name = "cpu",
	.describe = cpu_describe,
	.create = cpu_create,
	.destroy = cpu_destroy,
	.load = cpu_load,
	.unload = cpu_unload,
	.add = cpu_add,
	.run = cpu_run,
	.save = cpu_save,
	.restore = cpu_restore,
};
