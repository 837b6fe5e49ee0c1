// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/host.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static struct gs_error *open_session(struct host *host, const struct host_address *address,
				     const struct host_options *options, bool symbols)
{
	struct grass_host wanted = {
		.size = sizeof(wanted),
		.name = address->name,
		.address = address->address,
		.port = address->port,
		.identity = options->identity,
		.fabric = options->fabric,
		.device = options->device,
		.timeout_ns = options->timeout_ns,
		.symbols = symbols,
	};
	struct gs_error *err = grass_connect(&wanted, &host->session);

	if (err)
		return err;
	host->reader = grass_session_reader(host->session);
	host->client = grass_session_client(host->session);
	return NULL;
}

static struct gs_error *borrow_session(struct host *host, const struct host_address *address,
				       const struct host_options *options)
{
	struct gs_error *err =
		borrow_open(options->via, address->name, options->timeout_ns, &host->borrow);

	if (err)
		return err;
	host->reader = borrow_reader(host->borrow);
	host->client = borrow_client(host->borrow);
	return NULL;
}

struct gs_error *host_open(struct host *host, const struct host_address *address,
			   const struct host_options *options, bool symbols)
{
	struct gs_error *err = options->via ? borrow_session(host, address, options)
					    : open_session(host, address, options, symbols);

	if (err)
		return err;
	host->address = address;
	host->timeout_ns = options->timeout_ns;
	host->header = mailbox_reader_header(host->reader);
	return NULL;
}

void host_close(struct host *host, bool bye)
{
	if (host->session)
		grass_session_close(host->session, bye);
	borrow_close(host->borrow);
	*host = (struct host){};
}

void host_symbolize(void *arg, uint64_t address, char *buf, size_t len)
{
	const struct host *host = arg;

	if (host->borrow)
		borrow_symbolize(host->borrow, address, buf, len);
	else
		grass_session_symbolize(host->session, address, buf, len);
}

struct gs_error *host_find_detector(const struct host *host, const char *name, uint32_t *index_ret,
				    struct gs_mailbox_detector *ret)
{
	for (uint32_t i = 0; i < host->header->detector_count; i++) {
		struct gs_error *err = mailbox_read_detector(host->reader, i, ret);

		if (err)
			return err;
		if (host_runs(ret) && !strcmp(ret->name, name)) {
			*index_ret = i;
			return NULL;
		}
	}
	return gs_error_create(GS_ERROR_DETECTOR,
			       "%s runs no detector '%s'; gpusentinel serve runs all unless it is "
			       "given names",
			       host->address->name, name);
}
