// SPDX-License-Identifier: Apache-2.0
// Parameters of detectors, as monitors see and set them.
#include "mailbox_rig.h"
#include "util/array.h"

// The code that becomes the supervisor's PTX.
#include "supervisor.c"

enum { OWN = 3 };

static void parameters_are_read_and_set(void **state)
{
	uint64_t slots[] = { 1, 500, 3, 90 }, before, value;
	struct gs_control control = {
		.writer.generation = 4,
		.slots = (uint64_t)slots,
		.param_count = 2,
		.params = { 1, 3 },
	};
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.supervisor.controls[6] = (uint64_t)&control;

	struct mailbox_client *client = rig_client(&rig, OWN);

	must(mailbox_client_param(client, 6, 4, 0, false, 77, &before, &value));
	assert_int_equal(before, 500);
	assert_int_equal(value, 500);
	must(mailbox_client_param(client, 6, 4, 1, true, 95, &before, &value));
	assert_int_equal(before, 90);
	assert_int_equal(value, 95);
	assert_int_equal(slots[3], 95);

	// No such parameter, another generation, no such detector.
	static const uint32_t absent[][3] = {
		{ 6, 4, 2 }, { 6, 4, UINT32_MAX }, { 6, 0, 0 }, { 5, 4, 0 }, { 64, 4, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		struct gs_error *err = mailbox_client_param(client, absent[i][0], absent[i][1],
							    absent[i][2], true, 1, &before, &value);

		assert_non_null(err);
		gs_error_destroy(err);
	}
	assert_int_equal(rig_state(&rig, OWN)->refused, ARRAY_SIZE(absent));
	assert_int_equal(slots[0] + slots[1] + slots[2] + slots[3], 1 + 500 + 3 + 95);
	mailbox_client_destroy(client);
	rig_deinit(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_are_read_and_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
