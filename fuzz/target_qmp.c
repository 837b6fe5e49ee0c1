// SPDX-License-Identifier: Apache-2.0
// qemu: everything that QEMU says. The input is what it sends, on a socket of this process, which also
// has a memory backend mapped, at the address below.
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gpusentinel/target.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BACKEND ((void *)UINT64_C(0x200000000000))
#define BACKEND_SIZE (UINT64_C(64) << 20)

static struct {
	int listener;
	const uint8_t *data;
	size_t size;
	sem_t served;
} server;

static char directory[] = "/tmp/gpusentinel-fuzz-XXXXXX";
static char spec[128];

static void clean_up(void)
{
	unlink(spec + strlen("qemu:"));
	rmdir(directory);
}

static void serve_one(int client)
{
	const uint8_t *data = server.data;
	size_t left = server.size;
	char questions[4096];

	while (left) {
		ssize_t n = send(client, data, left, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		data += n;
		left -= n;
	}
	shutdown(client, SHUT_WR);
	// Who closes before the client has asked everything fails its questions.
	while (recv(client, questions, sizeof(questions), 0) > 0)
		;
	close(client);
}

static void *serve(void *arg)
{
	for (;;) {
		int client = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);

		if (client >= 0) {
			serve_one(client);
			sem_post(&server.served);
		}
	}
	return arg;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int backend = memfd_create("backend", MFD_CLOEXEC);
	sigset_t all, old;
	pthread_t thread;

	(void)argc;
	(void)argv;
	if (backend < 0 || ftruncate(backend, BACKEND_SIZE) < 0 ||
	    mmap(BACKEND, BACKEND_SIZE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, backend, 0) != BACKEND)
		abort();
	if (!mkdtemp(directory))
		abort();
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/qmp", directory);
	snprintf(spec, sizeof(spec), "qemu:%s", address.sun_path);
	atexit(clean_up);
	server.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server.listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(server.listener, 8) < 0 || sem_init(&server.served, 0, 0) < 0)
		abort();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&thread, NULL, serve, NULL))
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return 0;
}

static void walk(struct gs_target *target)
{
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);
	uint64_t end = 0, word;

	for (size_t i = 0; i < count; i++) {
		if (!segments[i].size || segments[i].phys < end)
			abort();
		end = segments[i].phys + segments[i].size;
		gs_error_destroy(gs_target_read(target, end - sizeof(word), &word, sizeof(word)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct gs_target *target;

	// Who is hung up on without a word tries again for a while.
	if (!size)
		return 0;
	server.data = data;
	server.size = size;

	struct gs_error *err = gs_target_open(spec, &options, &target);

	if (!err) {
		walk(target);
		gs_target_close(target);
	}
	gs_error_destroy(err);
	// libFuzzer's timer interrupts it.
	while (sem_wait(&server.served) < 0)
		;
	return 0;
}
