// SPDX-License-Identifier: Apache-2.0
/*
 * How fast a link of the verbs fabric is; bench/rdma runs it in two guests.
 *	rdma_link serve				the watched side
 *	rdma_link latency HOST ROUNDS		medians and least, in microseconds, as one JSON object
 *	rdma_link time HOST SIZE ROUNDS		the same of one read of SIZE bytes
 *	rdma_link bandwidth HOST SIZE TOTAL	MiB a second of reads of SIZE bytes, TOTAL bytes of them
 */
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/rdma/exchange.h"

enum {
	// Reads of one call.
	TOGETHER = 128,
	// At the pieces' place, behind the slots.
	OFFSET = 1 << 20,
	SIZE_MAX_READ = 64 << 20,
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

static void latency(const struct monitor *monitor, size_t rounds)
{
	double *reads = calloc(rounds, sizeof(*reads)), *trips = calloc(rounds, sizeof(*trips));
	uint64_t word = 0;

	if (!reads || !trips)
		errx(1, "no memory");
	for (size_t i = 0; i < rounds; i++) {
		uint64_t begin = exchange_ns(), middle;

		exchange_must(exchange_read(monitor, OFFSET, &word, sizeof(word)));
		middle = exchange_ns();
		// What a heartbeat is to the network: a request, then a look at the answer.
		exchange_must(exchange_write(monitor, monitor->slot, &word, sizeof(word)));
		exchange_must(exchange_read(monitor, OFFSET, &word, sizeof(word)));
		reads[i] = (double)(middle - begin) / 1000;
		trips[i] = (double)(exchange_ns() - middle) / 1000;
	}
	printf("{\"read_us\": %.1f, \"write_read_us\": %.1f, ", median(reads, rounds),
	       median(trips, rounds));
	// They are sorted now.
	printf("\"least_read_us\": %.1f, \"least_write_read_us\": %.1f}\n", reads[0], trips[0]);
	free(reads);
	free(trips);
}

static void read_time(const struct monitor *monitor, size_t size, size_t rounds)
{
	double *times = calloc(rounds, sizeof(*times));
	uint8_t *buf = malloc(size);

	if (!times || !buf || size > SIZE_MAX_READ)
		errx(2, "the sizes make no sense");
	// Memory for large reads is made by the first one.
	exchange_must(exchange_read(monitor, OFFSET, buf, size));
	for (size_t i = 0; i < rounds; i++) {
		uint64_t begin = exchange_ns();

		exchange_must(exchange_read(monitor, OFFSET, buf, size));
		times[i] = (double)(exchange_ns() - begin) / 1000;
	}
	printf("{\"us\": %.1f, ", median(times, rounds));
	// They are sorted now.
	printf("\"least_us\": %.1f}\n", times[0]);
	free(times);
	free(buf);
}

static double rate(uint64_t bytes, uint64_t ns)
{
	return (double)bytes / (1 << 20) / ((double)ns / 1e9);
}

static void bandwidth(const struct monitor *monitor, size_t size, uint64_t total)
{
	struct fabric_piece pieces[TOGETHER];
	size_t count = total / size < TOGETHER ? total / size : TOGETHER;
	// A buffer that is used again and again, as those of a program are.
	size_t room = size * count < 8 << 20 ? size * count : 8 << 20;
	uint8_t *buf = malloc(room);
	uint64_t begin, done = 0, alone;

	if (!count || size > SIZE_MAX_READ || !buf)
		errx(2, "the sizes make no sense");
	for (size_t i = 0; i < count; i++)
		pieces[i] = (struct fabric_piece){
			.offset = OFFSET + i * size % (SIZE_MAX_READ - size + 1),
			.buf = buf + i * size % (room - size + 1),
			.size = size,
		};
	// Memory for large reads is made by the first one.
	exchange_must(exchange_read(monitor, OFFSET, buf, size));
	begin = exchange_ns();
	for (done = 0; done < total; done += size)
		exchange_must(exchange_read(monitor, OFFSET, buf, size));
	alone = exchange_ns() - begin;
	printf("{\"one_at_a_time\": %.3f, ", rate(done, alone));
	begin = exchange_ns();
	for (done = 0; done < total; done += size * count)
		exchange_must(fabric_verbs_link.read(monitor->link, pieces, count));
	printf("\"together\": %.3f}\n", rate(done, exchange_ns() - begin));
	free(buf);
}

int main(int argc, char **argv)
{
	bool five =
		argc == 5 && (strcmp(argv[1], "time") == 0 || strcmp(argv[1], "bandwidth") == 0);
	struct monitor monitor;

	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		exchange_serve(OFFSET + SIZE_MAX_READ);
	if (!five && !(argc == 4 && strcmp(argv[1], "latency") == 0))
		errx(2, "usage: rdma_link serve | latency HOST ROUNDS | time HOST SIZE ROUNDS | "
			"bandwidth HOST SIZE TOTAL");
	monitor = exchange_enter(argv[2], NULL, NULL);
	if (!five)
		latency(&monitor, strtoul(argv[3], NULL, 10));
	else if (strcmp(argv[1], "time") == 0)
		read_time(&monitor, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	else
		bandwidth(&monitor, strtoul(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	exchange_leave(&monitor);
	return 0;
}
