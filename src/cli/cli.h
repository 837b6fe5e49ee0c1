/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What commands share, and programs: `gpusentinel` looks at a target here, `grass` at hosts far away, and some commands
 * are the same in both.
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

struct cli;
struct rows;

struct cli_command {
	const char *name;
	struct gs_error *(*run)(struct cli *cli, int argc, char **argv);
	const char *summary;
};

/** What makes a program. */
struct cli_program {
	const char *name;
	/** Around the name of a command, in the help of commands that programs share: usage, and an example. */
	const char *usage[2], *example[2];
	const struct cli_command *commands;
	size_t command_count;
	/** `PROGRAM --help`: a format with %s for the list of commands. */
	const char *help;

	/** Options that all commands take, in getopt_long() notation; long ones have characters from CLI_OPTION_PROGRAM on. */
	const char *short_options;
	const struct option *long_options;
	struct gs_error *(*set_option)(struct cli *cli, int c, const char *arg);
	/** Takes an operand that a command does not; NULL: it is one too many. */
	struct gs_error *(*operand)(struct cli *cli, const char *operand);

	/**
	 * One run of a shipped detector, of which the rows are kept.
	 * @return GS_ERROR_INCOMPLETE with what was found in @p rows, or an error without rows.
	 */
	struct gs_error *(*run_once)(struct cli *cli, const char *detector, struct rows *rows);
};

/** Options that every command takes, and what was opened by them (session.h). */
struct cli {
	const struct cli_program *program;
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
	/** What the program ends with if nothing has failed. */
	int exit_code;

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
	/**
	 * What `PROGRAM COMMAND --help` prints. "$usage" stands for how the program calls the command, "$example" for
	 * an example of that.
	 */
	const char *help;
	/** The command's own options in getopt_long() notation, without leading '+', '-' or ':'. */
	const char *short_options;
	const struct option *long_options;
	/** --help was given and has been answered: the command is to return. */
	bool done;
};

/** Run the command that the command line names. @return the exit code. */
int cli_main(struct cli *cli, int argc, char **argv);

/** Options without a character of their own: those of all programs, those of one, those of a command. */
enum {
	CLI_OPTION_HELP = 256,
	CLI_OPTION_VERSION,
	CLI_OPTION_JSON,
	CLI_OPTION_PROGRAM,
	CLI_OPTION_COMMAND = 512,
};

/** getopt_long() over the options of all commands; @p mode is "+" or "". Errors and the return value as cli_getopt(). */
int cli_getopt_common(struct cli *cli, int argc, char **argv, const char *mode,
		      struct gs_error **err);
/** Store one of those. */
struct gs_error *cli_set_option(struct cli *cli, int c, const char *arg);

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

/** Hand the operands that are left to the program: a GS_ERROR_USAGE if it takes none. */
struct gs_error *cli_no_operands(const struct cli_parser *parser);

/** Read @p text as a decimal number between @p min and @p max; @p what names it in the error. */
struct gs_error *cli_number(const char *what, const char *text, uint64_t min, uint64_t max,
			    uint64_t *ret);

/** What has become of standard output: an error unless everything was written or the reader has gone. */
struct gs_error *cli_flush(void);

/** Print "gpusentinel: <line>" (or another program's name) on standard error, control characters escaped; from any thread. */
void cli_say(const char *line);

/** Print "PROGRAM: <message>" on standard error, control characters escaped. */
void cli_print_error(const struct gs_error *err);

struct gs_error *cmd_info(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_ps(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_mem(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_dmesg(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_run(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_serve(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_status(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_top(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_list(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_doctor(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_dump(struct cli *cli, int argc, char **argv);

#endif
