// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/exposition.h"

#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"

static const struct family {
	const char *name;
	enum om_type type;
	const char *help;
} families[] = {
	{ "grass_alert_posts", OM_COUNTER, "Messages to Alertmanager that it has taken." },
	{ "grass_alert_post_failures", OM_COUNTER, "Messages that Alertmanager has not taken." },
	{ "grass_build", OM_INFO, "This exporter." },
	{ "grass_detector_damaged_metrics", OM_GAUGE,
	  "Metrics of the host that could not be made out at the last heartbeat." },
	{ "grass_detector_faults", OM_COUNTER,
	  "Loads from the watched machine's memory that failed." },
	{ "grass_detector_last_run_seconds", OM_GAUGE, "How long the last run took." },
	{ "grass_detector_longest_run_seconds", OM_GAUGE, "How long the longest run took." },
	{ "grass_detector_lost_metrics", OM_COUNTER, "Metrics that found no place." },
	{ "grass_detector_lost_records", OM_COUNTER, "Records that fitted nowhere." },
	{ "grass_detector_period_seconds", OM_GAUGE, "From the start of one run to the next." },
	{ "grass_detector_runs", OM_COUNTER, "Runs that have ended." },
	{ "grass_detector_stalled", OM_GAUGE, "1 if it has been in one run for too long." },
	{ "grass_detector_stops", OM_COUNTER, "Runs that ended before their end, and why." },
	{ "grass_engine_beats", OM_COUNTER, "Beats of the engine's heart." },
	{ "grass_engine_start_timestamp_seconds", OM_GAUGE, "When it began to beat." },
	{ "grass_findings", OM_COUNTER, "Events, and conditions that have begun." },
	{ "grass_findings_open", OM_GAUGE, "Conditions that hold." },
	{ "grass_heartbeat_age_seconds", OM_GAUGE,
	  "Since the engine was last seen to have beaten." },
	{ "grass_heartbeats", OM_COUNTER, "Heartbeats that were tried." },
	{ "grass_heartbeats_answered", OM_COUNTER, "Heartbeats that were answered." },
	{ "grass_host", OM_INFO, "What is watched, and on what." },
	{ "grass_round_trip_seconds", OM_GAUGE, "Of the last heartbeat that was answered." },
	{ "grass_up", OM_GAUGE, "1 if the last heartbeat was answered." },
	{ "grass_verdict", OM_STATESET, "What is made of the host." },
	{ "grass_verdict_since_timestamp_seconds", OM_GAUGE, "Since when that is so." },
};

static const struct family *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (!strcmp(families[i].name, name))
			return &families[i];
	}
	return NULL;
}

// Takes the ending off, if there is more than it.
static bool cut(char *name, const char *ending)
{
	size_t size = strlen(name), end = strlen(ending);

	if (size <= end || strcmp(name + size - end, ending) != 0)
		return false;
	name[size - end] = 0;
	return true;
}

void exposition_metric(const char *detector, const char *name, double value, char *buf, size_t len,
		       double *value_ret)
{
	static const struct unit {
		const char *ending, *base;
		double factor;
	} units[] = {
		{ "_ns", "_seconds", 1e-9 },
		{ "_us", "_seconds", 1e-6 },
		{ "_ms", "_seconds", 1e-3 },
		{ "_kb", "_bytes", 1024 },
	};
	// What the format itself puts behind names of other types.
	static const char *const taken[] = { "_total",	"_info", "_created",
					     "_bucket", "_sum",	 "_count" };
	char text[160], stem[96];

	*value_ret = value;
	om_name(name, stem, sizeof(stem));
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		// Several may be there.
		if (cut(stem, taken[i]))
			i = (size_t)-1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!cut(stem, units[i].ending))
			continue;
		*value_ret = value * units[i].factor;
		if (strlen(stem) + strlen(units[i].base) < sizeof(stem))
			strcat(stem, units[i].base);
		break;
	}
	snprintf(text, sizeof(text), EXPOSITION_PREFIX "%.20s_%s", detector, stem);
	om_name(text, buf, len);
}

static const char *family_at(const struct snapshot *snapshot, size_t at)
{
	return at < snapshot->sample_count ? snapshot->text + snapshot->samples[at].family : NULL;
}

// The first family that has not been written.
static const char *next_family(struct snapshot *const *snapshots, const size_t *at, size_t count)
{
	const char *ret = NULL;

	for (size_t i = 0; i < count; i++) {
		const char *name = family_at(snapshots[i], at[i]);

		if (name && (!ret || strcmp(name, ret) < 0))
			ret = name;
	}
	return ret;
}

static void begin(struct om *om, const char *name)
{
	const struct family *family = find(name);

	if (family)
		om_family(om, name, family->type, family->help);
	else
		om_family(om, name, OM_GAUGE, "What a detector measures.");
}

void exposition_write(struct om *om, struct snapshot *const *snapshots, size_t count,
		      uint64_t now_ns)
{
	_cleanup_free_ size_t *at = calloc(count ? count : 1, sizeof(*at));

	for (const char *name; at && (name = next_family(snapshots, at, count));) {
		begin(om, name);
		for (size_t i = 0; i < count; i++) {
			const struct snapshot *snapshot = snapshots[i];

			for (const char *own;
			     (own = family_at(snapshot, at[i])) && !strcmp(own, name); at[i]++) {
				const struct sample *sample = &snapshot->samples[at[i]];
				double value = sample->value;

				if (sample->since_ns)
					value = now_ns > sample->since_ns
							? (double)(now_ns - sample->since_ns) / 1e9
							: 0;
				om_sample_text(om, snapshot->text + sample->labels, value);
			}
		}
	}
	om_end(om);
}
