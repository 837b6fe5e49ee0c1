/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * All memory of a host into an ELF vmcore (cli/vmcore.h), through its mailbox.
 *
 * While it is not complete the file is called PATH.part, and its first page says how much of it is there, so that an
 * attempt that was broken off is taken up by the next one.
 */
#ifndef GS_GRASS_CLI_DUMP_H
#define GS_GRASS_CLI_DUMP_H

#include "grass_cli/host.h"

struct dump_options {
	const char *path;
	/** Replace the file if it exists, and do not go on with what an earlier attempt has left. */
	bool force;
	/** Becomes true when the user has had enough. */
	const volatile bool *stop;
};

struct dump_result {
	/** Length of the file, and what of it was written rather than left as a hole. */
	uint64_t size, written;
	uint32_t segments;
	/** Pages that were not there to be read, and those that changed while they were. */
	uint64_t unreadable, torn;
	/** Bytes of memory that an earlier attempt had left. */
	uint64_t resumed;
	/** Times that the link had to be made anew. */
	uint32_t reconnected;
	/** How long it took. */
	uint64_t time_ns;
};

/** @param host Open; it is opened anew if the link breaks. */
struct gs_error *dump_host(struct host *host, const struct host_options *host_options,
			   const struct dump_options *options, struct dump_result *ret);

#endif
