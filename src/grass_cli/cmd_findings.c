// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>

#include "cli/interrupt.h"
#include "cli/stream.h"
#include "cli/text.h"
#include "grass_cli/grass.h"
#include "grass_cli/records.h"

// How often is looked for more.
#define FOLLOW_NS UINT64_C(100000000)

static const char help[] =
	"Usage: grass findings HOST [--since NUMBER] [-f] [--json]\n"
	"Print what the host's detectors have found, from the oldest that its ring still\n"
	"holds: \"TIME SEVERITY detector: message\", as gpusentinel run does.\n"
	"\n"
	"  --since NUMBER   from the finding of that number on; --json shows the numbers\n"
	"  -f, --follow     go on until ^C\n"
	"  --json           one object a line, written at once\n"
	"\n"
	"What was overwritten before it could be read is counted on standard error.\n"
	"\n"
	"  grass findings web1 --follow\n"
	"  grass findings web1 --json | jq 'select(.severity == \"critical\")'\n";

struct findings {
	struct host host;
	struct stream stream;
	struct records records;
	uint64_t since;
	bool has_since, follow;
};

static struct gs_error *print_new(struct findings *findings)
{
	uint64_t count = 1;
	struct gs_error *err = NULL;

	while (!err && count && !findings->stream.broken)
		err = mailbox_poll(findings->host.reader, GS_MAILBOX_FINDINGS, records_take,
				   &findings->records, &count);
	return err;
}

static struct gs_error *follow(struct findings *findings)
{
	struct gs_error *err = NULL;

	interrupt_catch();
	do
		err = print_new(findings);
	while (!err && !findings->stream.broken && interrupt_sleep(FOLLOW_NS));
	return err;
}

// Those that nobody can show any more.
static void report_missed(const struct findings *findings)
{
	const struct host *host = &findings->host;
	uint64_t missed = 0;

	for (uint32_t i = 0; i < host->header->detector_count; i++)
		missed += mailbox_missed(host->reader, i);
	if (missed)
		fprintf(stderr,
			"grass: %s: %" PRIu64
			" findings were overwritten before they could be read\n",
			host->address->name, missed);
	else if (findings->has_since && mailbox_gaps(host->reader, GS_MAILBOX_FINDINGS))
		fprintf(stderr,
			"grass: %s: findings from number %" PRIu64 " on have been overwritten\n",
			host->address->name, findings->since);
	if (findings->records.unknown)
		fprintf(stderr,
			"grass: %s: %" PRIu64
			" findings are of detectors that have been replaced since, and cannot be shown\n",
			host->address->name, findings->records.unknown);
}

static struct gs_error *show(struct findings *findings)
{
	struct stream *stream = &findings->stream;

	stream->conditions = gs_conditions_create();
	if (!stream->conditions)
		return &gs_enomem;
	findings->records = (struct records){
		.reader = findings->host.reader,
		.symbolize = host_symbolize,
		.symbolize_arg = &findings->host,
		.kinds = UINT32_MAX,
		.fn = stream_record,
		.arg = stream,
	};
	stream->number = &findings->records.position;
	if (findings->has_since)
		mailbox_seek(findings->host.reader, GS_MAILBOX_FINDINGS, findings->since);

	struct gs_error *err = findings->follow ? follow(findings) : print_new(findings);

	report_missed(findings);
	records_deinit(&findings->records);
	gs_conditions_destroy(stream->conditions);
	return err;
}

struct gs_error *cmd_findings(struct cli *cli, int argc, char **argv)
{
	enum { SINCE = CLI_OPTION_COMMAND };
	static const struct option options[] = {
		{ "since", required_argument, NULL, SINCE },
		{ "follow", no_argument, NULL, 'f' },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "f", options, false };
	struct findings findings = {};
	struct gs_error *err = NULL;
	int c;

	while (!err && (c = cli_getopt(&parser, &err)) != -1) {
		if (c == SINCE) {
			findings.has_since = true;
			err = cli_number("--since", optarg, 0, UINT64_MAX, &findings.since);
		} else {
			findings.follow = true;
		}
	}
	if (err || parser.done)
		return err;
	err = cli_no_operands(&parser);
	findings.stream.json = cli->json;
	findings.stream.colour = !cli->json && text_colour(stdout);
	if (!err)
		err = grass_open(grass_of(cli), true, &findings.host);
	if (!err)
		err = show(&findings);
	grass_close_host(&findings.host);
	return err;
}
