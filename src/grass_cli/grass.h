/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The `grass` program: what its commands share.
 */
#ifndef GS_GRASS_CLI_GRASS_H
#define GS_GRASS_CLI_GRASS_H

#include "cli/cli.h"
#include "grass_cli/host.h"

/** What the command line says, behind struct cli: commands get at it by grass_of(). */
struct grass {
	struct cli cli;
	/** -H: the file's hosts; and those that are operands. */
	struct hosts known, chosen;
	/** --keys, --as; NULL: not given. */
	const char *keys, *as;
	struct host_options options;
};

struct grass *grass_of(struct cli *cli);

/** For struct cli_program. */
extern const char grass_short_options[];
extern const struct option grass_long_options[];
struct gs_error *grass_set_option(struct cli *cli, int c, const char *arg);
struct gs_error *grass_operand(struct cli *cli, const char *operand);
struct gs_error *grass_run_once(struct cli *cli, const char *detector, struct rows *rows);

void grass_deinit(struct grass *grass);

/** The hosts that a command is about: operands, else those of -H. GS_ERROR_USAGE: there are none. */
struct gs_error *grass_hosts(struct grass *grass, const struct hosts **ret);
/** The one host; GS_ERROR_USAGE if there are more. */
struct gs_error *grass_host(struct grass *grass, const struct host_address **ret);

/** Read @p text as seconds; @p what names it in the error. */
struct gs_error *grass_seconds(const char *what, const char *text, uint64_t *ret);

/** Complete the options by what is in the directory of keys. Before the first host_open(). */
struct gs_error *grass_prepare(struct grass *grass);

/** What a command about many hosts begins with, behind its own options: its hosts, and grass_prepare(). */
struct gs_error *grass_begin(struct grass *grass, const struct cli_parser *parser,
			     const struct hosts **ret);

/** Open a session with the one host. */
struct gs_error *grass_open(struct grass *grass, bool symbols, struct host *host);

static inline void grass_close_host(struct host *host)
{
	host_close(host, true);
}
#define _cleanup_host_ __attribute__((cleanup(grass_close_host)))

struct gs_error *cmd_ping(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_findings(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_detectors(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_params(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_read(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_memory_dump(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_watch(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_exporter(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_hold(struct cli *cli, int argc, char **argv);
struct gs_error *cmd_keys(struct cli *cli, int argc, char **argv);

#endif
