// SPDX-License-Identifier: Apache-2.0
// fleet_hosts KEYS COUNT: so many hosts h1, h2, ... with an empty mailbox each and no machine behind it, over the fabric shm.
// Prints "h1@127.0.0.1:PORT" for each, then serves until its standard input ends.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <gpusentinel/ctx.h>

#include "grass/control.h"
#include "mailbox/layout.h"
#include "request.h"
#include "util/clock.h"

// As many as a host with all that is shipped.
enum { DETECTORS = 27 };

struct host {
	struct gs_mailbox_header header;
	struct gs_mailbox_export export;
	struct gs_supervisor supervisor;
	struct gs_block block;
	struct gs_map map;
	struct grass_server *server;
};

static void be_quiet(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

static void fail(struct gs_error *err, const char *what)
{
	fprintf(stderr, "fleet_hosts: %s\n", err ? err->message : what);
	exit(1);
}

static void fill(struct host *host)
{
	struct gs_mailbox_detector *rows =
		(void *)((uint8_t *)host->export.memory + host->header.detectors.offset);
	char name[32];

	for (int i = 0; i < DETECTORS; i++) {
		snprintf(name, sizeof(name), "detector%d", i);
		mailbox_row(&rows[i], name, 1000000, 1, 1, NULL);
		rows[i].state = GS_MAILBOX_WAITING;
		rows[i].crc = mailbox_crc(&rows[i], sizeof(rows[i]), &rows[i].crc);
	}
}

static void start(struct host *host, const char *keys, int number)
{
	static const uint64_t slots[] = { MAILBOX_FINDING_SLOTS, MAILBOX_DATA_SLOTS };
	static const char *const listen[] = { "127.0.0.1:0" };
	char ca[256], certificate[256], key[256], name[16];
	void *memory;

	mailbox_layout(&host->header, GS_MAILBOX_CPU, slots);
	snprintf(host->header.release, sizeof(host->header.release), "6.1.0-50-amd64");
	mailbox_seal_header(&host->header);
	host->export.size = host->header.size;
	host->export.header = &host->header;
	host->export.fd = memfd_create("mailbox", MFD_CLOEXEC);
	if (host->export.fd < 0 || ftruncate(host->export.fd, (off_t)host->header.size))
		fail(NULL, "no memory for a mailbox");
	memory = mmap(NULL, host->header.size, PROT_READ | PROT_WRITE, MAP_SHARED, host->export.fd,
		      0);
	if (memory == MAP_FAILED)
		fail(NULL, "no memory for a mailbox");
	host->export.memory = memory;
	memcpy(memory, &host->header, sizeof(host->header));
	fill(host);
	host->supervisor.map = (uint64_t)&host->map;
	host->supervisor.block = (uint64_t)&host->block;
	mailbox_supervisor(&host->supervisor, &host->header, (uint64_t)memory,
			   (uint64_t)mailbox_crc32c());
	gs_requests_begin(&host->supervisor, mailbox_crc32c());

	snprintf(name, sizeof(name), "h%d", number);
	snprintf(ca, sizeof(ca), "%s/ca.crt", keys);
	snprintf(certificate, sizeof(certificate), "%s/%s.crt", keys, name);
	snprintf(key, sizeof(key), "%s/%s.key", keys, name);

	struct grass_server_options options = {
		.size = sizeof(options),
		.listen = listen,
		.listen_count = 1,
		.identity = { .ca = ca, .certificate = certificate, .key = key },
		.host = name,
		.fabric = &fabric_shm_server,
		.mailbox = &host->export,
		.log = be_quiet,
	};
	struct gs_error *err = grass_server_start(&options, &host->server);

	if (err)
		fail(err, NULL);
	printf("%s@127.0.0.1:%u\n", name, grass_server_port(host->server));
}

// One heartbeat, and what has been asked.
static void turn(struct host *host)
{
	struct gs_mailbox_heartbeat *heartbeat = (void *)host->supervisor.heartbeat;
	struct gs_piece piece;

	heartbeat->counter++;
	heartbeat->crc = mailbox_crc(heartbeat, sizeof(*heartbeat), &heartbeat->crc);
	gs_requests_turn(&host->supervisor, mailbox_crc32c(), clock_ns(CLOCK_MONOTONIC), &piece);
}

int main(int argc, char **argv)
{
	int count = argc == 3 ? atoi(argv[2]) : 0;
	struct host *hosts = count > 0 ? calloc((size_t)count, sizeof(*hosts)) : NULL;
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	if (!hosts) {
		fprintf(stderr, "usage: fleet_hosts KEYS COUNT\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < count; i++)
		start(&hosts[i], argv[1], i + 1);
	puts("ready");
	fflush(stdout);
	while (!poll(&input, 1, 1)) {
		for (int i = 0; i < count; i++)
			turn(&hosts[i]);
	}
	return 0;
}
