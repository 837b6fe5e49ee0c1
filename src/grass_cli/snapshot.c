// SPDX-License-Identifier: Apache-2.0
#include "grass_cli/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "util/array.h"

struct snapshot *snapshot_create(void)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	snapshot->references = 1;
	snapshot->out = open_memstream(&snapshot->text, &snapshot->size);
	// Offset 0 is the empty string.
	if (snapshot->out && fputc(0, snapshot->out) != EOF)
		return snapshot;
	snapshot_put(snapshot);
	return NULL;
}

static size_t position(const struct snapshot *snapshot)
{
	return (size_t)ftello(snapshot->out);
}

size_t snapshot_text(struct snapshot *snapshot, const char *text)
{
	size_t at = position(snapshot);

	if (!*text)
		return 0;
	fwrite(text, 1, strlen(text) + 1, snapshot->out);
	return at;
}

static void add(struct snapshot *snapshot, const char *family, const struct om_label *labels,
		size_t count, double value, uint64_t since_ns)
{
	struct sample sample = {
		.family = snapshot_text(snapshot, family),
		.labels = position(snapshot),
		.value = value,
		.since_ns = since_ns,
	};

	om_labels(snapshot->out, labels, count);
	fputc(0, snapshot->out);
	if (!gs_array_push(snapshot->samples, snapshot->sample_count, snapshot->sample_capacity,
			   sample))
		snapshot->failed = true;
}

void snapshot_add(struct snapshot *snapshot, const char *family, const struct om_label *labels,
		  size_t count, double value)
{
	add(snapshot, family, labels, count, value, 0);
}

void snapshot_add_since(struct snapshot *snapshot, const char *family,
			const struct om_label *labels, size_t count, uint64_t since_ns)
{
	add(snapshot, family, labels, count, 0, since_ns);
}

void snapshot_add_alert(struct snapshot *snapshot, const struct alert *alert)
{
	if (!gs_array_push(snapshot->alerts, snapshot->alert_count, snapshot->alert_capacity,
			   *alert))
		snapshot->failed = true;
}

static int compare(const void *left, const void *right, void *text)
{
	const struct sample *a = left, *b = right;
	const char *base = text;
	int order = strcmp(base + a->family, base + b->family);

	return order ? order : strcmp(base + a->labels, base + b->labels);
}

bool snapshot_seal(struct snapshot *snapshot)
{
	size_t left = 0;

	if (fclose(snapshot->out))
		snapshot->failed = true;
	snapshot->out = NULL;
	if (snapshot->failed || !snapshot->text)
		return false;
	if (snapshot->sample_count)
		qsort_r(snapshot->samples, snapshot->sample_count, sizeof(*snapshot->samples),
			compare, snapshot->text);
	for (size_t i = 0; i < snapshot->sample_count; i++) {
		if (!left || compare(&snapshot->samples[left - 1], &snapshot->samples[i],
				     snapshot->text) != 0)
			snapshot->samples[left++] = snapshot->samples[i];
	}
	snapshot->sample_count = left;
	return true;
}

struct snapshot *snapshot_get(struct snapshot *snapshot)
{
	__atomic_fetch_add(&snapshot->references, 1, __ATOMIC_RELAXED);
	return snapshot;
}

void snapshot_put(struct snapshot *snapshot)
{
	if (!snapshot || __atomic_sub_fetch(&snapshot->references, 1, __ATOMIC_ACQ_REL))
		return;
	if (snapshot->out)
		fclose(snapshot->out);
	free(snapshot->text);
	free(snapshot->samples);
	free(snapshot->alerts);
	free(snapshot);
}
