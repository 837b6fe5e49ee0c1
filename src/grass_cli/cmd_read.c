// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "grass_cli/grass.h"
#include "util/parse.h"

static const char help[] =
	"Usage: grass read HOST ADDRESS LENGTH [-v] [-r]\n"
	"Show the host's memory from a physical address on, in hexadecimal. Numbers are\n"
	"as in C, and may end in K, M, G or T.\n"
	"\n"
	"  -v, --virtual   ADDRESS is one of the kernel's virtual addresses\n"
	"  -r, --raw       write the bytes as they are; what cannot be read as zeros\n"
	"\n"
	"Pages that are not there, or that no page table leads to, are named; exit\n"
	"status 7 if there were any.\n"
	"\n"
	"  grass read web1 0x1000 256\n"
	"  grass read web1 -v 0xffffffff81000000 4K --raw >text\n";

enum { LINE = 16 };

struct dump {
	bool raw;
	// Bytes of the line that is being filled, and the line before.
	uint8_t line[LINE], before[LINE];
	uint64_t address;
	unsigned int used;
	bool has_before, repeated;
	uint64_t unreadable, torn;
};

static void print_line(struct dump *dump)
{
	if (dump->used == LINE && dump->has_before && !memcmp(dump->line, dump->before, LINE)) {
		if (!dump->repeated)
			puts("*");
		dump->repeated = true;
		dump->used = 0;
		return;
	}
	if (!dump->used)
		return;
	dump->repeated = false;
	printf("%016" PRIx64 " ", dump->address);
	for (unsigned int i = 0; i < LINE; i++) {
		if (i < dump->used)
			printf("%s%02x", i == LINE / 2 ? "  " : " ", dump->line[i]);
		else
			fputs(i == LINE / 2 ? "    " : "   ", stdout);
	}
	fputs("  |", stdout);
	for (unsigned int i = 0; i < dump->used; i++)
		putchar(isascii(dump->line[i]) && isprint(dump->line[i]) ? dump->line[i] : '.');
	puts("|");
	memcpy(dump->before, dump->line, LINE);
	dump->has_before = dump->used == LINE;
	dump->used = 0;
}

static void hex(struct dump *dump, uint64_t address, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (!dump->used)
			dump->address = address + i;
		dump->line[dump->used++] = bytes[i];
		if (dump->used == LINE)
			print_line(dump);
	}
}

static struct gs_error *take(void *arg, uint64_t address, const void *bytes, size_t size,
			     uint32_t flags)
{
	struct dump *dump = arg;

	if (!(flags & GS_PAGE_VALID))
		dump->unreadable += mailbox_pages(address, size);
	if (flags & GS_PAGE_TORN)
		dump->torn += mailbox_pages(address, size);
	if (dump->raw) {
		fwrite(bytes, 1, size, stdout);
	} else if (flags & GS_PAGE_VALID) {
		hex(dump, address, bytes, size);
	} else {
		print_line(dump);
		dump->has_before = false;
		printf("%016" PRIx64 "  cannot be read (%zu bytes)\n", address, size);
	}
	if (ferror(stdout))
		return gs_error_create(GS_ERROR_OTHER, "standard output is gone");
	return NULL;
}

static struct gs_error *parse_number(const char *what, const char *text, uint64_t *ret)
{
	const char *p = text;

	if (gs_parse_size(&p, ret) && !*p)
		return NULL;
	return gs_error_create(GS_ERROR_USAGE, "%s is a number like 4096, 0x1000 or 4K, not '%s'",
			       what, text);
}

static struct gs_error *show(struct host *host, enum gs_read_space space, uint64_t address,
			     uint64_t length, bool raw)
{
	struct dump dump = { .raw = raw };
	struct gs_error *err = mailbox_client_read(host->client, space, GS_READ_F_VERIFY, address,
						   length, take, &dump);

	print_line(&dump);
	if (dump.torn)
		fprintf(stderr, "grass: %" PRIu64 " page%s changed while being read\n", dump.torn,
			dump.torn == 1 ? "" : "s");
	if (!err && dump.unreadable)
		err = gs_error_create(GS_ERROR_INCOMPLETE, "%s: %" PRIu64 " page%s cannot be read",
				      host->address->name, dump.unreadable,
				      dump.unreadable == 1 ? "" : "s");
	return err;
}

struct gs_error *cmd_read(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "virtual", no_argument, NULL, 'v' },
		{ "raw", no_argument, NULL, 'r' },
		{},
	};
	struct cli_parser parser = { cli, argc, argv, help, "vr", options, false };
	enum gs_read_space space = GS_READ_PHYSICAL;
	_cleanup_host_ struct host host = {};
	uint64_t address, length;
	struct gs_error *err = NULL;
	bool raw = false;
	int c;

	while ((c = cli_getopt(&parser, &err)) != -1) {
		if (c == 'v')
			space = GS_READ_VIRTUAL;
		else
			raw = true;
	}
	if (err || parser.done)
		return err;
	if (argc - optind < 2)
		return gs_error_create(
			GS_ERROR_USAGE,
			"read needs an address and a length: grass read HOST ADDRESS "
			"LENGTH");
	err = parse_number("an address", argv[argc - 2], &address);
	if (!err)
		err = parse_number("a length", argv[argc - 1], &length);
	if (err)
		return err;
	parser.argc -= 2;
	err = cli_no_operands(&parser);
	if (!err)
		err = grass_open(grass_of(cli), false, &host);
	return err ? err : show(&host, space, address, length, raw);
}
