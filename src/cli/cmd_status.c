// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/state.h"
#include "cli/table.h"
#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/clock.h"

enum {
	PATIENCE_S = 5,
	ANSWER_MAX = 16 << 20,
	// What the program ends with; part of the interface.
	HAS_FINDINGS = 8,
	NOT_RUNNING = 9,
};

static const char help[] =
	"Usage: gpusentinel status [OPTION]...\n"
	"What the service does that runs here (`gpusentinel serve`): what it watches and\n"
	"by which engine, its detectors, what is wrong now, and which monitors have\n"
	"access.\n"
	"\n"
	"  --state DIR  where the service keeps its state, instead of /run/gpusentinel\n"
	"  --json       an object\n"
	"\n"
	"Ends with 0: it runs, and nothing is wrong; 8: it runs, and a finding from\n"
	"WARNING on is open, or a detector or the supervisor hangs; 9: it does not run.\n"
	"\n"
	"  gpusentinel status\n"
	"  gpusentinel status --json --state /run/web1\n";

static struct gs_error *parse(struct cli_parser *parser, const char **directory)
{
	enum { STATE = CLI_OPTION_COMMAND };
	static const struct option options[] = {
		{ "state", required_argument, NULL, STATE },
		{},
	};
	struct gs_error *err = NULL;

	parser->short_options = "";
	parser->long_options = options;
	while (!err && cli_getopt(parser, &err) != -1)
		*directory = optarg;
	return err || parser->done ? err : cli_no_operands(parser);
}

// Negative, and no error: nobody is there.
static struct gs_error *call(const char *path, int *ret)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = -1;
	if (strlen(path) >= sizeof(address.sun_path))
		return gs_error_create(GS_ERROR_USAGE, "%s is too long for a socket's name", path);
	strcpy(address.sun_path, path);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)))
		return gs_error_errno(GS_ERROR_OTHER, errno, "no socket");
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		*ret = no_cleanup_fd(fd);
		return NULL;
	}
	if (errno == ENOENT || errno == ECONNREFUSED)
		return NULL;
	return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
}

static struct gs_error *hear(int fd, const char *path, struct json_object **ret)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_S * UINT64_C(1000000000);
	_cleanup_free_ char *text = malloc(ANSWER_MAX);
	size_t size = 0;
	ssize_t n = -1;

	if (!text)
		return &gs_enomem;
	errno = ETIMEDOUT;
	while (size < ANSWER_MAX - 1 && clock_ns(CLOCK_MONOTONIC) < until &&
	       (n = read(fd, text + size, ANSWER_MAX - 1 - size)) > 0)
		size += (size_t)n;
	if (n < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno == EAGAIN ? ETIMEDOUT : errno,
				      "%s: the service does not answer", path);
	text[size] = '\0';
	*ret = json_tokener_parse(text);
	if (json_object_is_type(*ret, json_type_object))
		return NULL;
	json_object_put(*ret);
	*ret = NULL;
	return gs_error_create(GS_ERROR_OTHER, "%s: the service's answer is not whole", path);
}

static const char *string_of(struct json_object *object, const char *name)
{
	struct json_object *member = json_object_object_get(object, name);

	return json_object_is_type(member, json_type_string) ? json_object_get_string(member) : "";
}

static uint64_t number_of(struct json_object *object, const char *name)
{
	return json_object_get_uint64(json_object_object_get(object, name));
}

static bool bool_of(struct json_object *object, const char *name)
{
	return json_object_get_boolean(json_object_object_get(object, name));
}

static struct json_object *array_of(struct json_object *object, const char *name, size_t *count)
{
	struct json_object *array = json_object_object_get(object, name);
	bool ok = json_object_is_type(array, json_type_array);

	*count = ok ? json_object_array_length(array) : 0;
	return array;
}

// Something that somebody should look at.
static bool is_wrong(struct json_object *object)
{
	size_t count;
	struct json_object *list = array_of(object, "detectors", &count);
	bool wrong = !bool_of(object, "beats");

	for (size_t i = 0; i < count; i++)
		wrong |= !strcmp(string_of(json_object_array_get_idx(list, i), "state"), "stalled");
	list = array_of(json_object_object_get(object, "findings"), "open", &count);
	for (size_t i = 0; i < count; i++)
		wrong |= strcmp(string_of(json_object_array_get_idx(list, i), "severity"),
				json_severity(GS_INFO)) != 0;
	return wrong;
}

static void print_line(const char *name, const char *value)
{
	printf("%-10s ", name);
	text_print(stdout, value, strlen(value), false);
}

static void print_service(struct json_object *object)
{
	size_t count;
	struct json_object *monitors = array_of(object, "monitors", &count);
	const char *config = string_of(object, "config"), *why = string_of(object, "runs_on");

	print_line("running", "since ");
	text_print(stdout, string_of(object, "since"), strlen(string_of(object, "since")), false);
	printf(", pid %" PRIu64 "%s%s\n", number_of(object, "pid"), *config ? ", by " : "", config);
	print_line("target", string_of(object, "target"));
	printf(", Linux %s\n", string_of(object, "release"));
	print_line("engine", string_of(object, "engine"));
	printf("%s%s%s\n", *why ? ": " : "", why,
	       bool_of(object, "beats") ? "" : "; ITS SUPERVISOR DOES NOT BEAT");
	print_line("monitors", count ? "" : "none");
	for (size_t i = 0; i < count; i++) {
		struct json_object *monitor = json_object_array_get_idx(monitors, i);

		printf("%s%s%s", i ? ", " : "", string_of(monitor, "name"),
		       bool_of(monitor, "connected") ? "" : " (its connection is broken)");
	}
	printf("; port %" PRIu64 ", fabric %s\n", number_of(object, "port"),
	       string_of(object, "fabric"));
}

static void print_open(struct json_object *findings)
{
	size_t count;
	struct json_object *list = array_of(findings, "open", &count);

	if (!findings) {
		print_line("findings", "are not followed here, but by monitors (--quiet)\n");
		return;
	}

	struct json_object *told = json_object_object_get(findings, "told");

	printf("%-10s %zu open; so far %" PRIu64 " critical, %" PRIu64 " error, %" PRIu64
	       " warning, %" PRIu64 " info\n",
	       "findings", count, number_of(told, "critical"), number_of(told, "error"),
	       number_of(told, "warning"), number_of(told, "info"));
	for (size_t i = 0; i < count; i++) {
		struct json_object *it = json_object_array_get_idx(list, i);
		const char *message = string_of(it, "message");

		printf("  %s %-8s %s: ", string_of(it, "since"), string_of(it, "severity"),
		       string_of(it, "detector"));
		text_print(stdout, message, strlen(message), false);
		putchar('\n');
	}
}

static const char *keep(char (*texts)[TEXT_NUMBER_MAX], size_t *used, double value,
			const char *format)
{
	char *text = texts[(*used)++];

	snprintf(text, TEXT_NUMBER_MAX, format, value);
	return text;
}

static struct gs_error *print_detectors(struct json_object *object)
{
	static const struct table_column columns[] = {
		{ "DETECTOR", false }, { "STATE", false },  { "PERIOD", true },
		{ "RUNS", true },      { "LAST", true },    { "LONGEST", true },
		{ "FAULTS", true },    { "STOPPED", true }, { "LOST", true },
	};
	_cleanup_table_ struct table table = { .columns = columns,
					       .column_count = ARRAY_SIZE(columns) };
	size_t count, used = 0;
	struct json_object *list = array_of(object, "detectors", &count);
	_cleanup_free_ char(*texts)[TEXT_NUMBER_MAX] =
		calloc(count * ARRAY_SIZE(columns) + 1, sizeof(*texts));
	bool ok = texts;

	for (size_t i = 0; i < count && ok; i++) {
		struct json_object *it = json_object_array_get_idx(list, i);

		ok = table_add(&table, string_of(it, "name")) &&
		     table_add(&table, string_of(it, "state")) &&
		     table_add(&table,
			       keep(texts, &used, number_of(it, "period_us") / 1e3, "%.10g ms")) &&
		     table_add(&table, keep(texts, &used, number_of(it, "runs"), "%.0f")) &&
		     table_add(&table,
			       keep(texts, &used, number_of(it, "last_ns") / 1e6, "%.2f ms")) &&
		     table_add(&table,
			       keep(texts, &used, number_of(it, "longest_ns") / 1e6, "%.2f ms")) &&
		     table_add(&table, keep(texts, &used, number_of(it, "faults"), "%.0f")) &&
		     table_add(&table,
			       keep(texts, &used, number_of(it, "stopped_early"), "%.0f")) &&
		     table_add(&table, keep(texts, &used, number_of(it, "lost"), "%.0f"));
	}
	if (!ok)
		return &gs_enomem;
	table_print(&table);
	return NULL;
}

static struct gs_error *show(struct cli *cli, struct json_object *object)
{
	cli->exit_code = is_wrong(object) ? HAS_FINDINGS : GS_OK;
	if (cli->json) {
		json_print(json_object_get(object), true);
		return NULL;
	}
	print_service(object);
	print_open(json_object_object_get(object, "findings"));
	return print_detectors(object);
}

static void show_nothing(struct cli *cli)
{
	cli->exit_code = NOT_RUNNING;
	if (!cli->json) {
		puts("not running");
		return;
	}

	struct json_object *object = json_object_new_object();

	json_add_bool(object, "running", false);
	json_print(object, true);
}

struct gs_error *cmd_status(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	const char *directory = STATE_DIRECTORY;
	struct gs_error *err = parse(&parser, &directory);

	if (err || parser.done)
		return err;

	_cleanup_free_ char *path = state_path(directory, "status");
	_cleanup_close_ int fd = -1;
	struct json_object *object;

	err = path ? call(path, &fd) : &gs_enomem;
	if (err)
		return err;
	if (fd < 0) {
		show_nothing(cli);
		return NULL;
	}
	err = hear(fd, path, &object);
	if (err)
		return err;
	err = show(cli, object);
	json_object_put(object);
	return err;
}
