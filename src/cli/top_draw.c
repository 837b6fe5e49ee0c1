// SPDX-License-Identifier: Apache-2.0
#include "cli/top_draw.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/text.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/clock.h"

// Events that are shown if there is any number of lines.
#define MANY_EVENTS 16

static const struct {
	const char *word;
	enum frame_style style;
} severities[] = {
	[0] = { "", FRAME_PLAIN },
	[GS_INFO] = { "INFO", FRAME_INFO },
	[GS_WARNING] = { "WARNING", FRAME_WARNING },
	[GS_ERROR] = { "ERROR", FRAME_ERROR },
	[GS_CRITICAL] = { "CRITICAL", FRAME_CRITICAL },
};

static uint64_t value_of(const struct top *top, enum top_source_id id, const char *name)
{
	return item_number(top_value(top, id, name));
}

static bool has_panicked(const struct top *top)
{
	const struct gs_item *cpu = top_value(top, TOP_SYSTEM, "panic_cpu");

	return cpu && cpu->i >= 0;
}

static void draw_title(struct top *top, const struct top_view *view, struct frame *frame)
{
	const struct gs_item *hostname = top_value(top, TOP_SYSTEM, "hostname");
	char wall[TEXT_NUMBER_MAX], uptime[TEXT_NUMBER_MAX];
	const struct gs_item *loads[3] = {
		top_value(top, TOP_SYSTEM, "load1"),
		top_value(top, TOP_SYSTEM, "load5"),
		top_value(top, TOP_SYSTEM, "load15"),
	};

	text_wall(wall, clock_ns(CLOCK_REALTIME));
	// Without the milliseconds.
	wall[strcspn(wall, ".")] = 0;
	text_duration(uptime, value_of(top, TOP_SYSTEM, "uptime_ns"));
	frame_add(frame, FRAME_BOLD, "%s  %s  Linux %s %s  engine %s", wall, view->target,
		  view->release,
		  hostname ? item_text(&top->sources[TOP_SYSTEM].rows, hostname) : "",
		  view->engine);
	if (!loads[0] || !loads[1] || !loads[2])
		return;
	frame_add(frame, has_panicked(top) ? FRAME_CRITICAL : FRAME_PLAIN,
		  "up %s, load %.2f %.2f %.2f%s", uptime, loads[0]->d, loads[1]->d, loads[2]->d,
		  has_panicked(top) ? ", the kernel has panicked" : "");
}

static void draw_tasks(const struct top *top, struct frame *frame)
{
	uint64_t threads = 0, running = 0, waiting = 0, zombies = 0, stopped = 0;

	for (size_t i = 0; i < top->processes.count; i++) {
		const struct top_process *process = &top->processes.list[i];

		threads += process->threads;
		running += process->state == 'R';
		waiting += process->state == 'D';
		stopped += process->state == 'T' || process->state == 't';
		zombies += process->state == 'Z';
	}
	frame_add(frame, FRAME_PLAIN,
		  "%zu processes, %" PRIu64 " threads: %" PRIu64 " running, %" PRIu64
		  " in state D, %" PRIu64 " stopped, %" PRIu64 " zombies",
		  top->processes.count, threads, running, waiting, stopped, zombies);
}

// Per thousand of its time that a CPU was busy.
static uint64_t busy_of(const struct row *row)
{
	uint64_t idle = row_number(row, "idle") + row_number(row, "iowait");

	return idle < 1000 ? 1000 - idle : 0;
}

static void draw_cpu(struct rows *rows, const struct row *row, struct frame *frame)
{
	const struct gs_item *comm = row_item(row, "comm");
	char bar[FRAME_BAR + 3];

	frame_bar(bar, busy_of(row) / 1000.0);
	frame_add(frame, FRAME_PLAIN,
		  "CPU%-4" PRIu64 "%5.1f%% %s us%5.1f sy%5.1f ni%5.1f wa%5.1f ir%5.1f st%5.1f  %s",
		  row_number(row, "cpu"), busy_of(row) / 10.0, bar, row_number(row, "user") / 10.0,
		  row_number(row, "system") / 10.0, row_number(row, "nice") / 10.0,
		  row_number(row, "iowait") / 10.0,
		  (row_number(row, "irq") + row_number(row, "softirq")) / 10.0,
		  row_number(row, "steal") / 10.0, comm ? item_text(rows, comm) : "");
}

// By the time of the processes.
static void draw_cpus_alone(const struct top *top, struct frame *frame)
{
	uint64_t cpus = value_of(top, TOP_SYSTEM, "cpus_online");
	char bar[FRAME_BAR + 3];
	double sum = 0;

	if (!top->before.count)
		return;
	for (size_t i = 0; i < top->processes.count; i++)
		sum += top->processes.list[i].cpu_percent;
	sum = cpus ? sum / (double)cpus : 0;
	frame_bar(bar, sum / 100);
	frame_add(frame, FRAME_PLAIN, "CPUs   %5.1f%% %s of %" PRIu64, sum, bar, cpus);
}

static void draw_cpus(struct top *top, const struct top_view *view, struct frame *frame)
{
	struct rows *rows = &top->sources[TOP_CPU].rows;
	uint64_t busy = 0, most = 0, busiest = 0;
	char bar[FRAME_BAR + 3];
	size_t count = 0;

	for (size_t i = 0; i < rows->count; i++) {
		const struct row *row = &rows->rows[i];

		if (!row_item(row, "cpu") || !row_item(row, "idle"))
			continue;
		count++;
		busy += busy_of(row);
		if (busy_of(row) >= most) {
			most = busy_of(row);
			busiest = row_number(row, "cpu");
		}
	}
	if (!count) {
		draw_cpus_alone(top, frame);
		return;
	}
	if (view->one_cpu_line || (view->height && count > view->height / 4)) {
		frame_bar(bar, (double)busy / (double)count / 1000);
		frame_add(frame, FRAME_PLAIN,
			  "CPUs   %5.1f%% %s of %zu, the busiest is %" PRIu64 " with %.1f%%",
			  (double)busy / (double)count / 10, bar, count, busiest, most / 10.0);
		return;
	}
	for (size_t i = 0; i < rows->count; i++) {
		if (row_item(&rows->rows[i], "cpu") && row_item(&rows->rows[i], "idle"))
			draw_cpu(rows, &rows->rows[i], frame);
	}
}

// @spare_kb: what can be had of @total_kb.
static void draw_memory_line(struct frame *frame, const char *name, uint64_t total_kb,
			     uint64_t spare_kb)
{
	char bar[FRAME_BAR + 3], used[TEXT_NUMBER_MAX], total[TEXT_NUMBER_MAX];
	uint64_t used_kb = total_kb > spare_kb ? total_kb - spare_kb : 0;
	double part = total_kb ? (double)used_kb / (double)total_kb : 0;

	frame_bar(bar, part);
	text_size(used, used_kb * 1024);
	text_size(total, total_kb * 1024);
	frame_add(frame, FRAME_PLAIN, "%-7s%5.1f%% %s %s of %s", name, 100 * part, bar, used,
		  total);
}

static void draw_memory(const struct top *top, struct frame *frame)
{
	uint64_t swap = value_of(top, TOP_MEMORY, "SwapTotal");

	if (!top->sources[TOP_MEMORY].rows.count)
		return;
	draw_memory_line(frame, "Mem", value_of(top, TOP_MEMORY, "MemTotal"),
			 value_of(top, TOP_MEMORY, "MemAvailable"));
	if (swap)
		draw_memory_line(frame, "Swap", swap, value_of(top, TOP_MEMORY, "SwapFree"));
}

// The worst in front, and of these the newest.
static int compare_conditions(const void *a, const void *b)
{
	const struct gs_condition *x = *(const struct gs_condition *const *)a;
	const struct gs_condition *y = *(const struct gs_condition *const *)b;

	if (x->severity != y->severity)
		return x->severity > y->severity ? -1 : 1;
	return (x->since_ns < y->since_ns) - (x->since_ns > y->since_ns);
}

static size_t draw_conditions(const struct top *top, struct frame *frame, size_t max)
{
	size_t count = gs_conditions_count(top->conditions);
	_cleanup_free_ const struct gs_condition **list = calloc(count + 1, sizeof(*list));
	uint64_t now = clock_ns(CLOCK_REALTIME);

	if (!list) {
		frame->failed = true;
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		list[i] = gs_conditions_at(top->conditions, i);
	qsort(list, count, sizeof(*list), compare_conditions);
	for (size_t i = 0; i < count && i < max; i++) {
		char lasts[TEXT_NUMBER_MAX];

		text_duration(lasts, now > list[i]->since_ns ? now - list[i]->since_ns : 0);
		frame_add(frame, severities[list[i]->severity].style, "%-8s %8s %s: %s",
			  severities[list[i]->severity].word, lasts, list[i]->detector,
			  list[i]->message);
	}
	return count < max ? count : max;
}

static void draw_event(const struct top_event *event, struct frame *frame)
{
	char wall[TEXT_NUMBER_MAX];
	const char *time_of_day;

	text_wall(wall, event->wall_ns);
	wall[strcspn(wall, ".")] = 0;
	time_of_day = strchr(wall, ' ');
	frame_add(frame, severities[event->severity].style, "%-8s %8s %s: %s",
		  severities[event->severity].word, time_of_day ? time_of_day + 1 : wall,
		  event->detector ? event->detector : "", event->message ? event->message : "");
}

// What holds, then what happened, the newest first.
static void draw_findings(const struct top *top, const struct top_view *view, struct frame *frame)
{
	size_t open = gs_conditions_count(top->conditions);
	size_t room = view->height ? view->height / 4 + 1 : SIZE_MAX;
	size_t events = top->event_count < TOP_EVENTS ? top->event_count : TOP_EVENTS;

	frame_add(frame, FRAME_PLAIN, "Findings: %zu open, %" PRIu64 " events", open,
		  top->event_count);
	room -= draw_conditions(top, frame, room);
	if (!view->height && events > MANY_EVENTS)
		events = MANY_EVENTS;
	for (size_t i = 0; i < events && i < room; i++)
		draw_event(&top->events[(top->event_count - 1 - i) % TOP_EVENTS], frame);
}

static void draw_process(const struct top_process *process, struct frame *frame)
{
	char rss[TEXT_NUMBER_MAX] = "-", cpu[TEXT_NUMBER_MAX] = "-", cpu_time[TEXT_NUMBER_MAX];

	if (process->rss_kb)
		text_size(rss, process->rss_kb > UINT64_MAX / 1024 ? UINT64_MAX
								   : process->rss_kb * 1024);
	if (process->cpu_percent >= 0)
		snprintf(cpu, sizeof(cpu), "%.1f", process->cpu_percent);
	text_cpu_time(cpu_time, process->cpu_ns);
	frame_add(frame, FRAME_PLAIN,
		  "%7" PRId64 " %7" PRId64 " %5" PRIu64 " %c %4" PRIu64 " %10s %5s %9s %s%s%s",
		  process->pid, process->ppid, process->uid, process->state, process->threads, rss,
		  cpu, cpu_time, process->kthread ? "[" : "", process->comm,
		  process->kthread ? "]" : "");
}

static const char *const order_names[TOP_ORDERS] = {
	[TOP_BY_CPU] = "%CPU",
	[TOP_BY_RSS] = "RSS",
	[TOP_BY_TIME] = "TIME",
	[TOP_BY_PID] = "PID",
};

static void draw_processes(struct top *top, struct top_view *view, struct frame *frame)
{
	const struct top_processes *all = &top->processes;
	_cleanup_free_ struct top_process *list = calloc(all->count + 1, sizeof(*list));
	size_t count = 0, lines;
	char heading[128];

	if (!list) {
		frame->failed = true;
		return;
	}
	for (size_t i = 0; i < all->count; i++) {
		if (!view->hide_kthreads || !all->list[i].kthread)
			list[count++] = all->list[i];
	}
	top_sort(list, count, view->order, view->reverse);

	snprintf(heading, sizeof(heading), "%7s %7s %5s S %4s %10s %5s %9s %s", "PID", "PPID",
		 "UID", "THR", "RSS", "%CPU", "TIME", "COMM");
	frame_add(frame, FRAME_HEADING, "%-*s by %s%s", (int)(frame->width ? 68 : 0), heading,
		  order_names[view->order], view->reverse ? ", reversed" : "");
	lines = view->processes ? view->processes : count;
	if (view->height)
		lines = view->height > frame->count ? view->height - frame->count : 0;
	view->page = lines;
	if (view->scroll + lines > count)
		view->scroll = count > lines ? count - lines : 0;
	for (size_t i = view->scroll; i < count && i - view->scroll < lines; i++)
		draw_process(&list[i], frame);
}

static void draw_help(struct frame *frame)
{
	static const char *const lines[] = {
		"P, M, T, N    sort by CPU, memory, CPU time, pid",
		"left, right   sort by what comes before or behind these; R: the other way round",
		"up, down, page up, page down, home, end: other processes",
		"K             without kernel threads, or with them",
		"1             one line for all CPUs, or one for each",
		"space         now",
		"q             end",
		"",
		"CPU is a part of one CPU since the run of the detector `processes` before this one.",
		"Findings that are open hold now, with how long they have; of others stands when they",
		"happened.",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		frame_add(frame, FRAME_PLAIN, "%s", lines[i]);
}

void top_draw(struct top *top, struct top_view *view, struct frame *frame)
{
	if (view->height && (view->height < TOP_MIN_HEIGHT || frame->width < TOP_MIN_WIDTH)) {
		frame_add(frame, FRAME_PLAIN, "The terminal is too small: %d columns, %d lines",
			  TOP_MIN_WIDTH, TOP_MIN_HEIGHT);
		return;
	}
	pthread_mutex_lock(&top->lock);
	top_settle(top, false);
	draw_title(top, view, frame);
	if (view->help) {
		draw_help(frame);
	} else {
		draw_tasks(top, frame);
		draw_cpus(top, view, frame);
		draw_memory(top, frame);
		draw_findings(top, view, frame);
		draw_processes(top, view, frame);
	}
	pthread_mutex_unlock(&top->lock);
}
