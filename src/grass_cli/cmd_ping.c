// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/text.h"
#include "grass_cli/grass.h"
#include "util/clock.h"

static const char help[] =
	"Usage: grass ping HOST [-c COUNT] [-i SECONDS] [-q] [--json]\n"
	"Ask the host's engine whether it is there, again and again, and show how long\n"
	"each answer took. The host's operating system takes no part in that.\n"
	"\n"
	"  -c, --count COUNT       end after so many; else at ^C\n"
	"  -i, --interval SECONDS  from one to the next; 1 if not given\n"
	"  -q, --quiet             only the summary\n"
	"  --json                  an object a line, and one for the summary\n"
	"\n"
	"\"age\" is how long ago the engine's heart had beaten when it answered. Exit\n"
	"status 1 if no answer came at all.\n"
	"\n"
	"  grass ping web1\n"
	"  grass ping web1 -c 1000 -i 0.001 -q\n";

struct ping {
	struct host host;
	uint64_t count, interval_ns;
	bool quiet, json;
	// An answer is owed.
	bool owed;
	uint64_t sent, answered, start_ns;
	// Of round trips.
	uint64_t min_ns, max_ns;
	double sum_ns, square_sum;
};

static void note(struct ping *ping, uint64_t took_ns)
{
	if (!ping->answered || took_ns < ping->min_ns)
		ping->min_ns = took_ns;
	if (took_ns > ping->max_ns)
		ping->max_ns = took_ns;
	ping->answered++;
	ping->sum_ns += (double)took_ns;
	ping->square_sum += (double)took_ns * (double)took_ns;
}

static void print_answer(const struct ping *ping, const struct gs_ping_answer *pong,
			 uint64_t took_ns, uint64_t age_ns)
{
	const char *name = ping->host.address->name;

	if (ping->json) {
		struct json_object *object = json_object_new_object();

		json_add_string(object, "host", name);
		json_add_number(object, "seq", ping->sent);
		json_add_bool(object, "answered", true);
		json_add_number(object, "rtt_ns", took_ns);
		json_add_number(object, "beats", pong->answer.beats);
		json_add_number(object, "age_ns", age_ns);
		json_add_hex(object, "launched", pong->launched);
		json_add_hex(object, "stalled", pong->stalled);
		json_print(object, false);
		return;
	}
	printf("answer from %s: seq=%" PRIu64 " time=%.3f ms beats=%" PRIu64 " age=%.1f ms", name,
	       ping->sent, (double)took_ns / 1e6, pong->answer.beats, (double)age_ns / 1e6);
	if (pong->stalled)
		printf(" stalled=%d", __builtin_popcountll(pong->stalled));
	putchar('\n');
}

static void print_silence(const struct ping *ping, const char *why)
{
	if (ping->json) {
		struct json_object *object = json_object_new_object();

		json_add_string(object, "host", ping->host.address->name);
		json_add_number(object, "seq", ping->sent);
		json_add_bool(object, "answered", false);
		json_add_string(object, "why", why);
		json_print(object, false);
		return;
	}
	printf("no answer from %s: seq=%" PRIu64 ": %s\n", ping->host.address->name, ping->sent,
	       why);
}

// One request.
static struct gs_error *ask(struct ping *ping, struct gs_mailbox_heartbeat *beat,
			    struct gs_ping_answer *pong, uint64_t *took_ret)
{
	struct gs_error *err = ping->owed ? mailbox_client_synchronise(ping->host.client) : NULL;

	if (err)
		return err;
	ping->owed = false;
	err = mailbox_read_heartbeat(ping->host.reader, beat);
	if (err)
		return err;

	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	err = mailbox_client_ping(ping->host.client, pong);
	*took_ret = clock_ns(CLOCK_MONOTONIC) - start;
	ping->owed = err;
	return err;
}

static void ping_once(struct ping *ping)
{
	struct gs_mailbox_heartbeat beat;
	struct gs_ping_answer pong;
	uint64_t took_ns, age_ns = 0;

	ping->sent++;

	struct gs_error *err = ask(ping, &beat, &pong, &took_ns);

	if (err) {
		if (!ping->quiet)
			print_silence(ping, err->message);
		gs_error_destroy(err);
		return;
	}
	note(ping, took_ns);
	if (pong.answer.seen_ns > beat.time_ns)
		age_ns = pong.answer.seen_ns - beat.time_ns;
	if (!ping->quiet)
		print_answer(ping, &pong, took_ns, age_ns);
}

static void print_summary(const struct ping *ping)
{
	uint64_t answered = ping->answered;
	double mean = answered ? ping->sum_ns / (double)answered : 0;
	double variance = answered ? ping->square_sum / (double)answered - mean * mean : 0;
	double mdev = sqrt(variance > 0 ? variance : 0);
	uint64_t time_ns = clock_ns(CLOCK_MONOTONIC) - ping->start_ns;

	if (ping->json) {
		struct json_object *object = json_object_new_object();

		json_add_string(object, "host", ping->host.address->name);
		json_add_number(object, "sent", ping->sent);
		json_add_number(object, "answers", answered);
		json_add_number(object, "time_ns", time_ns);
		if (answered) {
			json_add_number(object, "min_ns", ping->min_ns);
			json_add_number(object, "avg_ns", (uint64_t)mean);
			json_add_number(object, "max_ns", ping->max_ns);
			json_add_number(object, "mdev_ns", (uint64_t)mdev);
		}
		json_print(object, false);
		return;
	}
	printf("--- %s ---\n"
	       "%" PRIu64 " requests sent, %" PRIu64 " answered, %.4g%% lost, time %" PRIu64
	       " ms\n",
	       ping->host.address->name, ping->sent, answered,
	       ping->sent ? 100.0 * (double)(ping->sent - answered) / (double)ping->sent : 0,
	       time_ns / 1000000);
	if (answered)
		printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n",
		       (double)ping->min_ns / 1e6, mean / 1e6, (double)ping->max_ns / 1e6,
		       mdev / 1e6);
}

static void print_start(const struct ping *ping)
{
	const struct gs_mailbox_header *header = ping->host.header;

	if (ping->json)
		return;
	printf("PING %s: Linux ", ping->host.address->name);
	text_print(stdout, header->release, strlen(header->release), false);
	printf(", watched by a%s\n", header->engine == GS_MAILBOX_CUDA ? " GPU" : " CPU");
}

static struct gs_error *ping_host(struct ping *ping)
{
	const volatile bool *stop = interrupt_catch();

	print_start(ping);
	ping->start_ns = clock_ns(CLOCK_MONOTONIC);
	for (uint64_t next = ping->start_ns;;) {
		ping_once(ping);
		if (fflush(stdout) || *stop || (ping->count && ping->sent >= ping->count))
			break;
		next += ping->interval_ns;

		uint64_t now = clock_ns(CLOCK_MONOTONIC);

		// What was missed is skipped.
		if (next < now)
			next = now;
		if (!interrupt_sleep(next - now))
			break;
	}
	print_summary(ping);
	if (ping->answered)
		return NULL;
	return gs_error_create(GS_ERROR_OTHER, "no answer from %s", ping->host.address->name);
}

struct gs_error *cmd_ping(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "count", required_argument, NULL, 'c' },
		{ "interval", required_argument, NULL, 'i' },
		{ "quiet", no_argument, NULL, 'q' },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "c:i:q", options, false };
	struct ping ping = { .interval_ns = 1000000000 };
	struct gs_error *err = NULL;
	int c;

	while (!err && (c = cli_getopt(&parser, &err)) != -1) {
		if (c == 'c')
			err = cli_number("--count", optarg, 1, UINT64_MAX, &ping.count);
		else if (c == 'i')
			err = grass_seconds("--interval", optarg, &ping.interval_ns);
		else
			ping.quiet = true;
	}
	if (err || parser.done)
		return err;
	err = cli_no_operands(&parser);
	ping.json = cli->json;
	if (!err)
		err = grass_open(grass_of(cli), false, &ping.host);
	if (!err)
		err = ping_host(&ping);
	grass_close_host(&ping.host);
	return err;
}
