// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_api.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"

#define LIBRARY "libcuda.so.1"

static const struct symbol {
	const char *name;
	size_t offset;
	bool later;
} symbols[] = {
#define CUDA_SYMBOL(member, symbol, parameters) \
	{ #symbol, offsetof(struct cuda_api, member), false },
#define CUDA_LATER(member, symbol, parameters) { #symbol, offsetof(struct cuda_api, member), true },
	CUDA_FUNCTIONS(CUDA_SYMBOL) CUDA_FUNCTIONS_LATER(CUDA_LATER)
#undef CUDA_LATER
#undef CUDA_SYMBOL
};

struct gs_error *cuda_api_open(struct cuda_api *ret)
{
	const char *env = getenv("GPUSENTINEL_LIBCUDA");
	const char *name = env && *env ? env : LIBRARY;

	// All of a module at once: a function that is loaded on its first launch may wait for the
	// kernels that run, and those never end.
	setenv("CUDA_MODULE_LOADING", "EAGER", 0);
	// The driver has threads of its own: it stays once it is loaded.
	*ret = (struct cuda_api){ .library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) };
	if (!ret->library)
		return gs_error_create(GS_ERROR_ENGINE,
				       "no NVIDIA driver: %s; install one, or use -e cpu",
				       dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *address = dlsym(ret->library, symbols[i].name);

		if (!address && !symbols[i].later) {
			cuda_api_close(ret);
			return gs_error_create(GS_ERROR_ENGINE,
					       "%s has no %s: the driver is too old; "
					       "version 450 (CUDA 11.0) or later is needed",
					       name, symbols[i].name);
		}
		memcpy((char *)ret + symbols[i].offset, &address, sizeof(address));
	}
	return NULL;
}

void cuda_api_close(struct cuda_api *api)
{
	if (api->library)
		dlclose(api->library);
	*api = (struct cuda_api){};
}

static const char *advice(unsigned int result)
{
	switch (result) {
	case CUDA_OUT_OF_MEMORY:
		return "; the GPU's memory is used up, nvidia-smi shows by whom";
	case CUDA_DEVICE_UNAVAILABLE:
		return "; the GPU is in exclusive use by another process, or was reset";
	case CUDA_NO_DEVICE:
		return "; lspci and nvidia-smi show whether there is one";
	case CUDA_INVALID_PTX:
	case CUDA_UNSUPPORTED_PTX_VERSION:
	case CUDA_NO_BINARY_FOR_GPU:
		return "; a newer driver may help";
	case CUDA_JIT_COMPILER_NOT_FOUND:
		return "; install libnvidia-ptxjitcompiler, which belongs to the driver";
	case CUDA_NOT_PERMITTED:
		return "; run as root, and look at the limit of locked memory (ulimit -l)";
	case CUDA_SYSTEM_NOT_READY:
		return "; is nvidia-fabricmanager running? In confidential-computing mode the GPU must be "
		       "made ready first (nvidia-smi conf-compute)";
	case CUDA_SYSTEM_DRIVER_MISMATCH:
		return "; the kernel module and libcuda.so.1 are of different versions: reboot";
	default:
		return "";
	}
}

struct gs_error *cuda_error(const struct cuda_api *api, unsigned int result, const char *format,
			    ...)
{
	if (result == CUDA_OK)
		return NULL;

	_cleanup_free_ char *what = NULL;
	const char *name = NULL, *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&what, format, args) < 0)
		what = NULL;
	va_end(args);
	if (!what)
		return &gs_enomem;
	if (api->error_name(result, &name) || !name)
		name = "unknown";
	if (api->error_string(result, &text) || !text)
		text = "an error that this driver has no words for";
	return gs_error_create(GS_ERROR_ENGINE, "%s: %s (%s, %u)%s", what, text, name, result,
			       advice(result));
}
