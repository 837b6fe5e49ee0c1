// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/interrupt.h"
#include "grass/listen.h"
#include "grass_cli/fleet.h"
#include "grass_cli/grass.h"
#include "grass_cli/scrape.h"
#include "util/cleanup.h"

// Beside those of other exporters.
enum { PORT = 9411 };
// A fleet is large, and scraped every 15 s or more.
#define INTERVAL_NS UINT64_C(10000000000)

static const char help[] =
	"Usage: grass exporter HOST... [-H FILE] [OPTION]...\n"
	"Watch hosts until ^C, and serve what is known of them to Prometheus, at /metrics.\n"
	"\n"
	"  --listen ADDRESS:PORT   where; 127.0.0.1:9411 if not given\n"
	"  --alertmanager URL      post there what is wrong: hosts that are not alive, findings\n"
	"                          of severity error and above; \"http://HOST:9093\"\n"
	"  -i, --interval SECONDS  from one heartbeat to the next; 10 if not given\n"
	"  --misses N, --answers N   so many in a row make a host unreachable (3), and bring\n"
	"                          it back (2)\n"
	"  --symbols               name functions in findings: some megabytes for each host\n"
	"\n"
	"  grass exporter -H /etc/gpusentinel/hosts --listen :9411\n"
	"  grass exporter web1 web2 --alertmanager http://127.0.0.1:9093\n";

struct exporter {
	struct watch_options options;
	struct watch_end end;
	const char *listen, *alertmanager;
	struct observed *hosts;
};

static struct gs_error *parse(struct exporter *exporter, struct cli_parser *parser)
{
	enum { LISTEN = FLEET_OPTION_END, ALERTMANAGER };
	static const struct option options[] = {
		FLEET_LONG_OPTIONS,
		{ "listen", required_argument, NULL, LISTEN },
		{ "alertmanager", required_argument, NULL, ALERTMANAGER },
		{},
	};
	struct gs_error *err = NULL;
	int c;

	parser->short_options = FLEET_SHORT_OPTIONS;
	parser->long_options = options;
	while (!err && (c = cli_getopt(parser, &err)) != -1) {
		switch (c) {
		case LISTEN:
			exporter->listen = optarg;
			break;
		case ALERTMANAGER:
			exporter->alertmanager = optarg;
			break;
		default:
			err = fleet_option(&exporter->options, c, optarg);
		}
	}
	return err;
}

static struct gs_error *serve(struct exporter *exporter, const struct hosts *hosts)
{
	struct poster *poster = NULL;
	struct scrape *scrape = NULL;
	struct gs_error *err = NULL;
	sigset_t all, before;
	size_t dead;

	// Signals are this thread's.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (exporter->alertmanager)
		err = poster_start(exporter->alertmanager, exporter->hosts, hosts->count,
				   &exporter->end, &poster);
	if (!err)
		err = scrape_start(exporter->listen, PORT, exporter->hosts, hosts->count, poster,
				   &scrape);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err) {
		fprintf(stderr, "grass: metrics are served at port %u\n", scrape_port(scrape));
		err = fleet_watch(hosts, &exporter->options, exporter->hosts,
				  sizeof(*exporter->hosts), NULL, NULL, &dead);
	}
	watch_end_now(&exporter->end);
	scrape_stop(scrape);
	poster_stop(poster);
	return err;
}

static struct gs_error *observe(struct exporter *exporter, const struct hosts *hosts)
{
	struct gs_error *err = NULL;
	size_t count = 0;

	exporter->hosts = calloc(hosts->count, sizeof(*exporter->hosts));
	if (!exporter->hosts)
		return &gs_enomem;
	for (; count < hosts->count && !err; count += !err)
		err = observed_init(&exporter->hosts[count], &hosts->list[count]);
	if (!err)
		err = serve(exporter, hosts);
	for (size_t i = 0; i < count; i++)
		observed_deinit(&exporter->hosts[i]);
	free(exporter->hosts);
	return err;
}

struct gs_error *cmd_exporter(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct grass *grass = grass_of(cli);
	struct exporter exporter = {
		.listen = "127.0.0.1",
		.options.end = &exporter.end,
	};
	const struct hosts *hosts;
	struct gs_error *err;

	fleet_defaults(&exporter.options);
	exporter.options.interval_ns = INTERVAL_NS;
	err = parse(&exporter, &parser);
	if (err || parser.done)
		return err;
	err = grass_begin(grass, &parser, &hosts);
	if (err)
		return err;
	exporter.options.host = grass->options;
	observed_callbacks(&exporter.options);
	interrupt_catch();
	watch_end_init(&exporter.end);
	err = observe(&exporter, hosts);
	watch_end_deinit(&exporter.end);
	return err;
}
