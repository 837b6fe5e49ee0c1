// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/stream.h"
#include "cli/text.h"
#include "grass_cli/grass.h"
#include "grass_cli/watch.h"
#include "util/cleanup.h"

// Of a thread for each host, which mostly sleeps.
enum { STACK = 256 << 10 };
// How often the main thread looks whether they go on.
#define LOOK_NS UINT64_C(200000000)

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

struct fleet {
	struct watch_options options;
	struct watch_end end;
	bool json, colour;
	// One line at a time.
	pthread_mutex_t lock;
	// A line could not be written. Under the lock, as what follows.
	bool broken;
	size_t running, dead;
};

struct member {
	struct fleet *fleet;
	const struct host_address *address;
	struct stream stream;
	uint64_t number;
	pthread_t thread;
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

static void print_text(const struct fleet *fleet, const struct host_address *address,
		       const struct verdict *verdict, const char *release, uint64_t since_ns)
{
	const struct look *look = &looks[verdict->state];
	char wall[TEXT_NUMBER_MAX], lasted[TEXT_NUMBER_MAX];

	text_wall(wall, since_ns);
	printf("%s %s%-8s%s %s: ", wall, fleet->colour ? look->colour : "", look->word,
	       fleet->colour ? "\033[0m" : "", address->name);
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

static void flush(struct fleet *fleet)
{
	// Whoever reads the stream acts on it: each line leaves at once.
	if (fflush(stdout) || ferror(stdout))
		fleet->broken = true;
}

static void tell_verdict(void *arg, const struct verdict *verdict, const char *release)
{
	const struct member *member = arg;
	struct fleet *fleet = member->fleet;
	// Verdicts go by a clock that does not know the time of day.
	uint64_t since_ns = host_wall_ns() - (host_clock_ns() - verdict->since_ns);

	pthread_mutex_lock(&fleet->lock);
	if (fleet->json)
		print_json(member->address, verdict, release, since_ns);
	else
		print_text(fleet, member->address, verdict, release, since_ns);
	flush(fleet);
	pthread_mutex_unlock(&fleet->lock);
}

static void tell_finding(void *arg, const struct gs_record *record, uint64_t number)
{
	struct member *member = arg;
	struct fleet *fleet = member->fleet;

	member->number = number;
	pthread_mutex_lock(&fleet->lock);
	stream_record(&member->stream, record);
	flush(fleet);
	pthread_mutex_unlock(&fleet->lock);
}

static void *watch_member(void *arg)
{
	struct member *member = arg;
	struct fleet *fleet = member->fleet;
	enum verdict_state state = watch_host(member->address, &fleet->options, member);

	pthread_mutex_lock(&fleet->lock);
	fleet->running--;
	fleet->dead += state != VERDICT_ALIVE;
	pthread_mutex_unlock(&fleet->lock);
	return NULL;
}

static struct gs_error *start_member(struct fleet *fleet, struct member *member,
				     const struct host_address *address)
{
	pthread_attr_t attributes;

	*member = (struct member){
		.fleet = fleet,
		.address = address,
		.stream = {
			.host = address->name,
			.number = &member->number,
			.json = fleet->json,
			.colour = fleet->colour,
			.conditions = gs_conditions_create(),
		},
	};
	if (!member->stream.conditions)
		return &gs_enomem;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_mutex_lock(&fleet->lock);

	int result = pthread_create(&member->thread, &attributes, watch_member, member);

	fleet->running += !result;
	pthread_mutex_unlock(&fleet->lock);
	pthread_attr_destroy(&attributes);
	if (!result)
		return NULL;
	gs_conditions_destroy(member->stream.conditions);
	return gs_error_errno(GS_ERROR_OTHER, result, "no thread to watch %s", address->name);
}

static bool goes_on(struct fleet *fleet)
{
	pthread_mutex_lock(&fleet->lock);

	bool ret = fleet->running && !fleet->broken;

	pthread_mutex_unlock(&fleet->lock);
	return ret;
}

static struct gs_error *watch_all(struct fleet *fleet, const struct hosts *hosts)
{
	_cleanup_free_ struct member *members = calloc(hosts->count, sizeof(*members));
	struct gs_error *err = members ? NULL : &gs_enomem;
	size_t started = 0;
	sigset_t all, before;

	// Signals are this thread's.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; started < hosts->count && !err; started += !err)
		err = start_member(fleet, &members[started], &hosts->list[started]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	while (!err && goes_on(fleet) && interrupt_sleep(LOOK_NS))
		;
	watch_end_now(&fleet->end);
	for (size_t i = 0; i < started; i++) {
		pthread_join(members[i].thread, NULL);
		gs_conditions_destroy(members[i].stream.conditions);
	}
	if (!err && fleet->options.once && fleet->dead)
		err = gs_error_create(GS_ERROR_OTHER, "%zu of %zu hosts %s not alive", fleet->dead,
				      hosts->count, fleet->dead == 1 ? "is" : "are");
	return err;
}

static struct gs_error *parse(struct fleet *fleet, struct cli_parser *parser)
{
	enum { MISSES = CLI_OPTION_COMMAND, ANSWERS, SYMBOLS, ONCE };
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "misses", required_argument, NULL, MISSES },
		{ "answers", required_argument, NULL, ANSWERS },
		{ "symbols", no_argument, NULL, SYMBOLS },
		{ "once", no_argument, NULL, ONCE },
		{},
	};
	struct gs_error *err = NULL;
	uint64_t misses = 3, answers = 2;
	int c;

	parser->short_options = "i:";
	parser->long_options = options;
	while (!err && (c = cli_getopt(parser, &err)) != -1) {
		switch (c) {
		case 'i':
			err = grass_seconds("--interval", optarg, &fleet->options.interval_ns);
			break;
		case MISSES:
			err = cli_number("--misses", optarg, 1, 1000, &misses);
			break;
		case ANSWERS:
			err = cli_number("--answers", optarg, 1, 1000, &answers);
			break;
		case SYMBOLS:
			fleet->options.symbols = true;
			break;
		case ONCE:
			fleet->options.once = true;
			break;
		}
	}
	fleet->options.rules = (struct verdict_rules){
		.misses = (unsigned int)misses,
		.answers = (unsigned int)answers,
	};
	return err;
}

struct gs_error *cmd_watch(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct grass *grass = grass_of(cli);
	const struct hosts *hosts;
	struct fleet fleet = {
		.options = {
			.interval_ns = UINT64_C(1000000000),
			.verdict = tell_verdict,
			.finding = tell_finding,
			.end = &fleet.end,
		},
	};
	struct gs_error *err = parse(&fleet, &parser);

	if (err || parser.done)
		return err;
	err = cli_no_operands(&parser);
	if (!err)
		err = grass_hosts(grass, &hosts);
	if (!err)
		err = grass_prepare(grass);
	if (err)
		return err;
	fleet.json = cli->json;
	fleet.colour = !cli->json && text_colour(stdout);
	fleet.options.host = grass->options;
	interrupt_catch();
	watch_end_init(&fleet.end);
	pthread_mutex_init(&fleet.lock, NULL);
	err = watch_all(&fleet, hosts);
	pthread_mutex_destroy(&fleet.lock);
	watch_end_deinit(&fleet.end);
	return err;
}
