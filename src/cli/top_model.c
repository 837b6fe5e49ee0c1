// SPDX-License-Identifier: Apache-2.0
#include "cli/top_model.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/array.h"
#include "util/clock.h"

// The rows of a run come together: when none has come for so long, that was all.
#define QUIET_NS UINT64_C(100000000)

static const char *const names[TOP_SOURCES] = {
	[TOP_PROCESSES] = "processes",
	[TOP_MEMORY] = "memory",
	[TOP_SYSTEM] = "system",
	[TOP_CPU] = "cpu",
};

bool top_init(struct top *top)
{
	*top = (struct top){ .conditions = gs_conditions_create() };
	pthread_mutex_init(&top->lock, NULL);
	return top->conditions;
}

void top_deinit(struct top *top)
{
	for (size_t i = 0; i < TOP_SOURCES; i++) {
		rows_deinit(&top->sources[i].rows);
		rows_deinit(&top->sources[i].filling);
	}
	for (size_t i = 0; i < TOP_EVENTS; i++) {
		free(top->events[i].detector);
		free(top->events[i].message);
	}
	free(top->processes.list);
	free(top->before.list);
	gs_conditions_destroy(top->conditions);
	pthread_mutex_destroy(&top->lock);
}

static int by_pid(const void *a, const void *b)
{
	const struct top_process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

// Its CPU time since the run before, in which it may not have been there yet.
static double cpu_percent(const struct top_processes *before, const struct top_process *process,
			  uint64_t time_ns)
{
	const struct top_process *old =
		before->count
			? bsearch(process, before->list, before->count, sizeof(*process), by_pid)
			: NULL;
	uint64_t used = process->cpu_ns;

	if (!before->count || time_ns <= before->time_ns)
		return -1;
	if (old && old->start_ns == process->start_ns)
		used = process->cpu_ns > old->cpu_ns ? process->cpu_ns - old->cpu_ns : 0;
	return 100.0 * (double)used / (double)(time_ns - before->time_ns);
}

static struct top_process process_of(struct top *top, struct rows *rows, const struct row *row)
{
	const struct gs_item *comm = row_item(row, "comm"), *state = row_item(row, "state");
	const struct gs_item *pid = row_item(row, "pid"), *ppid = row_item(row, "ppid");
	struct top_process process = {
		.pid = pid ? pid->i : 0,
		.ppid = ppid ? ppid->i : 0,
		.uid = row_number(row, "uid"),
		.threads = row_number(row, "threads"),
		.rss_kb = row_number(row, "rss_kb"),
		.cpu_ns = row_number(row, "utime_ns") + row_number(row, "stime_ns"),
		.start_ns = row_number(row, "start_ns"),
		.state = state && state->u > ' ' && state->u < 0x7f ? (char)state->u : '?',
		.kthread = row_number(row, "kthread"),
		.comm = comm ? item_text(rows, comm) : "",
	};

	process.cpu_percent =
		cpu_percent(&top->before, &process, top->sources[TOP_PROCESSES].time_ns);
	return process;
}

static void take_processes(struct top *top)
{
	struct top_source *source = &top->sources[TOP_PROCESSES];
	struct top_processes old = top->before;

	top->before = top->processes;
	top->processes = old;
	top->processes.count = 0;
	top->processes.time_ns = source->time_ns;
	for (size_t i = 0; i < source->rows.count; i++) {
		if (!gs_array_push(top->processes.list, top->processes.count,
				   top->processes.capacity,
				   process_of(top, &source->rows, &source->rows.rows[i])))
			top->out_of_memory = true;
	}
	if (top->processes.count)
		qsort(top->processes.list, top->processes.count, sizeof(*top->processes.list),
		      by_pid);
}

static void take(struct top *top, enum top_source_id id)
{
	struct top_source *source = &top->sources[id];
	struct rows old = source->rows;

	if (!source->filling.count)
		return;
	source->rows = source->filling;
	source->filling = (struct rows){};
	source->time_ns = source->filling_time_ns;
	source->runs++;
	top->out_of_memory |= source->rows.out_of_memory;
	if (id == TOP_PROCESSES)
		take_processes(top);
	rows_deinit(&old);
}

static void add_row(struct top *top, const struct gs_record *record)
{
	for (size_t i = 0; i < TOP_SOURCES; i++) {
		struct top_source *source = &top->sources[i];

		if (strcmp(names[i], record->detector_name))
			continue;
		if (source->filling_run != record->run)
			take(top, i);
		source->filling_run = record->run;
		source->filling_time_ns = record->time_ns;
		source->came_ns = clock_ns(CLOCK_MONOTONIC);
		rows_add(&source->filling, record);
	}
}

static void add_event(struct top *top, const struct gs_record *record)
{
	struct top_event *event = &top->events[top->event_count % TOP_EVENTS];

	free(event->detector);
	free(event->message);
	*event = (struct top_event){
		.severity = record->severity,
		.wall_ns = record->wall_ns,
		.detector = strdup(record->detector_name),
		.message = strdup(gs_record_text(record)),
	};
	top->out_of_memory |= !event->detector || !event->message;
	top->event_count++;
}

void top_record(void *arg, const struct gs_record *record)
{
	struct top *top = arg;

	pthread_mutex_lock(&top->lock);
	if (record->kind == GS_RECORD_ROW)
		add_row(top, record);
	else if (record->kind == GS_RECORD_FINDING && record->state == GS_EVENT)
		add_event(top, record);
	gs_conditions_note(top->conditions, record);
	pthread_mutex_unlock(&top->lock);
}

void top_settle(struct top *top, bool all)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	for (size_t i = 0; i < TOP_SOURCES; i++) {
		if (all || now - top->sources[i].came_ns > QUIET_NS)
			take(top, i);
	}
}

uint64_t top_runs(struct top *top)
{
	pthread_mutex_lock(&top->lock);
	top_settle(top, false);

	uint64_t runs = top->sources[TOP_PROCESSES].runs;

	pthread_mutex_unlock(&top->lock);
	return runs;
}

const struct gs_item *top_value(const struct top *top, enum top_source_id id, const char *name)
{
	const struct rows *rows = &top->sources[id].rows;
	const struct gs_item *item = NULL;

	for (size_t i = 0; i < rows->count && !item; i++)
		item = row_item(&rows->rows[i], name);
	return item;
}

// What is asked for first, then what else tells processes apart.
struct sorting {
	enum top_order order;
	bool reverse;
};

static int greater_first(double a, double b)
{
	return (a < b) - (a > b);
}

static int compare(const void *a, const void *b, void *arg)
{
	const struct top_process *x = a, *y = b;
	const struct sorting *sorting = arg;
	int order = 0;

	switch (sorting->order) {
	case TOP_BY_CPU:
		order = greater_first(x->cpu_percent, y->cpu_percent);
		break;
	case TOP_BY_RSS:
		order = greater_first(x->rss_kb, y->rss_kb);
		break;
	case TOP_BY_TIME:
		order = greater_first(x->cpu_ns, y->cpu_ns);
		break;
	default:
		break;
	}
	if (!order)
		order = by_pid(x, y);
	return sorting->reverse ? -order : order;
}

void top_sort(struct top_process *list, size_t count, enum top_order order, bool reverse)
{
	struct sorting sorting = { order, reverse };

	if (count)
		qsort_r(list, count, sizeof(*list), compare, &sorting);
}
