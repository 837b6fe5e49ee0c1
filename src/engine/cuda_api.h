/* SPDX-License-Identifier: Apache-2.0 */
// The CUDA driver API as far as it is used, by declarations of our own: neither building nor running needs
// a toolkit, and a machine without a driver runs everything else. tests/unit/cuda_declarations.c
// compares them with the toolkit's cuda.h where there is one.
#ifndef GS_ENGINE_CUDA_API_H
#define GS_ENGINE_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUlinkState_st;
struct CUstream_st;

typedef unsigned long long cuda_address;

// The values that we act on; cuda.h has more.
enum cuda_result {
	CUDA_OK = 0,
	CUDA_INVALID_VALUE = 1,
	CUDA_OUT_OF_MEMORY = 2,
	CUDA_DEVICE_UNAVAILABLE = 46,
	CUDA_NO_DEVICE = 100,
	CUDA_INVALID_DEVICE = 101,
	CUDA_NO_BINARY_FOR_GPU = 209,
	CUDA_INVALID_PTX = 218,
	CUDA_JIT_COMPILER_NOT_FOUND = 221,
	CUDA_UNSUPPORTED_PTX_VERSION = 222,
	CUDA_OPERATING_SYSTEM = 304,
	CUDA_NOT_READY = 600,
	CUDA_ILLEGAL_ADDRESS = 700,
	CUDA_ALREADY_REGISTERED = 712,
	CUDA_NOT_PERMITTED = 800,
	CUDA_NOT_SUPPORTED = 801,
	CUDA_SYSTEM_NOT_READY = 802,
	CUDA_SYSTEM_DRIVER_MISMATCH = 803,
};

enum cuda_attribute {
	CUDA_ATTRIBUTE_MAX_REGISTERS = 12,
	CUDA_ATTRIBUTE_PROCESSORS = 16,
	CUDA_ATTRIBUTE_COMPUTE_MODE = 20,
	CUDA_ATTRIBUTE_PCI_BUS = 33,
	CUDA_ATTRIBUTE_PCI_DEVICE = 34,
	CUDA_ATTRIBUTE_PCI_DOMAIN = 50,
	CUDA_ATTRIBUTE_MAJOR = 75,
	CUDA_ATTRIBUTE_MINOR = 76,
	CUDA_ATTRIBUTE_COOPERATIVE_LAUNCH = 95,
	CUDA_ATTRIBUTE_HOST_REGISTER = 99,
	CUDA_ATTRIBUTE_READ_ONLY_REGISTER = 113,
	CUDA_ATTRIBUTE_DMA_BUF = 124,
};

enum {
	CUDA_MODE_PROHIBITED = 2,
	CUDA_MODE_EXCLUSIVE = 3,

	CUDA_SCHED_BLOCKING_SYNC = 0x04,
	CUDA_LMEM_RESIZE_TO_MAX = 0x10,
	CUDA_STREAM_NON_BLOCKING = 1,

	CUDA_REGISTER_DEVICEMAP = 0x02,
	CUDA_REGISTER_IOMEMORY = 0x04,
	CUDA_REGISTER_READ_ONLY = 0x08,

	CUDA_JIT_MAX_REGISTERS = 0,
	CUDA_JIT_ERROR_LOG = 5,
	CUDA_JIT_ERROR_LOG_SIZE = 6,
	CUDA_JIT_INPUT_PTX = 1,

	CUDA_HANDLE_DMA_BUF_FD = 1,

	CUDA_FUNCTION_MAX_THREADS = 0,
	CUDA_FUNCTION_SHARED_SIZE = 1,
	CUDA_FUNCTION_LOCAL_SIZE = 3,
	CUDA_FUNCTION_REGISTERS = 4,
};

// X(member, symbol, parameters): all return CUresult, which is an unsigned int in both ABIs. Symbols are
// those that cuda.h of CUDA 11 to 13 maps the plain names to.
#define CUDA_FUNCTIONS(X)                                                                          \
	X(init, cuInit, (unsigned int flags))                                                      \
	X(driver_version, cuDriverGetVersion, (int *ret))                                          \
	X(error_name, cuGetErrorName, (unsigned int error, const char **ret))                      \
	X(error_string, cuGetErrorString, (unsigned int error, const char **ret))                  \
	X(device_count, cuDeviceGetCount, (int *ret))                                              \
	X(device_get, cuDeviceGet, (int *ret, int ordinal))                                        \
	X(device_name, cuDeviceGetName, (char *name, int len, int device))                         \
	X(device_attribute, cuDeviceGetAttribute, (int *ret, unsigned int attribute, int device))  \
	X(context_flags, cuDevicePrimaryCtxSetFlags_v2, (int device, unsigned int flags))          \
	X(context_retain, cuDevicePrimaryCtxRetain, (struct CUctx_st * *ret, int device))          \
	X(context_release, cuDevicePrimaryCtxRelease_v2, (int device))                             \
	X(context_push, cuCtxPushCurrent_v2, (struct CUctx_st * context))                          \
	X(context_pop, cuCtxPopCurrent_v2, (struct CUctx_st * *ret))                               \
	X(module_load, cuModuleLoadDataEx,                                                         \
	  (struct CUmod_st * *ret, const void *image, unsigned int count, unsigned int *options,   \
	   void **values))                                                                         \
	X(module_unload, cuModuleUnload, (struct CUmod_st * module))                               \
	X(module_function, cuModuleGetFunction,                                                    \
	  (struct CUfunc_st * *ret, struct CUmod_st * module, const char *name))                   \
	X(link_create, cuLinkCreate_v2,                                                            \
	  (unsigned int count, unsigned int *options, void **values, struct CUlinkState_st **ret)) \
	X(link_add, cuLinkAddData_v2,                                                              \
	  (struct CUlinkState_st * link, unsigned int type, void *data, size_t size,               \
	   const char *name, unsigned int count, unsigned int *options, void **values))            \
	X(link_complete, cuLinkComplete,                                                           \
	  (struct CUlinkState_st * link, void **ret, size_t *size_ret))                            \
	X(link_destroy, cuLinkDestroy, (struct CUlinkState_st * link))                             \
	X(function_attribute, cuFuncGetAttribute,                                                  \
	  (int *ret, unsigned int attribute, struct CUfunc_st *function))                          \
	X(occupancy, cuOccupancyMaxActiveBlocksPerMultiprocessor,                                  \
	  (int *ret, struct CUfunc_st *function, int threads, size_t shared))                      \
	X(memory_info, cuMemGetInfo_v2, (size_t *free, size_t *total))                             \
	X(memory_alloc, cuMemAlloc_v2, (cuda_address * ret, size_t size))                          \
	X(memory_free, cuMemFree_v2, (cuda_address address))                                       \
	X(memory_register, cuMemHostRegister_v2, (void *address, size_t size, unsigned int flags)) \
	X(memory_unregister, cuMemHostUnregister, (void *address))                                 \
	X(memory_device_pointer, cuMemHostGetDevicePointer_v2,                                     \
	  (cuda_address * ret, void *address, unsigned int flags))                                 \
	X(copy_to_device, cuMemcpyHtoDAsync_v2,                                                    \
	  (cuda_address to, const void *from, size_t size, struct CUstream_st *stream))            \
	X(copy_from_device, cuMemcpyDtoHAsync_v2,                                                  \
	  (void *to, cuda_address from, size_t size, struct CUstream_st *stream))                  \
	X(set_bytes, cuMemsetD8Async,                                                              \
	  (cuda_address to, unsigned char value, size_t size, struct CUstream_st *stream))         \
	X(stream_create, cuStreamCreate, (struct CUstream_st * *ret, unsigned int flags))          \
	X(stream_destroy, cuStreamDestroy_v2, (struct CUstream_st * stream))                       \
	X(stream_wait, cuStreamSynchronize, (struct CUstream_st * stream))                         \
	X(stream_query, cuStreamQuery, (struct CUstream_st * stream))                              \
	X(launch, cuLaunchKernel,                                                                  \
	  (struct CUfunc_st * function, unsigned int grid_x, unsigned int grid_y,                  \
	   unsigned int grid_z, unsigned int block_x, unsigned int block_y, unsigned int block_z,  \
	   unsigned int shared, struct CUstream_st *stream, void **parameters, void **extra))      \
	X(launch_cooperative, cuLaunchCooperativeKernel,                                           \
	  (struct CUfunc_st * function, unsigned int grid_x, unsigned int grid_y,                  \
	   unsigned int grid_z, unsigned int block_x, unsigned int block_y, unsigned int block_z,  \
	   unsigned int shared, struct CUstream_st *stream, void **parameters))

// The same of functions that a driver may lack.
#define CUDA_FUNCTIONS_LATER(X)                                             \
	X(memory_handle, cuMemGetHandleForAddressRange,                     \
	  (void *ret, cuda_address address, size_t size, unsigned int type, \
	   unsigned long long flags))

struct cuda_api {
	void *library;
#define CUDA_MEMBER(member, symbol, parameters) unsigned int(*member) parameters;
	CUDA_FUNCTIONS(CUDA_MEMBER)
	// NULL: the driver has none.
	CUDA_FUNCTIONS_LATER(CUDA_MEMBER)
#undef CUDA_MEMBER
};

// Load libcuda.so.1, or what $GPUSENTINEL_LIBCUDA names.
struct gs_error *cuda_api_open(struct cuda_api *ret);
void cuda_api_close(struct cuda_api *api);

// NULL for CUDA_OK; else "<what>: <the driver's words> (CUDA_ERROR_...)", and what to do about it where
// that is known.
struct gs_error *cuda_error(const struct cuda_api *api, unsigned int result, const char *format,
			    ...) __attribute__((format(printf, 3, 4)));

#endif
