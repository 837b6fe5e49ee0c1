// SPDX-License-Identifier: Apache-2.0
// The fabric shm, monitoring side: a host's reply may name any process and any file of it.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "grass/fabric.h"
#include "grass/message.h"

enum { SIZE = 64 << 10, SLOT = 8192, SLOT_SIZE = 4096 };

static int make(off_t size)
{
	int fd = memfd_create("mailbox", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static struct gs_error *connect_to(uint64_t pid, uint64_t fd, uint64_t size, uint64_t slot,
				   uint64_t slot_size, struct fabric_link **ret)
{
	_cleanup_json_ struct json_object *reply = json_object_new_object();
	struct gs_error *err = fabric_shm_link.open(NULL, reply, ret);

	assert_null(err);
	message_add_number(reply, "pid", pid);
	message_add_number(reply, "fd", fd);
	message_add_number(reply, "size", size);
	message_add_number(reply, "slot", slot);
	message_add_number(reply, "slot_size", slot_size);
	return fabric_shm_link.connect(*ret, reply);
}

static void assert_error(struct gs_error *err, const char *says)
{
	assert_non_null(err);
	if (!strstr(err->message, says))
		fail_msg("%s", err->message);
	gs_error_destroy(err);
}

static void assert_refused(uint64_t fd, uint64_t size, uint64_t slot, uint64_t slot_size,
			   const char *says)
{
	struct fabric_link *link;

	assert_error(connect_to((uint64_t)getpid(), fd, size, slot, slot_size, &link), says);
	fabric_shm_link.close(link);
}

static void bytes_are_moved(void **state)
{
	int fd = make(SIZE);
	struct fabric_link *link;
	uint64_t word = 0x1122334455667788, got[2] = {};
	const struct fabric_piece pieces[] = {
		{ .offset = SLOT + SLOT_SIZE - 8, .buf = &got[0], .size = 8 },
		{ .offset = SIZE - 8, .buf = &got[1], .size = 8 },
	};

	(void)state;
	assert_null(connect_to((uint64_t)getpid(), (uint64_t)fd, SIZE, SLOT, SLOT_SIZE, &link));
	assert_int_equal(fabric_shm_link.size(link), SIZE);
	assert_int_equal(pwrite(fd, &word, 8, SIZE - 8), 8);
	assert_null(fabric_shm_link.write(link, SLOT + SLOT_SIZE - 8, &word, 8));
	assert_null(fabric_shm_link.read(link, pieces, 2));
	assert_true(got[0] == word && got[1] == word);
	fabric_shm_link.close(link);
	close(fd);
}

static void what_is_no_mailbox_is_refused(void **state)
{
	char path[] = "/tmp/gpusentinel-shm-XXXXXX";
	int named = mkstemp(path), fd = make(SIZE), pipes[2];

	(void)state;
	assert_true(named >= 0);
	assert_int_equal(ftruncate(named, SIZE), 0);
	assert_refused((uint64_t)named, SIZE, SLOT, SLOT_SIZE, "is no mailbox");
	// Without a name it is still no memfd.
	unlink(path);
	assert_refused((uint64_t)named, SIZE, SLOT, SLOT_SIZE, "is no mailbox");
	assert_int_equal(pipe(pipes), 0);
	assert_refused((uint64_t)pipes[1], SIZE, SLOT, SLOT_SIZE, "is no mailbox");
	assert_refused(12345, SIZE, SLOT, SLOT_SIZE, "/fd/12345");
	// Other sizes than the host says, and slots that lie elsewhere.
	assert_refused((uint64_t)fd, SIZE - 1, SLOT, SLOT_SIZE, "is no mailbox");
	assert_refused((uint64_t)fd, SIZE + 1, SLOT, SLOT_SIZE, "is no mailbox");
	assert_refused((uint64_t)fd, SIZE, SIZE + 1, 0, "reply");
	assert_refused((uint64_t)fd, SIZE, SIZE - 8, 16, "reply");
	assert_refused((uint64_t)fd, UINT64_MAX, SLOT, SLOT_SIZE, "reply");
	close(pipes[0]);
	close(pipes[1]);
	close(named);
	close(fd);
}

static void nothing_but_the_slot_is_written(void **state)
{
	static const struct {
		uint64_t offset, size;
	} bad[] = {
		{ 0, 8 },
		{ SLOT - 8, 8 },
		{ SLOT - 8, 16 },
		{ SLOT, SLOT_SIZE + 8 },
		{ SLOT + SLOT_SIZE, 8 },
		{ SLOT + SLOT_SIZE - 8, 16 },
		{ UINT64_MAX - 7, 8 },
	};
	static uint64_t words[SLOT_SIZE / 8 + 1];
	int fd = make(SIZE);
	struct fabric_link *link;

	(void)state;
	memset(words, 0xff, sizeof(words));
	assert_null(connect_to((uint64_t)getpid(), (uint64_t)fd, SIZE, SLOT, SLOT_SIZE, &link));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_error(fabric_shm_link.write(link, bad[i].offset, words, bad[i].size),
			     "out of bounds");
	for (off_t at = 0; at < SIZE; at += 8) {
		uint64_t word = 1;

		assert_int_equal(pread(fd, &word, 8, at), 8);
		assert_int_equal(word, 0);
	}
	fabric_shm_link.close(link);
	close(fd);
}

static void a_file_that_shrinks_kills_nobody(void **state)
{
	int fd = make(SIZE);
	struct fabric_link *link;
	uint64_t word = 1;
	const struct fabric_piece piece = { .offset = SLOT, .buf = &word, .size = 8 };

	(void)state;
	assert_null(connect_to((uint64_t)getpid(), (uint64_t)fd, SIZE, SLOT, SLOT_SIZE, &link));
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_error(fabric_shm_link.read(link, &piece, 1), "cannot read");
	assert_error(fabric_shm_link.write(link, SLOT, &word, 8), "another size");
	// Nor does it grow again.
	assert_int_equal(lseek(fd, 0, SEEK_END), 4096);
	fabric_shm_link.close(link);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_moved),
		cmocka_unit_test(what_is_no_mailbox_is_refused),
		cmocka_unit_test(nothing_but_the_slot_is_written),
		cmocka_unit_test(a_file_that_shrinks_kills_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
