// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/stream.h"
#include "cli/text.h"
#include "grass_cli/fleet.h"
#include "grass_cli/grass.h"
#include "util/cleanup.h"
#include "util/clock.h"

static const char help[] =
	"Usage: grass watch HOST... [-H FILE] [OPTION]...\n"
	"Watch hosts until ^C: a line when a host dies, falls silent or comes back, and\n"
	"one for each finding.\n"
	"\n"
	"  -i, --interval SECONDS  from one heartbeat to the next; 1 if not given\n"
	"  --misses N              so many answers in a row that are missing make a host\n"
	"                          unreachable; 3 if not given\n"
	"  --answers N             so many in a row bring it back; 2 if not given\n"
	"  --symbols               name functions in findings: megabytes for each host\n"
	"  --once                  end when there is a verdict on each\n"
	"  --json                  an object a line, written at once\n"
	"\n"
	"ALIVE; OS-DEAD: the host's kernel is reported dead, and what watches it\n"
	"answers; UNREACHABLE: nobody answers. With --once the exit status is 1 unless\n"
	"all are alive.\n"
	"\n"
	"  grass watch web1 web2\n"
	"  grass watch -H /etc/gpusentinel/hosts --interval 10 --json\n";

struct watching {
	struct watch_options options;
	struct watch_end end;
	bool json, colour;
	// One line at a time.
	pthread_mutex_t lock;
	// A line could not be written. Under the lock.
	bool broken;
};

struct member {
	struct watching *watching;
	const struct host_address *address;
	struct stream stream;
	uint64_t number;
};

static const struct look {
	const char *word, *colour;
} looks[] = {
	[VERDICT_NONE] = { "", "" },
	[VERDICT_ALIVE] = { "ALIVE", "\033[32m" },
	[VERDICT_OS_DEAD] = { "OS-DEAD", "\033[1;31m" },
	[VERDICT_UNREACHABLE] = { "UNREACHABLE", "\033[1;31m" },
};

static void print_json(const struct host_address *address, const struct verdict *verdict,
		       const char *release, uint64_t since_ns)
{
	struct json_object *object = json_object_new_object();

	json_add_string(object, "host", address->name);
	json_add_string(object, "kind", "verdict");
	json_add_string(object, "verdict", verdict_name(verdict->state));
	json_add_number(object, "since_ns", since_ns);
	json_add_string(object, "why", verdict->why);
	json_add_string(object, "release", release);
	json_add_string(object, "was", verdict_name(verdict->before));
	json_add_number(object, "was_for_ns", verdict->lasted_ns);
	json_print(object, false);
}

static void print_text(const struct watching *watching, const struct host_address *address,
		       const struct verdict *verdict, const char *release, uint64_t since_ns)
{
	const struct look *look = &looks[verdict->state];
	char wall[TEXT_NUMBER_MAX], lasted[TEXT_NUMBER_MAX];

	text_wall(wall, since_ns);
	printf("%s %s%-8s%s %s: ", wall, watching->colour ? look->colour : "", look->word,
	       watching->colour ? "\033[0m" : "", address->name);
	if (*verdict->why) {
		text_print(stdout, verdict->why, strlen(verdict->why), false);
	} else {
		fputs("Linux ", stdout);
		text_print(stdout, release, strlen(release), false);
	}
	text_duration(lasted, verdict->lasted_ns);
	if (verdict->before != VERDICT_NONE)
		printf(" (was %s for %s)", looks[verdict->before].word, lasted);
	putchar('\n');
}

static void flush(struct watching *watching)
{
	// Whoever reads the stream acts on it: each line leaves at once.
	if (fflush(stdout) || ferror(stdout))
		watching->broken = true;
}

static void tell_verdict(void *arg, const struct verdict *verdict, const char *release)
{
	const struct member *member = arg;
	struct watching *watching = member->watching;
	// Verdicts go by a clock that does not know the time of day.
	uint64_t since_ns =
		clock_ns(CLOCK_REALTIME) - (clock_ns(CLOCK_MONOTONIC) - verdict->since_ns);

	pthread_mutex_lock(&watching->lock);
	if (watching->json)
		print_json(member->address, verdict, release, since_ns);
	else
		print_text(watching, member->address, verdict, release, since_ns);
	flush(watching);
	pthread_mutex_unlock(&watching->lock);
}

static void tell_finding(void *arg, const struct gs_record *record, uint64_t number)
{
	struct member *member = arg;
	struct watching *watching = member->watching;

	member->number = number;
	pthread_mutex_lock(&watching->lock);
	stream_record(&member->stream, record);
	flush(watching);
	pthread_mutex_unlock(&watching->lock);
}

static struct gs_error *make_member(struct watching *watching, struct member *member,
				    const struct host_address *address)
{
	*member = (struct member){
		.watching = watching,
		.address = address,
		.stream = {
			.host = address->name,
			.number = &member->number,
			.json = watching->json,
			.colour = watching->colour,
			.conditions = gs_conditions_create(),
		},
	};
	return member->stream.conditions ? NULL : &gs_enomem;
}

static bool goes_on(void *arg)
{
	struct watching *watching = arg;

	pthread_mutex_lock(&watching->lock);

	bool ret = !watching->broken;

	pthread_mutex_unlock(&watching->lock);
	return ret;
}

static struct gs_error *watch_all(struct watching *watching, const struct hosts *hosts)
{
	_cleanup_free_ struct member *members = calloc(hosts->count, sizeof(*members));
	struct gs_error *err = members ? NULL : &gs_enomem;
	size_t made = 0, dead = 0;

	for (; made < hosts->count && !err; made += !err)
		err = make_member(watching, &members[made], &hosts->list[made]);
	if (!err)
		err = fleet_watch(hosts, &watching->options, members, sizeof(*members), goes_on,
				  watching, &dead);
	for (size_t i = 0; i < made; i++)
		gs_conditions_destroy(members[i].stream.conditions);
	if (!err && watching->options.once && dead)
		err = gs_error_create(GS_ERROR_OTHER, "%zu of %zu hosts %s not alive", dead,
				      hosts->count, dead == 1 ? "is" : "are");
	return err;
}

static struct gs_error *parse(struct watching *watching, struct cli_parser *parser)
{
	enum { ONCE = FLEET_OPTION_END };
	static const struct option options[] = {
		FLEET_LONG_OPTIONS,
		{ "once", no_argument, NULL, ONCE },
		{},
	};
	struct gs_error *err = NULL;
	int c;

	parser->short_options = FLEET_SHORT_OPTIONS;
	parser->long_options = options;
	while (!err && (c = cli_getopt(parser, &err)) != -1) {
		if (c == ONCE)
			watching->options.once = true;
		else
			err = fleet_option(&watching->options, c, optarg);
	}
	return err;
}

struct gs_error *cmd_watch(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct grass *grass = grass_of(cli);
	const struct hosts *hosts;
	struct watching watching = {
		.options = {
			.verdict = tell_verdict,
			.finding = tell_finding,
			.end = &watching.end,
		},
	};
	struct gs_error *err;

	fleet_defaults(&watching.options);
	err = parse(&watching, &parser);

	if (err || parser.done)
		return err;
	err = grass_begin(grass, &parser, &hosts);
	if (err)
		return err;
	watching.json = cli->json;
	watching.colour = !cli->json && text_colour(stdout);
	watching.options.host = grass->options;
	interrupt_catch();
	watch_end_init(&watching.end);
	pthread_mutex_init(&watching.lock, NULL);
	err = watch_all(&watching, hosts);
	pthread_mutex_destroy(&watching.lock);
	watch_end_deinit(&watching.end);
	return err;
}
