// SPDX-License-Identifier: Apache-2.0
// monitor keys DIR: make an authority in DIR, the host "host" and the monitor "noc".
// monitor watch DIR PORT NAME TARGET: be the monitor NAME of the host on this machine. It answers each line on standard input with one:
//   look     what the mailbox has in the meantime brought of each detector: "NAME ROWS FINDINGS; ..."
//   symbols  how many of the kernel's symbols were asked for, and how many of them the host itself names otherwise
//   leave    gives its place back, and ends
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gpusentinel/kernel_info.h>
#include <gpusentinel/record.h>
#include <gpusentinel/target.h>

#include "grass/control.h"
#include "grass/keys.h"

struct counts {
	uint64_t rows[GS_MAILBOX_DETECTORS], findings[GS_MAILBOX_DETECTORS];
};

static void must(struct gs_error *error)
{
	if (error)
		errx(1, "%s", error->message);
}

static struct gs_error *count(void *arg, const struct gs_mailbox_entry *entry, const void *record)
{
	const struct gs_record_header *header = record;
	struct counts *counts = arg;

	if (header->kind == GS_RECORD_ROW)
		counts->rows[entry->detector]++;
	else if (header->kind != GS_RECORD_METRIC)
		counts->findings[entry->detector]++;
	return NULL;
}

static void look(struct grass_session *session, struct counts *counts)
{
	struct mailbox_reader *reader = grass_session_reader(session);
	struct gs_ping_answer pong;
	uint64_t came;

	must(mailbox_client_ping(grass_session_client(session), &pong));
	for (int ring = 0; ring < GS_MAILBOX_RINGS; ring++)
		must(mailbox_poll(reader, (enum gs_mailbox_ring_index)ring, count, counts, &came));
	for (uint32_t i = 0; i < GS_MAILBOX_DETECTORS; i++) {
		struct gs_mailbox_detector row;

		must(mailbox_read_detector(reader, i, &row));
		if (row.state != GS_MAILBOX_EMPTY)
			printf("%s %" PRIu64 " %" PRIu64 "; ", row.name, counts->rows[i],
			       counts->findings[i]);
	}
	putchar('\n');
}

struct comparison {
	struct grass_session *session;
	struct gs_kernel *kernel;
	uint64_t asked, differ;
};

static bool compare(void *arg, const char *name, char type, uint64_t address)
{
	struct comparison *comparison = arg;
	char ours[1200], theirs[1200];

	(void)name;
	(void)type;
	// Each hundredth: the host's own way is slow.
	if (address >> 63 == 0 || comparison->asked++ % 100)
		return true;
	gs_kernel_symbolize(comparison->kernel, address + 1, theirs, sizeof(theirs));
	grass_session_symbolize(comparison->session, address + 1, ours, sizeof(ours));
	if (strcmp(ours, theirs) != 0) {
		fprintf(stderr, "%s, but the host says %s\n", ours, theirs);
		comparison->differ++;
	}
	return true;
}

static void symbols(struct grass_session *session, const char *spec)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct comparison comparison = { .session = session };
	struct gs_target *target;

	must(gs_target_open(spec, &options, &target));
	must(gs_kernel_open(target, NULL, &comparison.kernel));
	must(gs_kernel_for_each_symbol(comparison.kernel, compare, &comparison));
	printf("%" PRIu64 " %" PRIu64 "\n", comparison.asked / 100, comparison.differ);
	gs_kernel_close(comparison.kernel);
	gs_target_close(target);
}

static void watch(const char *dir, const char *port, const char *name, const char *spec)
{
	char ca[256], certificate[256], key[256], line[64];
	struct grass_host host = {
		.size = sizeof(host),
		.name = "host",
		.address = "127.0.0.1",
		.port = (uint16_t)atoi(port),
		.identity = { ca, certificate, key },
		.fabric = &fabric_shm_link,
		.symbols = true,
	};
	struct grass_session *session;
	struct counts counts = {};

	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	snprintf(certificate, sizeof(certificate), "%s/%s.crt", dir, name);
	snprintf(key, sizeof(key), "%s/%s.key", dir, name);
	must(grass_connect(&host, &session));
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("place %u\n", grass_session_monitor(session));
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "leave\n") != 0) {
		if (!strcmp(line, "look\n"))
			look(session, &counts);
		else
			symbols(session, spec);
	}
	grass_session_close(session, true);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "keys")) {
		must(grass_keys_make_ca(argv[2]));
		must(grass_keys_make_host(argv[2], "host"));
		must(grass_keys_make_monitor(argv[2], "noc"));
	} else if (argc == 6 && !strcmp(argv[1], "watch")) {
		watch(argv[2], argv[3], argv[4], argv[5]);
	} else {
		errx(2, "usage: monitor keys DIR | watch DIR PORT NAME TARGET");
	}
	return 0;
}
