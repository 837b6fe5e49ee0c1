// SPDX-License-Identifier: Apache-2.0
// A monitor whose NIC is played by the copy engines of another process: it writes requests into the mailbox and reads
// the answers, while the process that watches is stopped. None may be lost, done twice, or torn.
//   nic [-e cuda|cpu] [-d DEVICE] [-n REQUESTS] [-s SECONDS] CORE DETECTOR.so...
// Ends after so many requests or seconds. -d: the GPU whose copy engines play the NIC; the engine runs on GPU 0. With -e cpu, bytes are copied in shared memory and
// nobody is stopped. Prints lines "NAME VALUE UNIT". Exit 0, 1: failed, 2: wrong use, 77: no such engine here.
#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gpusentinel/engine.h>

#include "nic.h"
#include "util/parse.h"
#include "tool.h"

enum { REQUESTS = 1000000, SECONDS = 100 };

// True once it has ended by itself.
static bool ended(pid_t pid, int seconds, int *status)
{
	for (int i = 0; i < seconds * 100; i++) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return false;
}

// The process that watches.
static int watch(const char *engine_name, char **argv, int argc, int to, int from)
{
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_detector_options options = { .size = sizeof(options) };
	struct nic_handover handover = {};
	struct gs_target *target;
	struct gs_kernel *kernel;
	struct gs_engine *engine;
	struct gs_fat *fats[GS_MAILBOX_DETECTORS];
	struct gs_mailbox_heartbeat beat;
	char ignored;
	int count = 0;

	die_of(gs_target_open(argv[0], &target_options, &target), 1);
	die_of(gs_kernel_open(target, &kernel_options, &kernel), 1);
	die_of(gs_engine_create(engine_name, kernel, &engine), 77);
	for (; count < argc - 1 && count < GS_MAILBOX_DETECTORS; count++) {
		struct gs_detector *detector;

		die_of(gs_fat_open(argv[count + 1], &fats[count]), 1);
		die_of(gs_engine_add(engine, fats[count], 0, &options, &detector), 1);
	}
	die_of(gs_engine_start(engine, ignore, NULL), 1);
	die_of(gs_engine_export(engine, &handover.export), 1);
	if (!handover.export.memory) {
		off_t size = lseek(handover.export.fd, 0, SEEK_END);

		if (size < (off_t)handover.export.size)
			errx(1, "the dma-buf has %lld bytes, the mailbox %" PRIu64, (long long)size,
			     handover.export.size);
		printf("dma-buf %lld bytes\n", (long long)size);
		nic_share(&handover);
	}
	fflush(stdout);
	if (write(to, &handover, sizeof(handover)) != sizeof(handover))
		err(1, "pipe");
	// Until the monitor is done.
	if (read(from, &ignored, 1) < 0)
		err(1, "pipe");
	die_of(gs_engine_heartbeat(engine, &beat), 1);
	printf("heartbeats %" PRIu64 " beats\n", beat.counter);
	fflush(stdout);
	gs_engine_stop(engine);
	gs_engine_destroy(engine);
	while (count)
		gs_fat_close(fats[--count]);
	gs_kernel_close(kernel);
	gs_target_close(target);
	return 0;
}

int main(int argc, char **argv)
{
	const char *engine_name = "cuda";
	uint64_t requests = REQUESTS, seconds = SECONDS, device = 0;
	int option, there[2], back[2], status = 0, failed = 0;

	while ((option = getopt(argc, argv, "e:d:n:s:")) >= 0) {
		const char *text = optarg;
		bool good = option == 'e' ||
			    (option == 'd' && gs_parse_decimal(&text, &device) && !*text) ||
			    (option == 's' && gs_parse_decimal(&text, &seconds) && !*text) ||
			    (option == 'n' && gs_parse_decimal(&text, &requests) && !*text);

		if (option == 'e')
			engine_name = optarg;
		else if (!good)
			optind = argc;
	}
	if (argc - optind < 2 || device > 15 || seconds > SECONDS) {
		fprintf(stderr,
			"usage: nic [-e cuda|cpu] [-d DEVICE] [-n REQUESTS] [-s SECONDS] CORE DETECTOR.so...\n");
		return 2;
	}
	if (pipe(there) || pipe(back))
		err(1, "pipe");

	// Neither process has touched the driver before they part.
	pid_t watcher = fork();

	if (watcher < 0)
		err(1, "fork");
	if (!watcher) {
		close(there[0]);
		close(back[1]);
		return watch(engine_name, argv + optind, argc - optind, there[1], back[0]);
	}
	close(there[1]);
	close(back[0]);

	pid_t monitor = fork();

	if (monitor < 0)
		err(1, "fork");
	if (!monitor) {
		close(back[1]);
		return nic_monitor(argv[optind], there[0], (int)device, requests, seconds, watcher);
	}
	close(there[0]);
	if (!ended(monitor, SECONDS + 20, &status)) {
		warnx("the monitor had to be ended after %d s", SECONDS + 20);
		failed = 1;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status))
		failed = 1;
	kill(watcher, SIGCONT);
	close(back[1]);
	if (!ended(watcher, 30, &status)) {
		warnx("the watching process had to be ended");
		failed = 1;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		failed = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	return failed;
}
