// SPDX-License-Identifier: Apache-2.0
// Records as the device runtime writes them.
#include "device_memory.h"

static struct gs_record_header *first(struct machine *m)
{
	return (struct gs_record_header *)m->out;
}

static uint64_t word(struct machine *m, uint32_t index)
{
	return ((uint64_t *)(m->out + sizeof(struct gs_record_header)))[index];
}

static void a_record_is_header_and_items(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	m->ctx.now_ns = 123;
	m->ctx.run = 7;
	strcpy((char *)machine_at(m, RAM_PHYS + 100 * PAGE), "kthreadd");
	gs_rt_begin(&m->ctx, GS_RECORD_FINDING, GS_WARNING, 3, 3);
	gs_rt_arg(&m->ctx, UINT64_C(0x1234567890));
	gs_rt_arg_str(&m->ctx, DIRECT + RAM_PHYS + 100 * PAGE, 16);
	gs_rt_arg_str_local(&m->ctx, "ab", 3);
	assert_int_equal(m->ctx.out_used, 0);
	gs_rt_end(&m->ctx);

	const struct gs_record_header *header = first(m);

	assert_int_equal(header->kind, GS_RECORD_FINDING);
	assert_int_equal(header->severity, GS_WARNING);
	assert_int_equal(header->format, 3);
	assert_int_equal(header->nargs, 3);
	assert_int_equal(header->flags, 0);
	assert_int_equal(header->time_ns, 123);
	assert_int_equal(header->run, 7);
	assert_int_equal(header->size, 32 + 8 + 16 + 16);
	assert_int_equal(m->ctx.out_used, header->size);
	assert_int_equal(word(m, 0), UINT64_C(0x1234567890));
	assert_int_equal(word(m, 1), 8);
	assert_memory_equal(m->out + 48, "kthreadd", 8);
	assert_int_equal(word(m, 3), 2);
	assert_memory_equal(m->out + 64, "ab\0\0\0\0\0\0", 8);
	assert_int_equal(m->ctx.out_lost, 0);
	machine_destroy(m);
}

static void strings_are_cut_at_their_limit(void **state)
{
	struct machine *m = machine_create(4);
	uint64_t at = DIRECT + RAM_PHYS + 100 * PAGE;

	(void)state;
	memset(machine_at(m, RAM_PHYS + 100 * PAGE), 'x', 3 * PAGE);
	gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, 3);
	gs_rt_arg_str(&m->ctx, at, 5);
	gs_rt_arg_str(&m->ctx, at + PAGE - 1, UINT64_MAX);
	gs_rt_arg_str(&m->ctx, at, 0);
	gs_rt_end(&m->ctx);
	assert_int_equal(word(m, 0), 5 | GS_RECORD_STRING_CUT);
	assert_int_equal(word(m, 2), GS_RECORD_MAX_STRING | GS_RECORD_STRING_CUT);
	assert_int_equal(word(m, 3 + GS_RECORD_MAX_STRING / 8), 0 | GS_RECORD_STRING_CUT);
	assert_int_equal(m->ctx.faults, 0);
	machine_destroy(m);
}

static void unreadable_strings_say_so(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_map(m, VMALLOC, RAM_PHYS + 200 * PAGE, 1);
	memset(machine_at(m, RAM_PHYS + 200 * PAGE), 'y', PAGE);
	gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, 2);
	gs_rt_arg_str(&m->ctx, VMALLOC + PAGE - 3, 16);
	gs_rt_arg_str(&m->ctx, 0, 16);
	gs_rt_end(&m->ctx);
	assert_int_equal(word(m, 0), 3 | GS_RECORD_STRING_FAULT);
	assert_memory_equal(m->out + 40, "yyy\0\0\0\0\0", 8);
	assert_int_equal(word(m, 2), 0 | GS_RECORD_STRING_FAULT);
	assert_int_equal(first(m)->flags, GS_RECORD_F_FAULT);
	assert_int_equal(m->ctx.faults, 2);
	assert_int_equal(m->ctx.fault_address, VMALLOC + PAGE);

	uint32_t used = m->ctx.out_used;

	// The record after it is not to blame.
	gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, 0);
	gs_rt_end(&m->ctx);
	assert_int_equal(((struct gs_record_header *)(m->out + used))->flags, 0);
	machine_destroy(m);
}

static void strings_end_at_the_end_of_the_address_space(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	machine_map(m, UINT64_MAX & ~(PAGE - 1), RAM_PHYS + 200 * PAGE, 1);
	machine_map(m, 0, RAM_PHYS + 200 * PAGE, 1);
	memset(machine_at(m, RAM_PHYS + 200 * PAGE), 'z', PAGE);
	gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, 1);
	gs_rt_arg_str(&m->ctx, UINT64_MAX - 1, 16);
	gs_rt_end(&m->ctx);
	assert_int_equal(word(m, 0), 2 | GS_RECORD_STRING_FAULT);
	machine_destroy(m);
}

static void records_fit_whole_or_not_at_all(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	for (uint32_t size = 0; size < 100; size++) {
		gs_rt_begin_run(&m->ctx);
		m->ctx.out_size = size;
		memset(m->out, 0xee, sizeof(m->out));
		gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, 2);
		gs_rt_arg(&m->ctx, 1);
		gs_rt_arg_str_local(&m->ctx, "0123456789", 11);
		gs_rt_end(&m->ctx);
		if (size < 32 + 8 + 8 + 16) {
			assert_int_equal(m->ctx.out_used, 0);
			assert_int_equal(m->ctx.out_lost, 1);
		} else {
			assert_int_equal(m->ctx.out_used, 64);
			assert_int_equal(m->ctx.out_lost, 0);
		}
		for (uint32_t i = size; i < 128; i++)
			assert_int_equal(m->out[i], 0xee);
	}
	machine_destroy(m);
}

static void a_full_buffer_counts_each_record(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	m->ctx.out_size = 3 * 40 + 8;
	for (int i = 0; i < 10; i++) {
		gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, 1);
		gs_rt_arg(&m->ctx, 1);
		gs_rt_end(&m->ctx);
	}
	assert_int_equal(m->ctx.out_used, 120);
	assert_int_equal(m->ctx.out_lost, 7);
	machine_destroy(m);
}

static void records_have_a_largest_size(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	memset(machine_at(m, RAM_PHYS + 100 * PAGE), 'x', 2 * PAGE);
	gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, 17);
	for (int i = 0; i < 17; i++)
		gs_rt_arg_str(&m->ctx, DIRECT + RAM_PHYS + 100 * PAGE, 4096);
	gs_rt_end(&m->ctx);
	assert_int_equal(m->ctx.out_used, 0);
	assert_int_equal(m->ctx.out_lost, 1);

	gs_rt_begin(&m->ctx, GS_RECORD_ROW, 0, 0, GS_RECORD_MAX_ARGS + 1);
	gs_rt_end(&m->ctx);
	assert_int_equal(m->ctx.out_lost, 2);
	machine_destroy(m);
}

static void items_without_a_record_are_ignored(void **state)
{
	struct machine *m = machine_create(4);

	(void)state;
	gs_rt_arg(&m->ctx, 1);
	gs_rt_arg_str_local(&m->ctx, "x", 2);
	gs_rt_arg_str(&m->ctx, 0, 2);
	gs_rt_end(&m->ctx);
	assert_int_equal(m->ctx.out_used, 0);
	assert_int_equal(m->ctx.out_lost, 0);
	assert_int_equal(m->ctx.faults, 0);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_header_and_items),
		cmocka_unit_test(strings_are_cut_at_their_limit),
		cmocka_unit_test(unreadable_strings_say_so),
		cmocka_unit_test(strings_end_at_the_end_of_the_address_space),
		cmocka_unit_test(records_fit_whole_or_not_at_all),
		cmocka_unit_test(a_full_buffer_counts_each_record),
		cmocka_unit_test(records_have_a_largest_size),
		cmocka_unit_test(items_without_a_record_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
