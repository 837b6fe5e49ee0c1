// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/text.h"
#include "util/clock.h"

void progress_init(struct progress *progress, const char *what, uint64_t total)
{
	*progress = (struct progress){
		.what = what,
		.total = total,
		.start_ns = clock_ns(CLOCK_MONOTONIC),
		.terminal = isatty(STDERR_FILENO),
	};
}

void progress_update(struct progress *progress, uint64_t done)
{
	enum { WIDTH = 30, DELAY_NS = 1000000000, INTERVAL_NS = 100000000 };
	static const char full[] = "##############################";

	if (!progress->terminal)
		return;

	uint64_t now = clock_ns(CLOCK_MONOTONIC), spent = now - progress->start_ns;

	if (spent < DELAY_NS || now - progress->shown_ns < INTERVAL_NS)
		return;
	progress->shown_ns = now;
	progress->shown = true;

	double share = progress->total ? (double)done / progress->total : 1;

	share = share > 1 ? 1 : share;

	int filled = share * WIDTH;
	char so_far[TEXT_NUMBER_MAX], rate[TEXT_NUMBER_MAX], left[TEXT_NUMBER_MAX] = "?";

	text_size(so_far, done);
	text_size(rate, done / (spent / 1e9));
	if (done)
		text_duration(left, spent * ((1 - share) / share));
	fprintf(stderr, "\r%s [%.*s%*s] %3.0f%%  %s  %s/s  %s left\033[K", progress->what, filled,
		full, WIDTH - filled, "", share * 100, so_far, rate, left);
	fflush(stderr);
}

void progress_deinit(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
}
