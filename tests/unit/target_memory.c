// SPDX-License-Identifier: Apache-2.0
// What every target does: segments, pages that are holes, reading across edges.
#include "target_support.h"

#include <pthread.h>
#include <sys/wait.h>

#include "target/ranges.h"
#include "target/sigbus.h"

#define K 1024ul

// 16 pages at 0, 16 at 1M; of the first only pages 2, 3 and 15, of the second only page 0.
static struct gs_target *open_sparse(struct image *image)
{
	*image = image_create();
	image_resize(image, 32 * PAGE);
	image_write_pages(image, 2 * PAGE, 2, 2);
	image_write_pages(image, 15 * PAGE, 2, 15);
	return open_layout(image->spec, "0:64K,1M:64K");
}

static void segments_are_sorted_and_apart(void **state)
{
	(void)state;
	struct image image = image_create();

	image_resize(&image, 8 * PAGE);
	image_write_pages(&image, 0, 8, 0);

	struct gs_target *target = open_layout(image.spec, "1M:16K@16K,64K:16K@0");
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	assert_int_equal(count, 2);
	assert_int_equal(segments[0].phys, 64 * K);
	assert_int_equal(segments[0].size, 16 * K);
	assert_int_equal(segments[1].phys, 1024 * K);
	assert_int_equal(read_u64(target, 64 * K), 0);
	assert_int_equal(read_u64(target, 1024 * K), 4);
	assert_string_equal(gs_target_spec(target), image.spec);
	gs_target_close(target);
	close(image.fd);
}

static void neighbours_in_memory_and_file_are_one_segment(void **state)
{
	(void)state;
	struct image image = image_create();

	image_resize(&image, 4 * PAGE);

	struct gs_target *target = open_layout(image.spec, "0:8K,8K:8K");

	assert_int_equal(count_segments(target), 1);
	gs_target_close(target);
	close(image.fd);
}

static void lookups_at_the_edges_of_segments(void **state)
{
	(void)state;
	struct image image;
	struct gs_target *target = open_sparse(&image);

	assert_non_null(gs_target_map(target, 15 * PAGE, PAGE));
	assert_null(gs_target_map(target, 15 * PAGE, PAGE + 1));
	assert_null(gs_target_map(target, 16 * PAGE, 1));
	assert_null(gs_target_map(target, 1024 * K - 1, 1));
	assert_non_null(gs_target_map(target, 1024 * K, 1));
	assert_null(gs_target_map(target, 1024 * K, UINT64_MAX));
	assert_null(gs_target_map(target, UINT64_MAX, 1));
	assert_null(gs_target_map(target, UINT64_MAX, UINT64_MAX));
	assert_no_memory(target, 16 * PAGE);
	assert_no_memory(target, 1024 * K - 1);
	assert_no_memory(target, 1024 * K + 64 * K);
	assert_no_memory(target, UINT64_MAX);
	gs_target_close(target);
	close(image.fd);
}

static void an_error_says_where_memory_ends(void **state)
{
	(void)state;
	struct image image;
	struct gs_target *target = open_sparse(&image);
	uint8_t buf[2 * PAGE];
	struct gs_error *err = gs_target_read(target, 15 * PAGE, buf, sizeof(buf));

	assert_non_null(err);
	assert_true(err->has_address);
	assert_int_equal(err->address, 16 * PAGE);
	gs_error_destroy(err);
	gs_target_close(target);
	close(image.fd);
}

static void a_read_goes_on_in_a_segment_that_follows_at_once(void **state)
{
	(void)state;
	struct image image = image_create();
	uint64_t buf[2];

	image_resize(&image, 2 * PAGE);
	image_write_pages(&image, 0, 2, 7);

	// The second page of memory is the first of the file.
	struct gs_target *target = open_layout(image.spec, "0:4K@4K,4K:4K@0");

	assert_int_equal(count_segments(target), 2);
	assert_null(gs_target_read(target, PAGE - 8, buf, sizeof(buf)));
	assert_int_equal(buf[0], 0);
	assert_int_equal(buf[1], 7);
	gs_target_close(target);
	close(image.fd);
}

static void holes_read_as_zeroes_and_are_not_mapped(void **state)
{
	(void)state;
	struct image image;
	struct gs_target *target = open_sparse(&image);
	uint64_t page[2 * PAGE / 8];

	memset(page, 0xff, sizeof(page));
	assert_null(gs_target_read(target, PAGE, page, sizeof(page)));
	assert_int_equal(page[0], 0);
	assert_int_equal(page[PAGE / 8], 2);
	assert_null(gs_target_map(target, PAGE, 8));
	assert_null(gs_target_map(target, 3 * PAGE, PAGE + 1));
	assert_non_null(gs_target_map(target, 2 * PAGE, 2 * PAGE));
	assert_false(gs_target_fault(target, 0, 0));
	assert_true(gs_target_fault(target, 0, 15));
	assert_false(gs_target_fault(target, 0, 16));
	assert_false(gs_target_fault(target, 2, 0));
	gs_target_close(target);
	close(image.fd);
}

static void present_pages_are_found_in_order(void **state)
{
	static const uint64_t expected[] = { 2 * PAGE, 3 * PAGE, 15 * PAGE, 1024 * K };

	(void)state;
	struct image image;
	struct gs_target *target = open_sparse(&image);
	uint64_t phys = 0;

	for (size_t i = 0; i < 4; i++) {
		assert_true(gs_target_next_present(target, phys, &phys));
		assert_int_equal(phys, expected[i]);
		phys += PAGE;
	}
	assert_false(gs_target_next_present(target, phys, &phys));
	assert_false(gs_target_next_present(target, UINT64_MAX, &phys));
	assert_true(gs_target_next_present(target, 2 * PAGE + 1, &phys));
	assert_int_equal(phys, 3 * PAGE);
	gs_target_close(target);
	close(image.fd);
}

static void a_page_that_the_guest_touches_later_is_seen(void **state)
{
	(void)state;
	struct image image;
	struct gs_target *target = open_sparse(&image);
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);
	uint64_t phys;

	assert_int_equal(gs_target_scan(target), 4);
	image_write_pages(&image, 7 * PAGE, 1, 7);
	assert_true(gs_target_next_present(target, 4 * PAGE, &phys));
	assert_int_equal(phys, 7 * PAGE);
	assert_int_equal(read_u64(target, 7 * PAGE), 7);
	image_write_pages(&image, 9 * PAGE, 1, 9);
	assert_int_equal(segments[0].present[0] >> 9 & 1, 0);
	assert_int_equal(gs_target_scan(target), 6);
	assert_int_equal(segments[0].present[0] >> 9 & 1, 1);
	gs_target_close(target);
	close(image.fd);
}

static void reading_everything_allocates_nothing(void **state)
{
	(void)state;
	struct image image;
	struct gs_target *target = open_sparse(&image);
	uint64_t blocks = image_blocks(&image);
	uint8_t *buf = malloc(64 * K);
	uint64_t phys = 0;

	assert_non_null(buf);
	assert_null(gs_target_read(target, 0, buf, 64 * K));
	assert_null(gs_target_read(target, 1024 * K, buf, 64 * K));
	gs_target_scan(target);
	while (gs_target_next_present(target, phys, &phys))
		phys += PAGE;
	for (phys = 0; phys < 64 * K; phys += PAGE)
		gs_target_map(target, phys, PAGE);
	assert_int_equal(image_blocks(&image), blocks);
	free(buf);
	gs_target_close(target);
	close(image.fd);
}

static void *fault_all(void *arg)
{
	for (int round = 0; round < 100; round++) {
		for (uint64_t page = 0; page < 16; page++)
			assert_int_equal(gs_target_fault(arg, 0, page),
					 page == 2 || page == 3 || page == 15);
	}
	return NULL;
}

static void threads_may_ask_at_the_same_time(void **state)
{
	(void)state;
	struct image image;
	struct gs_target *target = open_sparse(&image);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fault_all, target), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	gs_target_close(target);
	close(image.fd);
}

static void overlaps_give_each_address_once(void **state)
{
	(void)state;
	struct gs_ranges ranges = {};
	const struct gs_range added[] = {
		{ .phys = 0x1000, .size = 0x9000, .source = GS_SOURCE_NONE },
		{ .phys = 0x2000, .size = 0x4000, .offset = 0x100, .source = 0 },
		{ .phys = 0x4000, .size = 0x4000, .offset = 0x9000, .source = 0 },
	};

	for (size_t i = 0; i < 3; i++)
		assert_null(gs_ranges_add(&ranges, &added[i]));
	assert_null(gs_ranges_normalize(&ranges));
	assert_int_equal(ranges.count, 4);
	assert_int_equal(ranges.ranges[0].phys, 0x1000);
	assert_int_equal(ranges.ranges[0].size, 0x1000);
	assert_int_equal(ranges.ranges[0].source, GS_SOURCE_NONE);
	assert_int_equal(ranges.ranges[1].phys, 0x2000);
	assert_int_equal(ranges.ranges[1].size, 0x4000);
	assert_int_equal(ranges.ranges[1].offset, 0x100);
	assert_int_equal(ranges.ranges[2].phys, 0x6000);
	assert_int_equal(ranges.ranges[2].size, 0x2000);
	assert_int_equal(ranges.ranges[2].offset, 0xb000);
	assert_int_equal(ranges.ranges[3].phys, 0x8000);
	assert_int_equal(ranges.ranges[3].size, 0x2000);
	gs_ranges_deinit(&ranges);
}

static void a_range_beyond_52_bits_is_refused(void **state)
{
	(void)state;
	struct gs_ranges ranges = {};
	const struct gs_range bad[] = {
		{ .phys = UINT64_MAX, .size = 2 },
		{ .phys = GS_PHYS_MAX, .size = 1 },
		{ .phys = 0, .size = UINT64_MAX },
	};

	for (size_t i = 0; i < 3; i++) {
		struct gs_error *err = gs_ranges_add(&ranges, &bad[i]);

		assert_non_null(err);
		gs_error_destroy(err);
	}
	gs_ranges_deinit(&ranges);
}

static void a_file_that_shrinks_ends_the_program_with_one_line(void **state)
{
	(void)state;
	struct image image = image_create();
	char text[512] = "";
	int pipe_fds[2], status;

	image_resize(&image, 16 * PAGE);
	image_write_pages(&image, 0, 16, 0);
	assert_int_equal(pipe(pipe_fds), 0);

	pid_t pid = fork();

	if (pid == 0) {
		struct gs_target *target = open_layout(image.spec, "0:64K");

		dup2(pipe_fds[1], STDERR_FILENO);
		// A page that has been there is not asked for again.
		read_u64(target, 8 * PAGE);
		if (gs_target_guard_sigbus() || ftruncate(image.fd, PAGE))
			_exit(100);
		read_u64(target, 8 * PAGE);
		_exit(101);
	}
	close(pipe_fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(pipe_fds[0], text, sizeof(text) - 1) > 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), GS_ERROR_TARGET);
	assert_non_null(strstr(text, image.spec + strlen("core:")));
	assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
	close(pipe_fds[0]);
	close(image.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_sorted_and_apart),
		cmocka_unit_test(neighbours_in_memory_and_file_are_one_segment),
		cmocka_unit_test(lookups_at_the_edges_of_segments),
		cmocka_unit_test(an_error_says_where_memory_ends),
		cmocka_unit_test(a_read_goes_on_in_a_segment_that_follows_at_once),
		cmocka_unit_test(holes_read_as_zeroes_and_are_not_mapped),
		cmocka_unit_test(present_pages_are_found_in_order),
		cmocka_unit_test(a_page_that_the_guest_touches_later_is_seen),
		cmocka_unit_test(reading_everything_allocates_nothing),
		cmocka_unit_test(threads_may_ask_at_the_same_time),
		cmocka_unit_test(overlaps_give_each_address_once),
		cmocka_unit_test(a_range_beyond_52_bits_is_refused),
		cmocka_unit_test(a_file_that_shrinks_ends_the_program_with_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
