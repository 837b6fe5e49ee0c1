// SPDX-License-Identifier: Apache-2.0
// What detectors occupy on the GPU, asked of the driver without a target.
#include "engine/cuda.h"

#include "util/array.h"

struct gs_gpu {
	struct cuda cuda;
	// The file that was asked about last, and its code.
	const struct gs_fat *fat;
	struct CUmod_st *module;
	// GPU memory that loading it took.
	uint64_t code_size;
};

struct gs_error *gs_gpu_open(struct gs_gpu **ret)
{
	struct gs_gpu *gpu = calloc(1, sizeof(*gpu));
	struct gs_error *err = gpu ? cuda_probe(&gpu->cuda) : &gs_enomem;

	if (!err)
		err = cuda_device_open(&gpu->cuda);
	if (err)
		gs_gpu_close(gpu);
	else
		*ret = gpu;
	return err;
}

void gs_gpu_close(struct gs_gpu *gpu)
{
	if (!gpu)
		return;
	if (gpu->module && !gpu->cuda.api.context_push(gpu->cuda.context)) {
		cuda_module_unload(&gpu->cuda, &gpu->module);
		cuda_leave(&gpu->cuda);
	}
	cuda_device_close(&gpu->cuda);
	free(gpu);
}

static uint64_t unused_memory(struct gs_gpu *gpu)
{
	size_t unused = 0, total;

	return gpu->cuda.api.memory_info(&unused, &total) ? 0 : unused;
}

static struct gs_error *load(struct gs_gpu *gpu, const struct gs_fat *fat)
{
	uint64_t before, after;

	if (gpu->fat == fat)
		return NULL;
	cuda_module_unload(&gpu->cuda, &gpu->module);
	gpu->fat = NULL;
	before = unused_memory(gpu);

	struct gs_error *err = cuda_fat_load(&gpu->cuda, fat, &gpu->module);

	after = unused_memory(gpu);
	if (err)
		return err;
	gpu->code_size = before > after ? before - after : 0;
	gpu->fat = fat;
	return NULL;
}

static struct gs_error *ask(struct gs_gpu *gpu, const struct gs_fat *fat, size_t index,
			    struct gs_residency *ret)
{
	const struct gs_fat_detector *detector = &fat->detectors[index];
	struct CUfunc_st *run, *loop = NULL;
	const struct {
		unsigned int attribute;
		uint32_t *to;
	} attributes[] = {
		{ CUDA_FUNCTION_REGISTERS, &ret->registers },
		{ CUDA_FUNCTION_SHARED_SIZE, &ret->shared_bytes },
		{ CUDA_FUNCTION_LOCAL_SIZE, &ret->local_bytes },
	};
	struct gs_error *err = load(gpu, fat);

	if (!err)
		err = cuda_fat_entries(&gpu->cuda, fat, index, gpu->module, &run, &loop);
	for (size_t i = 0; i < ARRAY_SIZE(attributes) && !err; i++) {
		int value = 0;

		err = cuda_error(
			&gpu->cuda.api,
			gpu->cuda.api.function_attribute(&value, attributes[i].attribute, loop),
			"the driver does not tell what a detector takes");
		*attributes[i].to = (uint32_t)value;
	}
	ret->memory_bytes = gpu->code_size + sizeof(struct gs_ctx) + sizeof(struct gs_control) +
			    fat->header->slots.count * sizeof(uint64_t) +
			    detector_output(detector, 0);
	return err;
}

struct gs_error *gs_gpu_residency(struct gs_gpu *gpu, const struct gs_fat *fat, size_t index,
				  struct gs_residency *ret)
{
	*ret = (struct gs_residency){};
	if (index >= fat->header->detectors.count)
		return gs_error_create(GS_ERROR_USAGE, "%s has no detector number %zu", fat->path,
				       index);

	struct gs_error *err = cuda_enter(&gpu->cuda);

	if (err)
		return err;
	err = ask(gpu, fat, index, ret);
	cuda_leave(&gpu->cuda);
	return err;
}
