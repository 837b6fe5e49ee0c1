// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/scrape.h"

#include <string.h>

#include <microhttpd.h>

#include "grass/listen.h"
#include "grass_cli/exposition.h"
#include "util/cleanup.h"
#include "util/clock.h"

// A name may have several addresses. Scrapers are few, and quick.
enum { ADDRESSES = 8, CONNECTIONS = 32, TIMEOUT_S = 10 };

#define OPEN_METRICS "application/openmetrics-text"

struct scrape {
	struct observed *hosts;
	size_t count;
	struct poster *poster;
	struct MHD_Daemon *daemons[ADDRESSES];
	size_t daemon_count;
	uint16_t port;
};

// What is to be told of the exporter itself.
static struct snapshot *own_snapshot(struct poster *poster)
{
	const struct om_label version = { "version", GS_VERSION };
	struct snapshot *snapshot = snapshot_create();
	uint64_t posted, failed;

	if (!snapshot)
		return NULL;
	snapshot_add(snapshot, "grass_build", &version, 1, 1);
	if (poster) {
		poster_counts(poster, &posted, &failed);
		snapshot_add(snapshot, "grass_alert_posts", NULL, 0, (double)posted);
		snapshot_add(snapshot, "grass_alert_post_failures", NULL, 0, (double)failed);
	}
	if (snapshot_seal(snapshot))
		return snapshot;
	snapshot_put(snapshot);
	return NULL;
}

char *scrape_text(struct observed *hosts, size_t count, struct poster *poster, bool open_metrics,
		  size_t *size_ret)
{
	_cleanup_free_ struct snapshot **list = calloc(count + 1, sizeof(*list));
	char *text = NULL;
	struct om om = { .out = open_memstream(&text, size_ret), .plain = !open_metrics };
	size_t used = 0;

	if (!list || !om.out) {
		if (om.out)
			fclose(om.out);
		free(text);
		return NULL;
	}
	list[used] = own_snapshot(poster);
	used += list[used] != NULL;
	for (size_t i = 0; i < count; i++) {
		list[used] = observed_snapshot(&hosts[i]);
		used += list[used] != NULL;
	}
	exposition_write(&om, list, used, clock_ns(CLOCK_MONOTONIC));
	for (size_t i = 0; i < used; i++)
		snapshot_put(list[i]);
	if (!fclose(om.out))
		return text;
	free(text);
	return NULL;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int status,
			      const char *type, const char *text, size_t size,
			      enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(size, (void *)text, mode);
	enum MHD_Result result;

	if (!response) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free((void *)text);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned int status, const char *text)
{
	return answer(connection, status, "text/plain; charset=utf-8", text, strlen(text),
		      MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection,
				      const struct scrape *scrape)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
	bool open_metrics = accept && strstr(accept, OPEN_METRICS);
	size_t size;
	char *text = scrape_text(scrape->hosts, scrape->count, scrape->poster, open_metrics, &size);

	if (!text)
		return say(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "memory is short\n");
	return answer(connection, MHD_HTTP_OK,
		      open_metrics ? OPEN_METRICS "; version=1.0.0; charset=utf-8"
				   : "text/plain; version=0.0.4; charset=utf-8",
		      text, size, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *path,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	static int begun;

	(void)version;
	(void)upload;
	// Called with the headers first, then with what is uploaded, at last without.
	if (!*state) {
		*state = &begun;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD\n");
	if (!strcmp(path, "/metrics"))
		return answer_metrics(connection, arg);
	if (!strcmp(path, "/"))
		return say(connection, MHD_HTTP_OK, "grass exporter: see /metrics\n");
	return say(connection, MHD_HTTP_NOT_FOUND, "there is /metrics\n");
}

struct gs_error *scrape_start(const char *spec, uint16_t port, struct observed *hosts, size_t count,
			      struct poster *poster, struct scrape **ret)
{
	int sockets[ADDRESSES];
	size_t socket_count = 0;
	struct gs_error *err = listen_on(spec, port, sockets, ADDRESSES, &socket_count);
	struct scrape *scrape = err ? NULL : calloc(1, sizeof(*scrape));

	if (err)
		return gs_error_prefix(err, "--listen");
	if (!scrape)
		err = &gs_enomem;
	else
		*scrape = (struct scrape){
			.hosts = hosts,
			.count = count,
			.poster = poster,
			.port = listen_port(sockets[0]),
		};
	for (size_t i = 0; i < socket_count; i++) {
		// Without select(): with many sessions, files have numbers of 1024 and more.
		struct MHD_Daemon *daemon =
			err ? NULL
			    : MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, handle,
					       scrape, MHD_OPTION_LISTEN_SOCKET, sockets[i],
					       MHD_OPTION_CONNECTION_LIMIT,
					       (unsigned int)CONNECTIONS,
					       MHD_OPTION_CONNECTION_TIMEOUT,
					       (unsigned int)TIMEOUT_S, MHD_OPTION_END);

		if (daemon) {
			scrape->daemons[scrape->daemon_count++] = daemon;
			continue;
		}
		close(sockets[i]);
		if (!err)
			err = gs_error_create(GS_ERROR_OTHER, "no server can be started at %s",
					      spec);
	}
	if (err) {
		scrape_stop(scrape);
		return err;
	}
	*ret = scrape;
	return NULL;
}

uint16_t scrape_port(const struct scrape *scrape)
{
	return scrape->port;
}

void scrape_stop(struct scrape *scrape)
{
	if (!scrape)
		return;
	for (size_t i = 0; i < scrape->daemon_count; i++)
		MHD_stop_daemon(scrape->daemons[i]);
	free(scrape);
}
