// SPDX-License-Identifier: Apache-2.0
// Which calls of the CUDA driver return while kernels run that never end, and which wait for these.
//
//	probe_async [WORD]...
//
// Each probe, of those whose name contains one of the words, runs in a process of its own, once beside 1 and
// once beside 6 kernels, and prints one line: "NAME, KERNELS: N us", "NAME, KERNELS: blocks", or an error. A call
// that has not returned after 3 s blocks; then the kernels are told to end, and whether that makes it
// return is said too. The kernels end by themselves after 30 s: a lent GPU is left as it was. Exit status 77: no GPU.
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe_async.h"
#include "probe_async_ptx.h"
#include "util/array.h"

struct state state;
static volatile sig_atomic_t blocked;
char label[128];

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static void say(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

// First the call has taken too long; then not even the end of the kernels has helped.
void on_alarm(int signal)
{
	(void)signal;
	if (blocked) {
		say(", not even after the kernels' end\n");
		_exit(1);
	}
	say(label);
	say(": blocks");
	blocked = 1;
	state.page[0] = 1;
	alarm(BLOCKS_AFTER_S);
}

void must(unsigned int result, const char *what)
{
	struct gs_error *err = cuda_error(&state.api, result, "%s", what);

	if (!err)
		return;
	printf("%s: cannot be tried: %s\n", label, err->message);
	fflush(stdout);
	_exit(1);
}

void *symbol(const char *name)
{
	void *address = dlsym(state.api.library, name);

	if (!address) {
		printf("%s: cannot be tried: the driver has no %s\n", label, name);
		fflush(stdout);
		_exit(1);
	}
	return address;
}

static unsigned int load(const char *ptx)
{
	unsigned int result = state.api.module_load(&state.other, ptx, 0, NULL, NULL);

	return result ? result : state.api.module_function(&state.function, state.other, "other");
}

static unsigned int launch_cooperative(struct CUfunc_st *function, struct CUstream_st *stream,
				       void **parameters)
{
	unsigned int (*launch)(struct CUfunc_st *function, unsigned int grid_x, unsigned int grid_y,
			       unsigned int grid_z, unsigned int block_x, unsigned int block_y,
			       unsigned int block_z, unsigned int shared,
			       struct CUstream_st *stream, void **parameters);

	*(void **)&launch = symbol("cuLaunchCooperativeKernel");
	return launch(function, 4, 1, 1, 64, 1, 1, 0, stream, parameters);
}

static unsigned int launch_short(bool cooperative)
{
	cuda_address at = state.device_page + 2048;
	void *parameters[] = { &at };
	unsigned int result = cooperative
				      ? launch_cooperative(state.function, state.stream, parameters)
				      : state.api.launch(state.function, 1, 1, 1, 1, 1, 1, 0,
							 state.stream, parameters, NULL);

	return result ? result : state.api.stream_wait(state.stream);
}

// Registered by the call; filled, and with a known first word.
static void make_host(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	uint64_t *writable;

	if (fd < 0 || ftruncate(fd, SIZE))
		must(CUDA_OPERATING_SYSTEM, "a memory file");
	writable = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	state.host = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (writable == MAP_FAILED || state.host == MAP_FAILED)
		must(CUDA_OPERATING_SYSTEM, "a memory file");
	memset(writable, 0x5a, SIZE);
	close(fd);
}

static unsigned int register_host(void)
{
	return state.api.memory_register(state.host, SIZE,
					 CUDA_REGISTER_DEVICEMAP | CUDA_REGISTER_READ_ONLY);
}

static void register_ready(void)
{
	make_host();
	must(register_host(), "cuMemHostRegister");
}

// A kernel that runs already reads @address.
static unsigned int seen_by_kernels(cuda_address address)
{
	state.page[1] = address;
	while (state.page[2] != UINT64_C(0x5a5a5a5a5a5a5a5a))
		sleep_ms(1);
	return CUDA_OK;
}

static unsigned int call_alloc_small(void)
{
	return state.api.memory_alloc(&state.memory, 4096);
}

static unsigned int call_alloc(void)
{
	return state.api.memory_alloc(&state.memory, SIZE);
}

static unsigned int call_alloc_async(void)
{
	unsigned int (*alloc)(cuda_address *ret, size_t size, struct CUstream_st *stream);

	*(void **)&alloc = symbol("cuMemAllocAsync");

	unsigned int result = alloc(&state.memory, SIZE, state.stream);

	return result ? result : state.api.stream_wait(state.stream);
}

static unsigned int call_alloc_seen(void)
{
	unsigned int result = call_alloc();

	if (!result)
		result = state.api.set_bytes(state.memory, 0x5a, SIZE, state.stream);
	if (!result)
		result = state.api.stream_wait(state.stream);
	return result ? result : seen_by_kernels(state.memory);
}

void prepare_alloc(void)
{
	must(call_alloc(), "cuMemAlloc");
}

static unsigned int call_free(void)
{
	return state.api.memory_free(state.memory);
}

unsigned int call_set(void)
{
	unsigned int result = state.api.set_bytes(state.memory, 1, SIZE, state.stream);

	return result ? result : state.api.stream_wait(state.stream);
}

static unsigned int call_copy(void)
{
	unsigned int result = state.api.copy_to_device(state.memory, &state.word,
						       sizeof(state.word), state.stream);

	if (!result)
		result = state.api.stream_wait(state.stream);
	if (!result)
		result = state.api.copy_from_device(&state.word, state.memory, sizeof(state.word),
						    state.stream);
	return result ? result : state.api.stream_wait(state.stream);
}

static unsigned int call_load(void)
{
	return load(ptx_other);
}

static unsigned int call_load_local(void)
{
	return load(ptx_local);
}

static unsigned int call_load_large(void)
{
	return load(ptx_large);
}

static void prepare_load(void)
{
	must(load(ptx_other), "cuModuleLoadDataEx");
}

static void prepare_load_local(void)
{
	must(load(ptx_local), "cuModuleLoadDataEx");
}

static void prepare_unlaunched(void)
{
	must(state.api.module_function(&state.function, state.module, "unlaunched"),
	     "cuModuleGetFunction");
}

// One that needs more local memory has been launched before; the new one needs less.
static void prepare_less_local(void)
{
	prepare_load_local();
	must(launch_short(false), "cuLaunchKernel");
	must(load(ptx_less_local), "cuModuleLoadDataEx");
}

static void prepare_limit(void)
{
	enum { CU_LIMIT_STACK_SIZE = 0 };
	unsigned int (*set_limit)(unsigned int limit, size_t value);

	*(void **)&set_limit = symbol("cuCtxSetLimit");
	must(set_limit(CU_LIMIT_STACK_SIZE, 128 << 10), "cuCtxSetLimit");
	prepare_load_local();
}

static unsigned int call_launch(void)
{
	return launch_short(false);
}

static unsigned int call_load_launch(void)
{
	unsigned int result = load(ptx_other);

	return result ? result : launch_short(false);
}

static unsigned int call_cooperative(void)
{
	return launch_short(true);
}

// Beside a cooperative kernel that does not end either.
static unsigned int call_second_cooperative(void)
{
	cuda_address alive = state.device_page + 1024;
	void *parameters[] = { &state.device_page, &alive };
	struct CUfunc_st *spin;
	unsigned int result = state.api.module_function(&spin, state.module, "spin");

	if (!result)
		result = launch_cooperative(spin, state.other_stream, parameters);
	while (!result && !state.page[128])
		sleep_ms(1);
	return result ? result : launch_short(true);
}

static void prepare_second_cooperative(void)
{
	prepare_load();
	must(state.api.stream_create(&state.other_stream, CUDA_STREAM_NON_BLOCKING),
	     "cuStreamCreate");
}

static unsigned int call_attribute(void)
{
	int ignored;

	return state.api.function_attribute(&ignored, CUDA_FUNCTION_LOCAL_SIZE, state.function);
}

static unsigned int call_unload(void)
{
	return state.api.module_unload(state.other);
}

static unsigned int call_register_seen(void)
{
	cuda_address address;
	unsigned int result = register_host();

	if (!result)
		result = state.api.memory_device_pointer(&address, state.host, 0);
	return result ? result : seen_by_kernels(address);
}

static unsigned int call_unregister(void)
{
	return state.api.memory_unregister(state.host);
}

static unsigned int call_stream(void)
{
	return state.api.stream_create(&state.other_stream, CUDA_STREAM_NON_BLOCKING);
}

static void prepare_stream(void)
{
	must(call_stream(), "cuStreamCreate");
}

static unsigned int call_stream_destroy(void)
{
	return state.api.stream_destroy(state.other_stream);
}

static unsigned int call_memory_info(void)
{
	size_t unused, total;

	return state.api.memory_info(&unused, &total);
}

unsigned int call_ipc_get(void)
{
	unsigned int (*get)(struct ipc_handle *ret, cuda_address address);

	*(void **)&get = symbol("cuIpcGetMemHandle");
	return get(&state.handle, state.memory);
}

static const struct probe {
	const char *name;
	// Before the kernels are launched.
	void (*prepare)(void);
	unsigned int (*call)(void);
} probes[] = {
	{ "cuMemAlloc 4 KiB", NULL, call_alloc_small },
	{ "cuMemAlloc 64 MiB", NULL, call_alloc },
	{ "cuMemAlloc 64 MiB, seen by running kernels", NULL, call_alloc_seen },
	{ "cuMemAllocAsync 64 MiB", NULL, call_alloc_async },
	{ "cuMemFree 64 MiB", prepare_alloc, call_free },
	{ "cuMemsetD8Async 64 MiB", prepare_alloc, call_set },
	{ "cuMemcpyAsync 8 bytes, both ways", prepare_alloc, call_copy },
	{ "cuMemGetInfo", NULL, call_memory_info },
	{ "cuStreamCreate", NULL, call_stream },
	{ "cuStreamDestroy", prepare_stream, call_stream_destroy },
	{ "cuModuleLoadDataEx", NULL, call_load },
	{ "cuModuleLoadDataEx, 64 KiB of .local", NULL, call_load_local },
	{ "cuModuleLoadDataEx, 64 MiB of .global", NULL, call_load_large },
	{ "cuModuleUnload", prepare_load, call_unload },
	{ "cuFuncGetAttribute", prepare_load, call_attribute },
	{ "cuLaunchKernel, same module, first launch", prepare_unlaunched, call_launch },
	{ "cuLaunchKernel, other module, first launch", prepare_load, call_launch },
	{ "cuModuleLoadDataEx and cuLaunchKernel", NULL, call_load_launch },
	{ "cuLaunchCooperativeKernel, 4 x 64", prepare_load, call_cooperative },
	{ "cuLaunchCooperativeKernel beside a cooperative kernel that runs",
	  prepare_second_cooperative, call_second_cooperative },
	{ "cuLaunchKernel, more .local than any", prepare_load_local, call_launch },
	{ "cuLaunchKernel, less .local than one before", prepare_less_local, call_launch },
	{ "cuLaunchKernel, .local below CU_LIMIT_STACK_SIZE", prepare_limit, call_launch },
	{ "cuMemHostRegister 64 MiB READ_ONLY", make_host, register_host },
	{ "cuMemHostRegister 64 MiB READ_ONLY, seen by running kernels", make_host,
	  call_register_seen },
	{ "cuMemHostUnregister 64 MiB", register_ready, call_unregister },
	{ "cuIpcGetMemHandle", prepare_alloc, call_ipc_get },
};

void open_context(void)
{
	struct gs_error *err = cuda_api_open(&state.api);
	int device;

	if (err) {
		printf("%s\n", err->message);
		exit(77);
	}
	must(state.api.init(0), "cuInit");
	must(state.api.device_get(&device, 0), "cuDeviceGet");
	// As the engine does.
	state.api.context_flags(device, CUDA_SCHED_BLOCKING_SYNC | CUDA_LMEM_RESIZE_TO_MAX);
	must(state.api.context_retain(&state.context, device), "cuDevicePrimaryCtxRetain");
	must(state.api.context_push(state.context), "cuCtxPushCurrent");
	must(state.api.stream_create(&state.stream, CUDA_STREAM_NON_BLOCKING), "cuStreamCreate");
}

void open_page(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		must(CUDA_OPERATING_SYSTEM, "mmap");
	state.page = page;
	must(state.api.memory_register(page, 4096, CUDA_REGISTER_DEVICEMAP), "cuMemHostRegister");
	must(state.api.memory_device_pointer(&state.device_page, page, 0),
	     "cuMemHostGetDevicePointer");
	state.alive = state.device_page + 64;
	must(state.api.module_load(&state.module, ptx_spin, 0, NULL, NULL), "cuModuleLoadDataEx");
}

void launch_kernels(void)
{
	struct CUfunc_st *spin;

	must(state.api.module_function(&spin, state.module, "spin"), "cuModuleGetFunction");
	for (int i = 0; i < state.kernels; i++) {
		cuda_address alive = state.alive + (cuda_address)i * 8;
		void *parameters[] = { &state.device_page, &alive };

		must(state.api.stream_create(&state.streams[i], CUDA_STREAM_NON_BLOCKING),
		     "cuStreamCreate");
		must(state.api.launch(spin, 1, 1, 1, 1, 1, 1, 0, state.streams[i], parameters,
				      NULL),
		     "cuLaunchKernel");
	}
	for (int i = 0; i < state.kernels && state.alive == state.device_page + 64; i++) {
		uint64_t give_up = now_us() + 5000000;

		while (!state.page[8 + i] && now_us() < give_up)
			sleep_ms(1);
		if (!state.page[8 + i])
			must(CUDA_NOT_READY, "waiting for the kernels to start");
	}
}

static bool all_count(void)
{
	bool all = true;
	uint64_t before[KERNELS_MAX];

	for (int i = 0; i < state.kernels; i++)
		before[i] = state.page[8 + i];
	sleep_ms(20);
	for (int i = 0; i < state.kernels; i++)
		all &= state.page[8 + i] != before[i];
	return all;
}

void run_call(unsigned int (*call)(void))
{
	uint64_t begin = now_us();

	alarm(BLOCKS_AFTER_S);

	unsigned int result = call();
	uint64_t took = now_us() - begin;

	alarm(0);

	struct gs_error *err = cuda_error(&state.api, result, "%s", "fails");

	if (blocked)
		printf(" until the kernels end%s%s\n", err ? ", then " : "",
		       err ? err->message : "");
	else if (err)
		printf("%s: %s\n", label, err->message);
	else
		printf("%s: %" PRIu64 " us%s\n", label, took,
		       all_count() ? "" : ", but the kernels no longer count");
	fflush(stdout);
	gs_error_destroy(err);
}

static void child(const struct probe *probe, int kernels)
{
	signal(SIGALRM, on_alarm);
	state.kernels = kernels;
	open_context();
	open_page();
	if (probe->prepare)
		probe->prepare();
	launch_kernels();
	run_call(probe->call);
	state.page[0] = 1;
	_exit(0);
}

bool reap(pid_t pid, int seconds, int *status_ret)
{
	for (int i = 0; i < seconds * 100; i++) {
		if (waitpid(pid, status_ret, WNOHANG) == pid)
			return true;
		sleep_ms(10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, status_ret, 0);
	return false;
}

static int run_probe(const struct probe *probe, int kernels)
{
	int status = 0;

	snprintf(label, sizeof(label), "%s, %d kernel%s", probe->name, kernels,
		 kernels > 1 ? "s" : "");
	fflush(stdout);

	pid_t pid = fork();

	if (pid < 0)
		return 1;
	if (!pid)
		child(probe, kernels);
	if (!reap(pid, 40, &status))
		printf("%s: the process had to be killed\n", label);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strstr(name, argv[i]))
			return true;
	}
	return argc < 2;
}

int main(int argc, char **argv)
{
	static const int kernels[] = { 1, KERNELS_MAX };

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(kernels); j++) {
			if (wanted(probes[i].name, argc, argv) &&
			    run_probe(&probes[i], kernels[j]) == 77)
				return 77;
		}
	}
	if (wanted("cuIpcOpenMemHandle, two processes", argc, argv))
		run_ipc();
	return 0;
}
