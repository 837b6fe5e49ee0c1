// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_async.h"

struct pipes {
	int handle[2], end[2];
};

static void exporter(struct pipes *pipes)
{
	char ignored;

	signal(SIGALRM, on_alarm);
	close(pipes->end[1]);
	state.kernels = 1;
	open_context();
	open_page();
	prepare_alloc();
	must(call_set(), "cuMemsetD8Async");
	state.alive = state.memory;
	launch_kernels();
	must(call_ipc_get(), "cuIpcGetMemHandle");
	if (write(pipes->handle[1], &state.handle, sizeof(state.handle)) < 0 ||
	    read(pipes->end[0], &ignored, 1) < 0)
		_exit(1);
	state.page[0] = 1;
	_exit(0);
}

static unsigned int call_context(void)
{
	open_context();
	return CUDA_OK;
}

static unsigned int call_ipc_open(void)
{
	unsigned int (*open_handle)(cuda_address *ret, struct ipc_handle handle,
				    unsigned int flags);

	*(void **)&open_handle = symbol("cuIpcOpenMemHandle_v2");
	return open_handle(&state.memory, state.handle, 1);
}

static unsigned int call_ipc_read(void)
{
	unsigned int result = state.api.copy_from_device(&state.word, state.memory,
							 sizeof(state.word), state.stream);

	return result ? result : state.api.stream_wait(state.stream);
}

static void importer(void)
{
	static uint64_t page[512];

	// Nothing of ours runs: what waits, waits for the other process.
	signal(SIGALRM, on_alarm);
	state.page = page;
	snprintf(label, sizeof(label), "second process: context, owner stopped");
	run_call(call_context);
	snprintf(label, sizeof(label), "second process: cuIpcOpenMemHandle, owner stopped");
	run_call(call_ipc_open);
	snprintf(label, sizeof(label), "second process: copy of 8 bytes, owner stopped");
	run_call(call_ipc_read);

	uint64_t before = state.word;

	sleep_ms(100);
	must(call_ipc_read(), "reading once more");
	printf("second process: the stopped owner's kernel counted on from %" PRIu64 " to %" PRIu64
	       "\n",
	       before, state.word);
	fflush(stdout);
	_exit(0);
}

void run_ipc(void)
{
	struct pipes pipes;
	int status;

	if (pipe(pipes.handle) || pipe(pipes.end))
		return;
	snprintf(label, sizeof(label), "two processes");
	fflush(stdout);

	pid_t owner = fork();

	if (!owner)
		exporter(&pipes);
	close(pipes.handle[1]);
	close(pipes.end[0]);
	if (owner > 0 && read(pipes.handle[0], &state.handle, sizeof(state.handle)) ==
				 (ssize_t)sizeof(state.handle)) {
		kill(owner, SIGSTOP);
		waitpid(owner, &status, WUNTRACED);

		pid_t reader = fork();

		if (!reader)
			importer();
		if (reader > 0 && !reap(reader, 20, &status))
			printf("two processes: the reader had to be killed\n");
		kill(owner, SIGCONT);
	}
	close(pipes.end[1]);
	close(pipes.handle[0]);
	if (owner > 0 && !reap(owner, 40, &status))
		printf("two processes: the owner had to be killed\n");
}
