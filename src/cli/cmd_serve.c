// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/notify.h"
#include "cli/serve.h"
#include "cli/status.h"
#include "grass/control.h"
#include "grass/keys.h"
#include "util/cleanup.h"
#include "util/clock.h"

// From look to look at how far numbers have come: rarely, as each reads the mailbox.
#define CLAIM_NS UINT64_C(30000000000)

static const char help[] =
	"Usage: gpusentinel -t TARGET serve --keys DIR [OPTION]... [DETECTOR|FILE.so]...\n"
	"Run detectors as `run` does, with its options but --once, and let monitors\n"
	"(`grass`) in, who then reach what they find, and the target's memory, by RDMA:\n"
	"also when the system here is dead.\n"
	"\n"
	"  --config FILE   what is not said here; SIGHUP: anew;   --state DIR  kept there\n"
	"  --keys DIR      certificates and key: DIR/ca.crt, host.crt and host.key;\n"
	"                  `grass keys` makes them\n"
	"  --name NAME     DIR/NAME.crt and NAME.key instead\n"
	"  --listen ADDR[:PORT]\n"
	"                  only on this address, [ADDR]:PORT for IPv6; port 7411 if none\n"
	"                  is given; may be given more than once\n"
	"  --fabric NAME   verbs (RDMA), the default, or shm (this machine's monitors)\n"
	"  --device NAME   the NIC, e.g. mlx5_0, or mlx5_0/2 for its second port\n"
	"  --quiet         print no findings, and spend nothing on it\n"
	"\n"
	"  gpusentinel -t qemu:web serve --keys /etc/gpusentinel\n"
	"  gpusentinel -t qemu:web serve --keys keys --name web --listen 10.0.0.2 --quiet\n";

static struct gs_error *take_listen(struct serve *serve, const char *arg)
{
	if (serve->listen_count == SERVE_LISTEN_MAX)
		return gs_error_create(GS_ERROR_USAGE, "--listen may be given %d times",
				       SERVE_LISTEN_MAX);
	serve->listen[serve->listen_count++] = arg;
	return NULL;
}

static struct gs_error *parse(struct serve *serve, struct cli_parser *parser)
{
	enum { KEYS = RUNNING_OPTION_COMMAND, NAME, LISTEN, FABRIC, DEVICE, QUIET, CONFIG, STATE };
	static const struct option options[] = {
		RUNNING_OPTIONS,
		{ "keys", required_argument, NULL, KEYS },
		{ "name", required_argument, NULL, NAME },
		{ "listen", required_argument, NULL, LISTEN },
		{ "fabric", required_argument, NULL, FABRIC },
		{ "device", required_argument, NULL, DEVICE },
		{ "quiet", no_argument, NULL, QUIET },
		{ "config", required_argument, NULL, CONFIG },
		{ "state", required_argument, NULL, STATE },
		{},
	};
	struct gs_error *err = NULL;
	int c;

	parser->short_options = RUNNING_SHORT_OPTIONS;
	parser->long_options = options;
	while (!err && (c = cli_getopt(parser, &err)) != -1) {
		switch (c) {
		case KEYS:
			serve->keys = optarg;
			break;
		case NAME:
			serve->name = optarg;
			break;
		case LISTEN:
			err = take_listen(serve, optarg);
			break;
		case FABRIC:
			serve->fabric = optarg;
			break;
		case DEVICE:
			serve->device = optarg;
			break;
		case STATE:
			serve->state_directory = optarg;
			break;
		case CONFIG:
			serve->config_path = optarg;
			break;
		case QUIET:
			serve->running.quiet = true;
			break;
		default:
			err = running_option(&serve->running, c, optarg);
		}
	}
	return err;
}

static void log_line(void *arg, const char *line)
{
	(void)arg;
	cli_say(line);
}

static void cleanup_server(struct grass_server **server)
{
	grass_server_stop(*server);
}

static void say_ready(const struct serve *serve, const char *more)
{
	char status[256];

	snprintf(status, sizeof(status), "watches %.100s by %zu detectors on the engine %s%s",
		 gs_target_spec(serve->running.cli->target), serve->running.chosen.count,
		 gs_engine_name(serve->running.cli->engine), more);
	notify_ready(status);
}

static void reload(void *arg)
{
	struct status *status = arg;
	struct serve *serve = status->serve;

	notify_reloading();
	say_ready(serve, serve_reload(serve) ? "" : "; the last reload was refused");
}

// What goes wrong here shows only after a restart, and is told; it is no reason to end.
static void tell(struct gs_error *err)
{
	if (err)
		cli_print_error(err);
	gs_error_destroy(err);
}

static struct gs_error *claim(struct serve *serve)
{
	struct gs_mailbox_progress now;
	struct gs_error *err = gs_engine_progress(serve->running.cli->engine, &now);

	return err ? err : state_claim(&serve->state, &now);
}

static void tick(void *arg)
{
	struct status *status = arg;
	struct serve *serve = status->serve;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	notify_alive();
	if (!serve->state_directory || now < serve->claim_ns)
		return;
	serve->claim_ns = now + CLAIM_NS;
	tell(claim(serve));
}

static void answer(void *arg)
{
	status_answer(arg);
}

static struct gs_error *serve_until_told(struct serve *serve, struct status *status)
{
	struct gs_error *err =
		serve->state_directory ? status_open(status, serve->state_directory) : NULL;
	const struct running_hooks hooks = {
		// Without a configuration there is nothing to read anew, and it ends as any other program.
		.reload = serve->config_path ? reload : NULL,
		.tick = tick,
		.fd = status->socket,
		.ready = answer,
	};

	if (err)
		return err;
	say_ready(serve, "");
	running_wait(&serve->running, &hooks, status);
	notify_stopping();
	return NULL;
}

// From when the engine runs, until it is told to end.
static struct gs_error *serve_monitors(struct serve *serve, const struct fabric_server_ops *fabric)
{
	struct cli *cli = serve->running.cli;
	_cleanup_(cleanup_server) struct grass_server *server = NULL;
	_cleanup_(grass_keys_forget) struct grass_identity identity = {};
	struct gs_mailbox_export mailbox;
	struct gs_error *err = gs_engine_export(cli->engine, &mailbox);

	if (!err)
		err = grass_keys_find(serve->keys, serve->name, &identity);
	if (err)
		return err;

	struct grass_server_options options = {
		.size = sizeof(options),
		.listen = serve->listen,
		.listen_count = serve->listen_count,
		.identity = identity,
		.host = gs_target_spec(cli->target),
		.fabric = fabric,
		.device = serve->device,
		.mailbox = &mailbox,
		.kernel = cli->kernel,
		.log = log_line,
	};

	err = grass_server_start(&options, &server);
	if (err)
		return err;

	char line[128];

	snprintf(line, sizeof(line), "monitors are let in at port %u, by the fabric %s",
		 grass_server_port(server), fabric->name);
	cli_say(line);

	struct status status = {
		.serve = serve,
		.server = server,
		.fabric = fabric,
		.header = mailbox.header,
		.since_ns = clock_ns(CLOCK_REALTIME),
		.socket = -1,
	};

	err = serve_until_told(serve, &status);
	status_close(&status);
	return err;
}

// What has been left open by command line and configuration, and what neither may leave open.
static struct gs_error *settle(struct serve *serve, const struct fabric_server_ops **fabric_ret)
{
	if (!serve->keys)
		return gs_error_create(GS_ERROR_USAGE,
				       "serve needs --keys DIR%s; `grass keys` makes what is in "
				       "there",
				       serve->config_path ? ", or 'keys = DIR' in its configuration"
							  : "");
	if (!serve->name)
		serve->name = "host";
	if (!serve->fabric)
		serve->fabric = "verbs";
	if (!serve->state_directory && serve->config_path)
		serve->state_directory = STATE_DIRECTORY;
	*fabric_ret = fabric_server_named(serve->fabric);
	return *fabric_ret
		       ? NULL
		       : gs_error_create(GS_ERROR_USAGE, "there is no fabric '%s'", serve->fabric);
}

// Numbers of findings go on where the last service here has ended.
static struct gs_error *resume(struct serve *serve)
{
	struct cli *cli = serve->running.cli;
	struct gs_mailbox_progress from;
	bool has;

	if (!serve->state_directory)
		return NULL;

	struct gs_error *err = state_open(&serve->state, serve->state_directory,
					  gs_target_spec(cli->target), &from, &has);

	if (!err)
		gs_engine_resume(cli->engine, has ? &from : NULL);
	return err;
}

static struct gs_error *settle_numbers(struct serve *serve)
{
	struct gs_mailbox_progress now;

	if (!serve->state_directory)
		return NULL;

	struct gs_error *err = gs_engine_progress(serve->running.cli->engine, &now);

	return err ? err : state_settle(&serve->state, &now);
}

static struct gs_error *serve_all(struct serve *serve)
{
	const struct fabric_server_ops *fabric;
	char **names = NULL;
	size_t count = 0;
	struct gs_error *err = serve_configure(serve);

	if (!err)
		err = settle(serve, &fabric);
	if (!err)
		err = notify_open();
	if (!err)
		err = serve_names(serve, serve->running.config, &names, &count);
	if (!err)
		err = running_open(&serve->running, false, names, count);
	serve_free_names(names, count);
	if (!err)
		err = resume(serve);
	if (!err)
		err = running_start(&serve->running);
	if (err)
		return err;
	// Monitors lose their access before there is nobody any more who answers.
	err = serve_monitors(serve, fabric);
	if (!err)
		err = running_stop(&serve->running);
	else
		gs_engine_stop(serve->running.cli->engine);
	tell(settle_numbers(serve));
	return err;
}

struct gs_error *cmd_serve(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct serve serve = { .running = { .cli = cli, .for_ns = -1 }, .state = { .lock = -1 } };
	struct gs_error *err = parse(&serve, &parser);

	if (!err && !parser.done) {
		serve.operands = argv + optind;
		serve.operand_count = (size_t)(argc - optind);
		err = serve_all(&serve);
	}
	serve_deinit(&serve);
	return err;
}
