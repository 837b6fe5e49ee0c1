// SPDX-License-Identifier: Apache-2.0
// Monitors that speak at the same time, and those that get no answer.
#include <pthread.h>

#include "mailbox_rig.h"

// The code that becomes the supervisor's PTX.
#include "supervisor.c"

enum { OWN = 3 };

static void nobody_waits_for_ever(void **state)
{
	struct rig rig;
	struct gs_ping_answer pong;

	(void)state;
	rig_init(&rig);

	struct mailbox_client *client = rig_client(&rig, OWN), *second;

	mailbox_client_set_timeout(client, 1000000);
	rig.asleep = true;

	struct gs_error *err = mailbox_client_ping(client, &pong);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "does not answer"));
	gs_error_destroy(err);
	// What was left under way is done before the next one speaks, and its answer is not taken for another's.
	rig.asleep = false;
	second = rig_client(&rig, OWN);
	must(mailbox_client_ping(second, &pong));
	assert_int_equal(pong.answer.sequence, 2);
	// Two that speak as one are told.
	err = mailbox_client_ping(client, &pong);
	assert_non_null(err);
	gs_error_destroy(err);
	mailbox_client_destroy(client);
	mailbox_client_destroy(second);
	rig_deinit(&rig);
}

static struct gs_error *plain_read(void *arg, uint64_t offset, void *buf, size_t size)
{
	struct rig *rig = arg;

	memcpy(buf, rig->memory + offset, size);
	return NULL;
}

static struct gs_error *plain_write(void *arg, uint64_t offset, const void *buf, size_t size)
{
	struct rig *rig = arg;
	const uint64_t *from = buf;
	volatile uint64_t *to = (volatile uint64_t *)(rig->memory + offset);

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (size_t i = 0; i < size / 8; i++)
		to[i] = from[i];
	return NULL;
}

static void *supervise(void *arg)
{
	gs_supervisor(arg);
	return NULL;
}

struct speaker {
	struct rig *rig;
	pthread_t thread;
	uint32_t monitor;
};

static void *speak(void *arg)
{
	struct speaker *speaker = arg;
	struct rig *rig = speaker->rig;
	struct mailbox_reader *reader;
	struct mailbox_client *client;

	must(mailbox_reader_create(plain_read, rig, &reader));
	must(mailbox_client_create(reader, plain_write, rig, speaker->monitor, &client));
	mailbox_client_set_timeout(client, UINT64_C(100) * 1000000000);
	for (uint64_t i = 0; i < 30; i++) {
		struct gs_ping_answer pong;
		uint64_t address = RAM_PHYS + i * 137, size = 1 + i * 20000;

		must(mailbox_client_ping(client, &pong));

		struct got got = rig_fetch(rig, client, GS_READ_PHYSICAL, address, size);

		assert_memory_equal(got.bytes, machine_at(rig->machine, address), size);
		free(got.bytes);
	}
	mailbox_client_destroy(client);
	mailbox_reader_destroy(reader);
	return NULL;
}

static void monitors_speak_at_the_same_time(void **state)
{
	struct rig rig;
	struct speaker speakers[3];
	pthread_t thread;

	(void)state;
	rig_init(&rig);
	rig.supervisor.period_ns = 1000000;
	assert_int_equal(pthread_create(&thread, NULL, supervise, &rig.supervisor), 0);
	for (uint32_t i = 0; i < 3; i++) {
		speakers[i] = (struct speaker){ .rig = &rig, .monitor = i * 7 };
		assert_int_equal(pthread_create(&speakers[i].thread, NULL, speak, &speakers[i]), 0);
	}
	for (uint32_t i = 0; i < 3; i++)
		pthread_join(speakers[i].thread, NULL);
	__atomic_store_n(&rig.supervisor.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (uint32_t i = 0; i < 3; i++) {
		struct gs_monitor_state *monitor = rig_state(&rig, i * 7);

		assert_int_equal(monitor->refused + monitor->ignored, 0);
		assert_true(monitor->answered >= 60);
	}

	struct gs_mailbox_heartbeat *beat = (struct gs_mailbox_heartbeat *)rig.supervisor.heartbeat;

	assert_true(beat->counter > 0);
	assert_int_equal(beat->state, GS_MAILBOX_STOPPED);
	rig_deinit(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_for_ever),
		cmocka_unit_test(monitors_speak_at_the_same_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
