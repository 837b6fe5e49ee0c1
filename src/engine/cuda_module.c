// SPDX-License-Identifier: Apache-2.0
// From PTX to code that can be launched.
//
// Loading waits until no kernel runs; compiling does not. Beside kernels that run, the two are therefore done one
// after the other, so that kernels stand still for the loading alone.
#include <stdio.h>
#include <string.h>

#include "engine/cuda_loop.h"
#include "util/cleanup.h"

// Options of the driver's compiler, and where it puts its words.
struct options {
	unsigned int keys[3];
	void *values[3];
	unsigned int count;
	char log[1024];
};

// @threads: of a block of the module's largest detector, whose registers must all fit into a processor's file.
static void fill_options(const struct cuda *cuda, uint32_t threads, struct options *ret)
{
	uint32_t registers = (uint32_t)cuda->max_registers / threads & ~7u;

	*ret = (struct options){
		.keys = { CUDA_JIT_ERROR_LOG, CUDA_JIT_ERROR_LOG_SIZE, CUDA_JIT_MAX_REGISTERS },
		.values = { ret->log, (void *)(uintptr_t)(sizeof(ret->log) - 1),
			    (void *)(uintptr_t)registers },
		// No thread can have more than 255 (PTX ISA 8.5, 11.4.5).
		.count = registers < 255 ? 3 : 2,
	};
}

static struct gs_error *compile_error(const struct cuda *cuda, struct options *options,
				      unsigned int result, const char *what)
{
	if (!result)
		return NULL;
	options->log[strcspn(options->log, "\n")] = '\0';
	return cuda_error(&cuda->api, result, "%s: the driver does not compile its PTX%s%s", what,
			  *options->log ? ": " : "", options->log);
}

static struct gs_error *load(struct cuda *cuda, const char *what, const void *image,
			     uint32_t threads, struct CUmod_st **ret)
{
	struct options options;

	fill_options(cuda, threads, &options);

	unsigned int result =
		cuda->api.module_load(ret, image, options.count, options.keys, options.values);

	if (result)
		*ret = NULL;
	return compile_error(cuda, &options, result, what);
}

static struct gs_error *compile_and_load(struct cuda *cuda, const char *what, const char *ptx,
					 uint32_t threads, struct CUmod_st **ret)
{
	struct options options;
	struct CUlinkState_st *link;
	size_t size;
	void *image;

	fill_options(cuda, threads, &options);

	struct gs_error *err = cuda_error(
		&cuda->api,
		cuda->api.link_create(options.count, options.keys, options.values, &link),
		"%s: the driver's compiler does not start", what);

	if (err)
		return err;

	unsigned int result = cuda->api.link_add(link, CUDA_JIT_INPUT_PTX, (void *)ptx,
						 strlen(ptx) + 1, what, 0, NULL, NULL);

	if (!result)
		result = cuda->api.link_complete(link, &image, &size);
	err = compile_error(cuda, &options, result, what);
	if (!err)
		err = cuda_quiet(cuda);
	if (!err)
		err = load(cuda, what, image, threads, ret);
	// The image is part of it.
	cuda->api.link_destroy(link);
	return err;
}

struct gs_error *cuda_module_load(struct cuda *cuda, const char *what, const char *ptx,
				  uint32_t threads, struct CUmod_st **ret)
{
	*ret = NULL;
	return cuda_idle(cuda) ? load(cuda, what, ptx, threads, ret)
			       : compile_and_load(cuda, what, ptx, threads, ret);
}

// Threads of the largest block among a file's detectors.
static uint32_t max_threads(const struct gs_fat *fat)
{
	uint32_t max = 1;

	for (uint32_t i = 0; i < fat->header->detectors.count; i++) {
		if (fat->detectors[i].threads > max)
			max = fat->detectors[i].threads;
	}
	return max;
}

struct gs_error *cuda_fat_load(struct cuda *cuda, const struct gs_fat *fat, struct CUmod_st **ret)
{
	if (!fat->ptx)
		return gs_error_create(GS_ERROR_DETECTOR,
				       "%s: has no code for GPUs; compile it again with llview, or "
				       "use -e cpu",
				       fat->path);
	return cuda_module_load(cuda, fat->path, fat->ptx, max_threads(fat), ret);
}

struct gs_error *cuda_fat_entries(struct cuda *cuda, const struct gs_fat *fat, size_t index,
				  struct CUmod_st *module, struct CUfunc_st **run_ret,
				  struct CUfunc_st **loop_ret)
{
	const char *run = fat_string(fat, fat->detectors[index].function);
	_cleanup_free_ char *loop = NULL;
	static const char prefix[] = "gs_run_";

	if (strncmp(run, prefix, strlen(prefix)) ||
	    asprintf(&loop, "gs_loop_%s", run + strlen(prefix)) < 0)
		loop = NULL;
	if (!loop || cuda->api.module_function(run_ret, module, run) ||
	    cuda->api.module_function(loop_ret, module, loop))
		return gs_error_create(GS_ERROR_DETECTOR,
				       "%s: its GPU code lacks the entries of detector %s; compile "
				       "it again with llview",
				       fat->path, fat_string(fat, fat->detectors[index].name));
	return NULL;
}
