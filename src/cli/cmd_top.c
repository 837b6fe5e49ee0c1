// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/chosen.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/screen.h"
#include "cli/session.h"
#include "cli/top_draw.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/clock.h"

static const char help[] =
	"Usage: gpusentinel -t TARGET top [OPTION]... [DETECTOR...|FILE.so...]\n"
	"Show the processes, CPUs and memory of a machine and what is wrong with it, as\n"
	"detectors (all that are shipped, or these beside those for the view) find it.\n"
	"\n"
	"  -b, --batch      print one frame as text and end; also --once\n"
	"  -d, --delay S    seconds from frame to frame (1), or until that of --batch\n"
	"  -n, --lines N    print that many processes at most\n"
	"  --sort ORDER     cpu (the default), rss, time or pid\n"
	"\n"
	"Keys: P, M, T, N sort by CPU, memory, time, pid; arrows scroll; q ends; h tells\n"
	"more.\n"
	"\n"
	"  gpusentinel -t qemu:web top\n"
	"  gpusentinel -t core:vmcore top --batch --sort rss -n 10\n";

struct watch {
	struct cli *cli;
	struct top top;
	struct top_view view;
	struct chosen chosen;
	uint64_t delay_ns;
	bool batch;
};

static struct gs_error *parse_delay(const char *text, uint64_t *ret)
{
	char *end;
	double seconds = strtod(text, &end);

	// Written so that NaN fails too.
	if (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
		return gs_error_create(GS_ERROR_USAGE,
				       "--delay takes seconds from 0.1 to 3600, not '%s'", text);
	*ret = (uint64_t)(seconds * 1e9);
	return NULL;
}

static struct gs_error *parse_order(const char *text, enum top_order *ret)
{
	static const char *const words[TOP_ORDERS] = {
		[TOP_BY_CPU] = "cpu",
		[TOP_BY_RSS] = "rss",
		[TOP_BY_TIME] = "time",
		[TOP_BY_PID] = "pid",
	};

	for (size_t i = 0; i < TOP_ORDERS; i++) {
		if (!strcmp(text, words[i])) {
			*ret = i;
			return NULL;
		}
	}
	return gs_error_create(GS_ERROR_USAGE, "--sort takes cpu, rss, time or pid, not '%s'",
			       text);
}

static struct gs_error *parse(struct watch *watch, struct cli_parser *parser)
{
	enum { ONCE = CLI_OPTION_COMMAND, SORT };
	static const struct option options[] = {
		{ "batch", no_argument, NULL, 'b' },
		{ "once", no_argument, NULL, ONCE },
		{ "delay", required_argument, NULL, 'd' },
		{ "lines", required_argument, NULL, 'n' },
		{ "sort", required_argument, NULL, SORT },
		{},
	};
	struct gs_error *err = NULL;
	uint64_t lines;
	int c;

	parser->short_options = "bd:n:";
	parser->long_options = options;
	while (!err && (c = cli_getopt(parser, &err)) != -1) {
		switch (c) {
		case 'b':
		case ONCE:
			watch->batch = true;
			break;
		case 'd':
			err = parse_delay(optarg, &watch->delay_ns);
			break;
		case 'n':
			err = cli_number("--lines", optarg, 1, 1 << 30, &lines);
			if (!err)
				watch->view.processes = lines;
			break;
		case SORT:
			err = parse_order(optarg, &watch->view.order);
			break;
		}
	}
	if (!err && watch->cli->json)
		err = gs_error_create(GS_ERROR_USAGE, "top has no --json; ps, mem and run have it");
	return err;
}

static struct gs_error *add_detectors(struct watch *watch, int argc, char **argv)
{
	static char *const for_view[] = { "processes", "memory", "system" };
	size_t count = (size_t)(argc - optind);
	_cleanup_free_ char **names = calloc(ARRAY_SIZE(for_view) + count, sizeof(*names));

	if (!count)
		return chosen_set(&watch->chosen, watch->cli, NULL, 0);
	if (!names)
		return &gs_enomem;
	memcpy(names, for_view, sizeof(for_view));
	memcpy(names + ARRAY_SIZE(for_view), argv + optind, count * sizeof(*names));
	return chosen_set(&watch->chosen, watch->cli, names, ARRAY_SIZE(for_view) + count);
}

// What ends it, and what changes the terminal's size; blocked before any other thread exists.
static void block_signals(sigset_t *set)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH };

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(set, signals[i]);
	sigprocmask(SIG_BLOCK, set, NULL);
}

static struct gs_error *engine_failed(const struct watch *watch)
{
	const struct gs_error *failed = gs_engine_error(watch->cli->engine);

	return failed ? gs_error_create(failed->code, "%s", failed->message) : NULL;
}

static struct gs_error *print_frame(struct watch *watch)
{
	struct frame frame = {};

	pthread_mutex_lock(&watch->top.lock);
	top_settle(&watch->top, true);
	pthread_mutex_unlock(&watch->top.lock);
	top_draw(&watch->top, &watch->view, &frame);
	frame_print(&frame);

	bool failed = frame.failed || watch->top.out_of_memory;

	frame_deinit(&frame);
	return failed ? &gs_enomem : NULL;
}

// A part of a CPU needs two runs; a machine that is slow gets some time more for them.
static struct gs_error *batch(struct watch *watch, const sigset_t *set)
{
	enum { STEP_MS = 50, PATIENCE_S = 10 };
	_cleanup_close_ int signals = signalfd(-1, set, SFD_CLOEXEC);
	struct pollfd fd = { signals, POLLIN, 0 };
	struct gs_error *err;

	if (signals < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "signalfd");
	if (gs_target_frozen(watch->cli->target)) {
		err = chosen_run_once(&watch->chosen, top_record, &watch->top);
		// What was found is shown all the same.
		if (err && err->code != GS_ERROR_INCOMPLETE)
			return err;

		struct gs_error *print_err = print_frame(watch);

		if (!print_err)
			return err;
		gs_error_destroy(err);
		return print_err;
	}
	err = gs_engine_start(watch->cli->engine, top_record, &watch->top);
	if (err)
		return err;

	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	while (!gs_engine_error(watch->cli->engine) && poll(&fd, 1, STEP_MS) <= 0) {
		uint64_t passed = clock_ns(CLOCK_MONOTONIC) - start;

		if (passed >= watch->delay_ns &&
		    (top_runs(&watch->top) >= 2 ||
		     passed >= watch->delay_ns + PATIENCE_S * UINT64_C(1000000000)))
			break;
	}
	gs_engine_stop(watch->cli->engine);
	err = engine_failed(watch);
	return err ? err : print_frame(watch);
}

static void scroll_by(struct top_view *view, ptrdiff_t lines)
{
	if (lines < 0 && view->scroll < (size_t)-lines)
		view->scroll = 0;
	else
		view->scroll += (size_t)lines;
}

static void sort_by(struct top_view *view, enum top_order order)
{
	view->order = order;
	view->reverse = false;
	view->scroll = 0;
}

// @return false: the end.
static bool press(struct top_view *view, int key)
{
	// The help goes away with any key.
	bool help_shown = view->help;

	view->help = false;
	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case 'h':
	case '?':
		view->help = !help_shown;
		break;
	case 'P':
		sort_by(view, TOP_BY_CPU);
		break;
	case 'M':
		sort_by(view, TOP_BY_RSS);
		break;
	case 'T':
		sort_by(view, TOP_BY_TIME);
		break;
	case 'N':
		sort_by(view, TOP_BY_PID);
		break;
	case 'R':
		view->reverse = !view->reverse;
		break;
	case 'K':
		view->hide_kthreads = !view->hide_kthreads;
		break;
	case '1':
		view->one_cpu_line = !view->one_cpu_line;
		break;
	case SCREEN_LEFT:
		sort_by(view, (view->order + TOP_ORDERS - 1) % TOP_ORDERS);
		break;
	case SCREEN_RIGHT:
		sort_by(view, (view->order + 1) % TOP_ORDERS);
		break;
	case SCREEN_UP:
		scroll_by(view, -1);
		break;
	case SCREEN_DOWN:
		scroll_by(view, 1);
		break;
	case SCREEN_PAGE_UP:
		scroll_by(view, -(ptrdiff_t)view->page);
		break;
	case SCREEN_PAGE_DOWN:
		scroll_by(view, (ptrdiff_t)view->page);
		break;
	case SCREEN_HOME:
		view->scroll = 0;
		break;
	case SCREEN_END:
		// Drawing limits it.
		view->scroll = 1 << 30;
		break;
	}
	return true;
}

static void show(struct watch *watch)
{
	struct frame frame = {};

	screen_size(&frame.width, &watch->view.height);
	top_draw(&watch->top, &watch->view, &frame);
	screen_show(&frame);
	frame_deinit(&frame);
}

// @return false: it is time to end.
static bool take_signal(int signals)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo != SIGWINCH)
		return false;
	screen_resize();
	return true;
}

static void loop(struct watch *watch, int signals)
{
	uint64_t next = 0;

	for (;;) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);

		if (now >= next) {
			show(watch);
			next = now + watch->delay_ns;
		}

		struct pollfd fds[] = { { signals, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
		int n = poll(fds, ARRAY_SIZE(fds), (int)((next - now + 999999) / 1000000));

		if ((n < 0 && errno != EINTR) || gs_engine_error(watch->cli->engine))
			return;
		if (n <= 0)
			continue;
		if (fds[0].revents && !take_signal(signals))
			return;

		bool pressed = false;

		for (int key; (key = screen_key()) != SCREEN_NONE; pressed = true) {
			if (!press(&watch->view, key))
				return;
		}
		// A terminal that has gone is readable for ever, and gives nothing.
		if (fds[1].revents && !pressed)
			return;
		next = 0;
	}
}

static struct gs_error *interactive(struct watch *watch, const sigset_t *set)
{
	_cleanup_close_ int signals = signalfd(-1, set, SFD_CLOEXEC);

	if (signals < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "signalfd");

	struct gs_error *err = gs_engine_start(watch->cli->engine, top_record, &watch->top);

	if (err)
		return err;
	err = screen_open();
	if (!err) {
		loop(watch, signals);
		screen_close();
	}
	gs_engine_stop(watch->cli->engine);
	return err ? err : engine_failed(watch);
}

static struct gs_error *run(struct watch *watch, int argc, char **argv)
{
	struct cli *cli = watch->cli;
	sigset_t set;

	// Not after seconds in which detectors are compiled for a GPU.
	if (!watch->batch && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return screen_open();
	if (!cli->engine_name)
		cli->engine_name = "auto";
	block_signals(&set);

	struct gs_error *err = cli_open_engine(cli);

	if (!err)
		err = add_detectors(watch, argc, argv);
	if (err)
		return err;
	watch->view.target = gs_target_spec(cli->target);
	watch->view.release = gs_kernel_release(cli->kernel);
	watch->view.engine = gs_engine_name(cli->engine);
	return watch->batch ? batch(watch, &set) : interactive(watch, &set);
}

struct gs_error *cmd_top(struct cli *cli, int argc, char **argv)
{
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct watch watch = { .cli = cli, .delay_ns = 1000000000 };
	struct gs_error *err = parse(&watch, &parser);

	if (err || parser.done)
		return err;
	err = top_init(&watch.top) ? run(&watch, argc, argv) : &gs_enomem;
	top_deinit(&watch.top);
	chosen_deinit(&watch.chosen);
	return err;
}
