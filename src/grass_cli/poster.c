// SPDX-License-Identifier: Apache-2.0
// The thread that posts alerts.
#include <pthread.h>
#include <string.h>

#include <curl/curl.h>

#include "cli/cli.h"
#include "grass_cli/alerts.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define SECOND UINT64_C(1000000000)
// How often is looked for what has begun or ended; how often what goes on is posted again, and what did not arrive.
#define LOOK_NS SECOND
#define AGAIN_NS (15 * SECOND)
#define RETRY_NS (5 * SECOND)
// Alertmanager takes an alert for over that has not been posted again for so long.
#define END_NS (4 * AGAIN_NS)
#define TIMEOUT_S 10L

struct poster {
	char *url;
	struct observed *hosts;
	size_t count;
	struct watch_end *end;
	struct alerts alerts;
	pthread_t thread;
	// Words that other threads read.
	uint64_t posted, failed;
	// Of the last message.
	bool broken;
	// The beginning of what the other side said.
	char answer[256];
	size_t answer_size;
};

static size_t take_answer(char *bytes, size_t size, size_t count, void *arg)
{
	struct poster *poster = arg;
	size_t room = sizeof(poster->answer) - 1 - poster->answer_size;
	size_t more = size * count < room ? size * count : room;

	memcpy(poster->answer + poster->answer_size, bytes, more);
	poster->answer_size += more;
	poster->answer[poster->answer_size] = 0;
	return size * count;
}

static int progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total,
		    curl_off_t up_now)
{
	struct poster *poster = arg;

	(void)total;
	(void)now;
	(void)up_total;
	(void)up_now;
	return !watch_end_sleep(poster->end, 0);
}

static struct gs_error *post(struct poster *poster, const char *message)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	char reason[CURL_ERROR_SIZE] = "";
	struct gs_error *err = NULL;
	CURLcode result;
	long status = 0;

	if (!curl || !headers) {
		curl_easy_cleanup(curl);
		curl_slist_free_all(headers);
		return &gs_enomem;
	}
	poster->answer_size = 0;
	poster->answer[0] = 0;
	curl_easy_setopt(curl, CURLOPT_URL, poster->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, message);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(message));
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, poster);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, poster);
	result = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (result != CURLE_OK)
		err = gs_error_create(GS_ERROR_OTHER, "%s",
				      *reason ? reason : curl_easy_strerror(result));
	else if (status < 200 || status > 299)
		err = gs_error_create(GS_ERROR_OTHER, "status %ld: %s", status, poster->answer);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return err;
}

// Said once until it changes.
static void tell(struct poster *poster, const struct gs_error *err)
{
	if (!err == !poster->broken)
		return;
	poster->broken = err;

	_cleanup_free_ char *line = NULL;
	int length =
		err ? asprintf(&line, "alerts cannot be posted to %s: %s; trying again every %d s",
			       poster->url, err->message, (int)(RETRY_NS / SECOND))
		    : asprintf(&line, "alerts are posted to %s again", poster->url);

	if (length < 0)
		line = NULL;
	else
		cli_say(line);
}

static size_t get_snapshots(struct poster *poster, struct snapshot **list)
{
	size_t count = 0;

	for (size_t i = 0; i < poster->count; i++) {
		list[count] = observed_snapshot(&poster->hosts[i]);
		count += list[count] != NULL;
	}
	return count;
}

// True if what there is has arrived.
static bool post_all(struct poster *poster, struct snapshot **list, bool due)
{
	size_t count = get_snapshots(poster, list);
	uint64_t now_ns = clock_ns(CLOCK_REALTIME);
	bool changed;
	struct json_object *message =
		alerts_message(&poster->alerts, list, count, now_ns, now_ns + END_NS, &changed);
	bool any = json_object_array_length(message), ok = false;

	for (size_t i = 0; i < count; i++)
		snapshot_put(list[i]);
	if (any && (due || changed)) {
		struct gs_error *err = post(
			poster, json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN));

		ok = !err;
		__atomic_fetch_add(ok ? &poster->posted : &poster->failed, 1, __ATOMIC_RELAXED);
		if (ok)
			alerts_posted(&poster->alerts);
		if (ok || watch_end_sleep(poster->end, 0))
			tell(poster, err);
		gs_error_destroy(err);
	}
	json_object_put(message);
	return ok;
}

static void *post_alerts(void *arg)
{
	struct poster *poster = arg;
	_cleanup_free_ struct snapshot **list = calloc(poster->count, sizeof(*list));
	uint64_t due_ns = 0;

	while (list && watch_end_sleep(poster->end, LOOK_NS)) {
		uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

		// While nobody answers, what changes waits as well.
		if (poster->broken && now_ns < due_ns)
			continue;
		if (post_all(poster, list, now_ns >= due_ns))
			due_ns = now_ns + AGAIN_NS;
		else if (poster->broken)
			due_ns = clock_ns(CLOCK_MONOTONIC) + RETRY_NS;
	}
	return NULL;
}

struct gs_error *poster_start(const char *url, struct observed *hosts, size_t count,
			      struct watch_end *end, struct poster **ret)
{
	_cleanup_free_ struct poster *poster = calloc(1, sizeof(*poster));
	size_t length = strlen(url);
	int result;

	if (!poster || curl_global_init(CURL_GLOBAL_DEFAULT))
		return &gs_enomem;
	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return gs_error_create(GS_ERROR_USAGE,
				       "--alertmanager takes http://HOST:9093, not '%s'", url);
	while (length && url[length - 1] == '/')
		length--;
	if (asprintf(&poster->url, "%.*s/api/v2/alerts", (int)length, url) < 0)
		return &gs_enomem;
	poster->hosts = hosts;
	poster->count = count;
	poster->end = end;
	result = pthread_create(&poster->thread, NULL, post_alerts, poster);
	if (result) {
		free(poster->url);
		return gs_error_errno(GS_ERROR_OTHER, result, "no thread to post alerts");
	}
	*ret = no_cleanup_ptr(poster);
	return NULL;
}

void poster_counts(struct poster *poster, uint64_t *posted_ret, uint64_t *failed_ret)
{
	*posted_ret = poster ? __atomic_load_n(&poster->posted, __ATOMIC_RELAXED) : 0;
	*failed_ret = poster ? __atomic_load_n(&poster->failed, __ATOMIC_RELAXED) : 0;
}

void poster_stop(struct poster *poster)
{
	if (!poster)
		return;
	pthread_join(poster->thread, NULL);
	alerts_deinit(&poster->alerts);
	free(poster->url);
	free(poster);
}
