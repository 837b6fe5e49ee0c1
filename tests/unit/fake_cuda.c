// SPDX-License-Identifier: Apache-2.0
#include "fake_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CUlinkState_st {
	char image[64];
	char *log;
	size_t log_size;
	bool added;
};

struct CUctx_st {
	int unused;
};

struct fake_cuda fake;
pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUctx_st context;
static struct CUmod_st *modules;
static unsigned int calls;
static __thread int pushed;

// For programs that do not know of it: FAKE_CUDA_DETECTOR names the file whose code kernels run.
__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("FAKE_CUDA_DETECTOR");

	fake_cuda_reset();
	if (path)
		fake.detectors = dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

FAKE_EXPORT struct fake_cuda *fake_cuda(void)
{
	return &fake;
}

unsigned int fake_called(const char *symbol, bool needs_context)
{
	unsigned int result = CUDA_OK;

	pthread_mutex_lock(&fake_lock);
	if (needs_context && !pushed)
		fake.misuses++;
	if (fake.fail_symbol && !strcmp(fake.fail_symbol, symbol) && ++calls == fake.fail_at) {
		fake.failed = true;
		result = fake.fail_with;
	}
	pthread_mutex_unlock(&fake_lock);
	return result;
}

// What ends something ends it also if it says that it failed.

unsigned int cuInit(unsigned int flags)
{
	(void)flags;
	ENTER_FREELY("cuInit");
	return CUDA_OK;
}

unsigned int cuDriverGetVersion(int *ret)
{
	ENTER_FREELY("cuDriverGetVersion");
	*ret = fake.version;
	return CUDA_OK;
}

unsigned int cuGetErrorName(unsigned int error, const char **ret)
{
	*ret = error == CUDA_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_A_TEST";
	return CUDA_OK;
}

unsigned int cuGetErrorString(unsigned int error, const char **ret)
{
	*ret = error == CUDA_OUT_OF_MEMORY ? "out of memory" : "as the test wants it";
	return CUDA_OK;
}

unsigned int cuDeviceGetCount(int *ret)
{
	ENTER_FREELY("cuDeviceGetCount");
	*ret = fake.devices;
	return CUDA_OK;
}

unsigned int cuDeviceGet(int *ret, int ordinal)
{
	ENTER_FREELY("cuDeviceGet");
	*ret = ordinal;
	return CUDA_OK;
}

unsigned int cuDeviceGetName(char *name, int len, int device)
{
	(void)device;
	ENTER_FREELY("cuDeviceGetName");
	snprintf(name, (size_t)len, "Fake GPU");
	return CUDA_OK;
}

unsigned int cuDeviceGetAttribute(int *ret, unsigned int attribute, int device)
{
	(void)device;
	ENTER_FREELY("cuDeviceGetAttribute");
	switch (attribute) {
	case CUDA_ATTRIBUTE_COMPUTE_MODE:
		*ret = fake.mode;
		break;
	case CUDA_ATTRIBUTE_PCI_DOMAIN:
	case CUDA_ATTRIBUTE_PCI_BUS:
	case CUDA_ATTRIBUTE_PCI_DEVICE:
		// Where no bus has a device.
		*ret = 0xfff;
		break;
	case CUDA_ATTRIBUTE_MAJOR:
		*ret = fake.major;
		break;
	case CUDA_ATTRIBUTE_MINOR:
		*ret = 0;
		break;
	case CUDA_ATTRIBUTE_PROCESSORS:
		*ret = 4;
		break;
	case CUDA_ATTRIBUTE_MAX_REGISTERS:
		*ret = 65536;
		break;
	case CUDA_ATTRIBUTE_COOPERATIVE_LAUNCH:
		*ret = fake.cooperative;
		break;
	case CUDA_ATTRIBUTE_DMA_BUF:
		*ret = fake.dma_buf;
		break;
	case CUDA_ATTRIBUTE_HOST_REGISTER:
		*ret = fake.registers;
		break;
	case CUDA_ATTRIBUTE_READ_ONLY_REGISTER:
		*ret = fake.read_only;
		break;
	default:
		return CUDA_INVALID_VALUE;
	}
	return CUDA_OK;
}

unsigned int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned int flags)
{
	(void)device;
	(void)flags;
	ENTER_FREELY("cuDevicePrimaryCtxSetFlags_v2");
	return CUDA_OK;
}

unsigned int cuDevicePrimaryCtxRetain(struct CUctx_st **ret, int device)
{
	(void)device;
	ENTER_FREELY("cuDevicePrimaryCtxRetain");
	fake.contexts++;
	*ret = &context;
	return CUDA_OK;
}

unsigned int cuDevicePrimaryCtxRelease_v2(int device)
{
	(void)device;
	fake_idle_call();
	fake.contexts--;
	ENTER_FREELY("cuDevicePrimaryCtxRelease_v2");
	return CUDA_OK;
}

unsigned int cuCtxPushCurrent_v2(struct CUctx_st *ctx)
{
	ENTER_FREELY("cuCtxPushCurrent_v2");
	if (ctx != &context)
		return CUDA_INVALID_VALUE;
	pushed++;
	__atomic_fetch_add(&fake.pushed, 1, __ATOMIC_RELAXED);
	return CUDA_OK;
}

unsigned int cuCtxPopCurrent_v2(struct CUctx_st **ret)
{
	*ret = &context;
	pushed--;
	__atomic_fetch_sub(&fake.pushed, 1, __ATOMIC_RELAXED);
	return CUDA_OK;
}

// As the driver's compiler answers what is no PTX.
static unsigned int refuse(char *log, size_t size)
{
	snprintf(log, size, "ptxas fatal: no PTX\nsecond line");
	return CUDA_INVALID_PTX;
}

unsigned int cuModuleLoadDataEx(struct CUmod_st **ret, const void *image, unsigned int count,
				unsigned int *options, void **values)
{
	ENTER("cuModuleLoadDataEx");
	fake_idle_call();
	fake.misuses += count < 2 || options[0] != CUDA_JIT_ERROR_LOG ||
			options[1] != CUDA_JIT_ERROR_LOG_SIZE;
	fake.max_registers = count > 2 ? (int)(uintptr_t)values[2] : 0;
	if (strncmp(image, "//", 2))
		return refuse(values[0], (size_t)values[1]);
	*ret = calloc(1, sizeof(**ret));
	(*ret)->next = modules;
	modules = *ret;
	fake.modules++;
	return CUDA_OK;
}

unsigned int cuModuleUnload(struct CUmod_st *module)
{
	fake_idle_call();
	for (struct CUmod_st **p = &modules; *p; p = &(*p)->next) {
		if (*p == module) {
			*p = module->next;
			break;
		}
	}
	free(module);
	fake.modules--;
	ENTER("cuModuleUnload");
	return CUDA_OK;
}

unsigned int cuLinkCreate_v2(unsigned int count, unsigned int *options, void **values,
			     struct CUlinkState_st **ret)
{
	(void)options;
	ENTER("cuLinkCreate_v2");
	fake.misuses += count < 2;
	*ret = calloc(1, sizeof(**ret));
	(*ret)->log = values[0];
	(*ret)->log_size = (size_t)values[1];
	fake.links++;
	return CUDA_OK;
}

unsigned int cuLinkAddData_v2(struct CUlinkState_st *link, unsigned int type, void *data,
			      size_t size, const char *name, unsigned int count,
			      unsigned int *options, void **values)
{
	(void)name;
	(void)count;
	(void)options;
	(void)values;
	ENTER("cuLinkAddData_v2");
	// PTX is a string, and its end counts.
	if (type != CUDA_JIT_INPUT_PTX || size != strlen(data) + 1)
		return CUDA_INVALID_VALUE;
	if (strncmp(data, "//", 2))
		return refuse(link->log, link->log_size);
	link->added = true;
	return CUDA_OK;
}

unsigned int cuLinkComplete(struct CUlinkState_st *link, void **ret, size_t *size_ret)
{
	ENTER("cuLinkComplete");
	if (!link->added)
		return CUDA_INVALID_VALUE;
	snprintf(link->image, sizeof(link->image), "// code");
	*ret = link->image;
	*size_ret = sizeof(link->image);
	return CUDA_OK;
}

unsigned int cuLinkDestroy(struct CUlinkState_st *link)
{
	// Who uses the image from now on sees that it is gone.
	memset(link, 0xa5, sizeof(*link));
	free(link);
	fake.links--;
	ENTER("cuLinkDestroy");
	return CUDA_OK;
}

unsigned int cuModuleGetFunction(struct CUfunc_st **ret, struct CUmod_st *module, const char *name)
{
	struct CUfunc_st *function = &module->functions[module->count];
	char run[64];

	ENTER("cuModuleGetFunction");
	snprintf(function->name, sizeof(function->name), "%s", name);
	snprintf(run, sizeof(run), "gs_run_%s", strncmp(name, "gs_loop_", 8) ? name + 7 : name + 8);
	if (strcmp(name, "gs_supervisor") && strcmp(name, "gs_read_clock")) {
		function->entry = fake.detectors ? dlsym(fake.detectors, run) : NULL;
		if (!function->entry)
			return 500;
	}
	module->count = (module->count + 1) % 16;
	*ret = function;
	return CUDA_OK;
}

int fake_local_size(const struct CUfunc_st *function)
{
	return strcmp(function->name, "gs_loop_reader") ? 64 : 512;
}

unsigned int cuFuncGetAttribute(int *ret, unsigned int attribute, struct CUfunc_st *function)
{
	ENTER("cuFuncGetAttribute");
	switch (attribute) {
	case CUDA_FUNCTION_MAX_THREADS:
		*ret = fake.max_threads;
		break;
	case CUDA_FUNCTION_SHARED_SIZE:
		*ret = 8192;
		break;
	case CUDA_FUNCTION_LOCAL_SIZE:
		*ret = fake_local_size(function);
		break;
	case CUDA_FUNCTION_REGISTERS:
		*ret = 40;
		break;
	default:
		return CUDA_INVALID_VALUE;
	}
	return CUDA_OK;
}

unsigned int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *ret, struct CUfunc_st *function,
							 int threads, size_t shared)
{
	(void)function;
	ENTER("cuOccupancyMaxActiveBlocksPerMultiprocessor");
	if (threads < 1 || shared)
		return CUDA_INVALID_VALUE;
	*ret = fake.occupancy;
	return CUDA_OK;
}

FAKE_EXPORT void fake_cuda_reset(void)
{
	fake_run_reset();
	while (modules)
		cuModuleUnload(modules);
	calls = 0;
	pushed = 0;
	fake = (struct fake_cuda){ .detectors = fake.detectors,
				   .version = 13000,
				   .devices = 1,
				   .major = 9,
				   .read_only = 1,
				   .registers = 1,
				   .cooperative = 1,
				   .max_threads = 1024,
				   .occupancy = 2,
				   .free_memory = (size_t)8 << 30 };
}
