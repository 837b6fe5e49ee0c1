// SPDX-License-Identifier: Apache-2.0
// What the exporter tells Prometheus and Alertmanager, whatever hosts call their detectors and their metrics.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grass_cli/alerts.h"
#include "grass_cli/exposition.h"
#include "util/array.h"

#define SECOND UINT64_C(1000000000)

static char *text;

static int forget(void **state)
{
	(void)state;
	free(text);
	text = NULL;
	return 0;
}

static struct om om_open(bool plain)
{
	static size_t size;

	free(text);
	text = NULL;
	return (struct om){ .out = open_memstream(&text, &size), .plain = plain };
}

// What @om has written is this.
static void assert_text(struct om *om, const char *wanted)
{
	assert_int_equal(fclose(om->out), 0);
	assert_string_equal(text, wanted);
}

static void types_and_values(void **state)
{
	const struct om_label label = { "cpu", "0" };
	struct om om = om_open(false);

	(void)state;
	om_family(&om, "a_runs", OM_COUNTER, "Two\nlines, \"quoted\" \\.");
	om_sample(&om, &label, 1, 3);
	om_family(&om, "a_build", OM_INFO, "Help.");
	om_sample(&om, NULL, 0, 1);
	om_family(&om, "a_seconds", OM_GAUGE, "Help.");
	om_sample(&om, NULL, 0, 0.25);
	om_sample(&om, NULL, 0, 1764324000.123456);
	om_sample(&om, NULL, 0, -1.0 / 0.0);
	om_sample(&om, NULL, 0, 0.0 / 0.0);
	om_sample(&om, NULL, 0, 18446744073709551615.0);
	om_end(&om);
	assert_text(&om, "# TYPE a_runs counter\n"
			 "# HELP a_runs Two\\nlines, \\\"quoted\\\" \\\\.\n"
			 "a_runs_total{cpu=\"0\"} 3\n"
			 "# TYPE a_build info\n# HELP a_build Help.\na_build_info 1\n"
			 "# TYPE a_seconds gauge\n# HELP a_seconds Help.\n"
			 "a_seconds 0.25\na_seconds 1764324000.123456\na_seconds -Inf\n"
			 "a_seconds NaN\na_seconds 1.844674407370955e+19\n# EOF\n");
}

static void older_format(void **state)
{
	struct om om = om_open(true);

	(void)state;
	om_family(&om, "a_runs", OM_COUNTER, "\"Runs\".");
	om_sample(&om, NULL, 0, 3);
	om_family(&om, "a_build", OM_INFO, "Help.");
	om_sample(&om, NULL, 0, 1);
	om_family(&om, "a_verdict", OM_STATESET, "Help.");
	om_end(&om);
	assert_text(&om, "# TYPE a_runs_total counter\n# HELP a_runs_total \"Runs\".\n"
			 "a_runs_total 3\n"
			 "# TYPE a_build_info gauge\n# HELP a_build_info Help.\na_build_info 1\n"
			 "# TYPE a_verdict gauge\n# HELP a_verdict Help.\n");
}

static void assert_labels(const struct om_label *labels, size_t count, const char *wanted)
{
	struct om om = om_open(false);

	om_labels(om.out, labels, count);
	assert_text(&om, wanted);
}

static void labels_are_escaped(void **state)
{
	const struct om_label label = { "a",
					"x\n\"\\\xff\xc3\xa4\xed\xa0\x80\xf4\x90\x80\x80\xe2" };

	(void)state;
	assert_labels(&label, 1,
		      "{a=\"x\\n\\\"\\\\\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
		      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}");
	assert_labels(NULL, 0, "");
}

static void label_names_are_names(void **state)
{
	// Prometheus refuses a whole text for two labels of one name, and takes __name__ for the metric's.
	const struct om_label labels[] = {
		{ "a", "1" },	     { "a", "2" }, { "a-b", "3" }, { "a b", "4" },
		{ "__name__", "5" }, { "", "6" },  { "9\"", "7" },
	};
	struct om_label many[OM_LABELS + 4];
	char names[ARRAY_SIZE(many)][8];
	struct om om;
	size_t commas = 0;

	(void)state;
	assert_labels(labels, ARRAY_SIZE(labels),
		      "{a=\"1\",a_b=\"3\",label_name__=\"5\",label=\"6\",_9_=\"7\"}");
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		snprintf(names[i], sizeof(names[i]), "l%zu", i);
		many[i] = (struct om_label){ names[i], "" };
	}
	om = om_open(false);
	om_labels(om.out, many, ARRAY_SIZE(many));
	fclose(om.out);
	for (const char *p = text; *p; p++)
		commas += *p == ',';
	assert_int_equal(commas, OM_LABELS - 1);
}

static void assert_metric(const char *detector, const char *name, double value,
			  const char *wanted_name, double wanted)
{
	char buf[128];

	exposition_metric(detector, name, value, buf, sizeof(buf), &value);
	assert_string_equal(buf, wanted_name);
	assert_true(value == wanted);
}

static void names_of_metrics(void **state)
{
	(void)state;
	assert_metric("files", "open_files", 7, "gpusentinel_files_open_files", 7);
	assert_metric("memory", "free_kb", 4, "gpusentinel_memory_free_bytes", 4096);
	assert_metric("cpu", "idle_ns", 5e8, "gpusentinel_cpu_idle_seconds", 0.5);
	assert_metric("cpu", "idle_ms", 500, "gpusentinel_cpu_idle_seconds", 0.5);
	// A gauge must not look like a counter, nor like a part of a histogram.
	assert_metric("cpu", "switches_total", 5, "gpusentinel_cpu_switches", 5);
	assert_metric("cpu", "idle_us_total_count", 5e6, "gpusentinel_cpu_idle_seconds", 5);
	assert_metric("a\xff-\n", "b{} 1\n# EOF", 1, "gpusentinel_a____b___1___EOF", 1);
	assert_metric("", "", 1, "gpusentinel__", 1);
	assert_metric("x", "_total", 1, "gpusentinel_x__total", 1);
}

static struct snapshot *make(const char *host, bool other)
{
	const struct om_label labels[] = { { "host", host }, { "detector", "\xff" } };
	const struct om_label same[] = { { "host", host }, { "detector", "\xfe" } };
	struct snapshot *snapshot = snapshot_create();

	assert_non_null(snapshot);
	snapshot_add(snapshot, "grass_up", labels, 1, 1);
	snapshot_add(snapshot, "gpusentinel_x", labels, 2, 1);
	// After escaping these are equal.
	snapshot_add(snapshot, "grass_detector_runs", labels, 2, 5);
	snapshot_add(snapshot, "grass_detector_runs", same, 2, 6);
	if (other)
		snapshot_add(snapshot, "gpusentinel_other", labels, 1, 2);
	snapshot_add_since(snapshot, "grass_heartbeat_age_seconds", labels, 1, 10 * SECOND);
	assert_true(snapshot_seal(snapshot));
	return snapshot;
}

static void families_are_contiguous(void **state)
{
	struct snapshot *list[] = { make("a", false), make("b", true) };
	struct om om = om_open(false);
	const char *counter = "grass_detector_runs_total{host=\"a\",detector=\"\xef\xbf\xbd\"} ";

	(void)state;
	exposition_write(&om, list, ARRAY_SIZE(list), 12 * SECOND + SECOND / 2);
	fclose(om.out);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		snapshot_put(list[i]);
	// One of the two that are equal is there, whichever.
	assert_non_null(strstr(text, counter));
	assert_null(strstr(strstr(text, counter) + 1, counter));
	*strstr(text, "# TYPE grass_detector_runs") = 0;
	assert_string_equal(text, "# TYPE gpusentinel_other gauge\n"
				  "# HELP gpusentinel_other What a detector measures.\n"
				  "gpusentinel_other{host=\"b\"} 2\n"
				  "# TYPE gpusentinel_x gauge\n"
				  "# HELP gpusentinel_x What a detector measures.\n"
				  "gpusentinel_x{host=\"a\",detector=\"\xef\xbf\xbd\"} 1\n"
				  "gpusentinel_x{host=\"b\",detector=\"\xef\xbf\xbd\"} 1\n");

	char *rest = strstr(text + strlen(text) + 1, "# TYPE grass_heartbeat_age_seconds");

	assert_non_null(rest);
	assert_string_equal(
		rest,
		"# TYPE grass_heartbeat_age_seconds gauge\n"
		"# HELP grass_heartbeat_age_seconds Since the engine was last seen to have beaten.\n"
		"grass_heartbeat_age_seconds{host=\"a\"} 2.5\n"
		"grass_heartbeat_age_seconds{host=\"b\"} 2.5\n"
		"# TYPE grass_up gauge\n"
		"# HELP grass_up 1 if the last heartbeat was answered.\n"
		"grass_up{host=\"a\"} 1\ngrass_up{host=\"b\"} 1\n# EOF\n");
}

static void nothing_is_a_text(void **state)
{
	struct om om = om_open(false);

	(void)state;
	exposition_write(&om, NULL, 0, 0);
	assert_text(&om, "# EOF\n");
}

static struct snapshot *with_alert(const char *key, const char *summary)
{
	struct snapshot *snapshot = snapshot_create();

	assert_non_null(snapshot);
	if (key)
		snapshot_add_alert(snapshot, &(struct alert){
						     .name = snapshot_text(snapshot, "Name"),
						     .host = snapshot_text(snapshot, "web1"),
						     .key = snapshot_text(snapshot, key),
						     .summary = snapshot_text(snapshot, summary),
						     .starts_ns = 1764324000 * SECOND,
					     });
	assert_true(snapshot_seal(snapshot));
	return snapshot;
}

// The message about one host, in which this alert holds or, for a NULL @key, none.
static void assert_message(struct alerts *alerts, const char *key, const char *summary,
			   uint64_t now_s, bool changed, const char *wanted)
{
	struct snapshot *snapshot = with_alert(key, summary);
	bool is_changed;
	struct json_object *message = alerts_message(alerts, &snapshot, 1, now_s * SECOND,
						     (now_s + 60) * SECOND, &is_changed);

	assert_string_equal(json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN),
			    wanted);
	assert_int_equal(is_changed, changed);
	json_object_put(message);
	snapshot_put(snapshot);
}

#define ALERT(key, summary, start, end)                                                      \
	"{\"labels\":{\"alertname\":\"Name\",\"host\":\"web1\",\"key\":\"" key               \
	"\"},\"annotations\":{\"summary\":\"" summary "\"},\"startsAt\":\"2025-11-28T" start \
	"\",\"endsAt\":\"2025-11-28T" end "\"}"

static void alerts_begin_go_on_and_end(void **state)
{
	struct alerts alerts = {};

	(void)state;
	assert_message(&alerts, NULL, NULL, 1764324000, false, "[]");
	assert_message(&alerts, "1", "bad\n\xff", 1764324001, true,
		       "[" ALERT("1", "bad\\n\xef\xbf\xbd", "10:00:00.000Z", "10:01:01.000Z") "]");
	alerts_posted(&alerts);
	// The same goes on, with another message.
	assert_message(&alerts, "1", "worse", 1764324002, false,
		       "[" ALERT("1", "worse", "10:00:00.000Z", "10:01:02.000Z") "]");
	// What is over is told until it has arrived.
	assert_message(&alerts, NULL, NULL, 1764324003, true,
		       "[" ALERT("1", "worse", "10:00:00.000Z", "10:00:03.000Z") "]");
	assert_message(&alerts, NULL, NULL, 1764324004, false,
		       "[" ALERT("1", "worse", "10:00:00.000Z", "10:00:03.000Z") "]");
	alerts_posted(&alerts);
	assert_message(&alerts, NULL, NULL, 1764324005, false, "[]");
	alerts_deinit(&alerts);
}

static void alerts_do_not_begin_in_the_future(void **state)
{
	struct alerts alerts = {};

	(void)state;
	assert_message(&alerts, "1", "bad", 1764323990, true,
		       "[" ALERT("1", "bad", "09:59:50.000Z", "10:00:50.000Z") "]");
	alerts_deinit(&alerts);
}

static void an_alert_for_each_condition(void **state)
{
	struct snapshot *list[] = { with_alert("1", "a"), with_alert("2", "b"),
				    with_alert("2", "c") };
	struct alerts alerts = {};
	bool changed;
	struct json_object *message =
		alerts_message(&alerts, list, ARRAY_SIZE(list), 1764324000 * SECOND,
			       1764324060 * SECOND, &changed);

	(void)state;
	assert_int_equal(json_object_array_length(message), 2);
	json_object_put(message);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		snapshot_put(list[i]);
	alerts_deinit(&alerts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(types_and_values, forget),
		cmocka_unit_test_teardown(older_format, forget),
		cmocka_unit_test_teardown(labels_are_escaped, forget),
		cmocka_unit_test_teardown(label_names_are_names, forget),
		cmocka_unit_test(names_of_metrics),
		cmocka_unit_test_teardown(families_are_contiguous, forget),
		cmocka_unit_test_teardown(nothing_is_a_text, forget),
		cmocka_unit_test(alerts_begin_go_on_and_end),
		cmocka_unit_test(alerts_do_not_begin_in_the_future),
		cmocka_unit_test(an_alert_for_each_condition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
