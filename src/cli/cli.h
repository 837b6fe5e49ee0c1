/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The `gpusentinel` program: what its commands share.
 */
#ifndef GS_CLI_CLI_H
#define GS_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/engine.h>
#include <gpusentinel/error.h>
#include <gpusentinel/kernel_info.h>
#include <gpusentinel/target.h>

/** Options that every command takes, and what was opened by them (session.h). */
struct cli {
	/** Name of the command that runs. */
	const char *command;
	/** -t; NULL: not given. */
	const char *target_spec;
	/** -e; NULL: not given, each command has its own default. */
	const char *engine_name;
	/** --layout, --system-map, --detectors; NULL: not given. */
	const char *layout, *system_map, *detectors;
	/** --budget; 0: as each detector says. */
	uint64_t budget;
	bool json;

	struct gs_target *target;
	struct gs_kernel *kernel;
	struct gs_engine *engine;
	struct gs_fat **fats;
	size_t fat_count, fat_capacity;
};

/** How a command reads its arguments; see cli_getopt(). */
struct cli_parser {
	struct cli *cli;
	int argc;
	char **argv;
	/** What `gpusentinel COMMAND --help` prints. */
	const char *help;
	/** The command's own options in getopt_long() notation, without leading '+', '-' or ':'. */
	const char *short_options;
	const struct option *long_options;
	/** --help was given and has been answered: the command is to return. */
	bool done;
};

/**
 * The next of the command's own options; the common ones are stored into @p parser->cli on the way.
 * The argument is in optarg as with getopt_long(); after the last one, operands start at optind.
 *
 * @param err Set to a GS_ERROR_USAGE if an option is unknown or lacks its argument.
 * @return the option's character, or -1 at the end, after --help and on errors.
 */
int cli_getopt(struct cli_parser *parser, struct gs_error **err);

/** As cli_getopt() for a command that has no options of its own. */
struct gs_error *cli_getopt_none(struct cli_parser *parser);

/** A GS_ERROR_USAGE if operands are left. */
struct gs_error *cli_no_operands(const struct cli_parser *parser);

/** Read @p text as a decimal number between @p min and @p max; @p what names it in the error. */
struct gs_error *cli_number(const char *what, const char *text, uint64_t min, uint64_t max,
			    uint64_t *ret);

/** What has become of standard output: an error unless everything was written or the reader has gone. */
struct gs_error *cli_flush(void);

/** Print "gpusentinel: <message>" on standard error, control characters escaped. */
void cli_print_error(const struct gs_error *err);

struct gs_error *cmd_info(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_ps(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_mem(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_dmesg(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_run(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_top(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_list(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_dump(struct cli *cli, int argc, char **argv);

#endif
