// SPDX-License-Identifier: Apache-2.0
// qemu: against real QEMUs that have no kernel and never run (-S), so that each is there in a moment.
#include "target_support.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define QEMU "qemu-system-x86_64"
#define SKIPPED 77

static char dir[] = "/tmp/gpusentinel-test-XXXXXX";

struct qemu {
	pid_t pid;
	char socket[64];
	char spec[80];
};

// The socket is there a moment before QEMU listens on it, which /proc/net/unix tells by the flag
// __SO_ACCEPTCON; a connection made to find out would be in the way of the next one.
static bool somebody_listens(const char *path)
{
	FILE *file = fopen("/proc/net/unix", "re");
	char line[512];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, path) && strstr(line, " 00010000 ");
	if (file)
		fclose(file);
	return found;
}

static void wait_for_socket(struct qemu *qemu)
{
	for (int i = 0; i < 500; i++) {
		int status;

		if (somebody_listens(qemu->socket))
			return;
		if (waitpid(qemu->pid, &status, WNOHANG) == qemu->pid)
			fail_msg("QEMU ended with status %d", status);
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	fail_msg("QEMU opened no QMP socket within 10 s");
}

// Start QEMU with these arguments behind the common ones; the list ends with NULL.
static struct qemu qemu_start(const char *const *more)
{
	static int number;
	struct qemu qemu;
	char qmp[96];
	const char *argv[32] = { QEMU,	     "-S",	    "-accel",
				 "tcg",	     "-nodefaults", "-no-user-config",
				 "-display", "none",	    "-qmp",
				 qmp };
	size_t n = 10;

	snprintf(qemu.socket, sizeof(qemu.socket), "%s/qmp%d.sock", dir, number++);
	snprintf(qemu.spec, sizeof(qemu.spec), "qemu:%s", qemu.socket);
	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", qemu.socket);
	while (*more && n < 31)
		argv[n++] = *more++;
	qemu.pid = fork();
	assert_true(qemu.pid >= 0);
	if (qemu.pid == 0) {
		// A test that fails leaves no guest behind, nor does one that hangs.
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		execvp(QEMU, (char *const *)argv);
		_exit(127);
	}
	wait_for_socket(&qemu);
	return qemu;
}

static void qemu_stop(struct qemu *qemu)
{
	kill(qemu->pid, SIGKILL);
	waitpid(qemu->pid, NULL, 0);
	unlink(qemu->socket);
}

static void assert_segment(struct gs_target *target, size_t index, uint64_t phys, uint64_t size)
{
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	assert_true(index < count);
	assert_int_equal(segments[index].phys, phys);
	assert_int_equal(segments[index].size, size);
}

static void a_memfd_is_found_in_the_process(void **state)
{
	static const char *const args[] = {
		"-machine", "pc,memory-backend=ram0",
		"-m",	    "64M",
		"-object",  "memory-backend-memfd,id=ram0,size=64M,share=on",
		NULL,
	};

	(void)state;
	struct qemu qemu = qemu_start(args);
	struct gs_target *target = open_target(qemu.spec);

	assert_segment(target, 0, 0, 0xc0000);
	assert_segment(target, 1, 0x100000, 0x3f00000);
	assert_int_equal(read_u64(target, 0x200000), 0);
	gs_target_close(target);
	// QMP is free again at once.
	gs_target_close(open_target(qemu.spec));
	qemu_stop(&qemu);
}

static void a_machine_beyond_2_gib_is_split_at_4_gib(void **state)
{
	static const char *const args[] = {
		"-machine", "q35,memory-backend=ram0",
		"-m",	    "4G",
		"-object",  "memory-backend-memfd,id=ram0,size=4G,share=on",
		NULL,
	};

	(void)state;
	struct qemu qemu = qemu_start(args);
	struct gs_target *target = open_target(qemu.spec);

	assert_segment(target, 2, UINT64_C(4) << 30, UINT64_C(2) << 30);
	assert_no_memory(target, UINT64_C(3) << 30);
	gs_target_close(target);
	qemu_stop(&qemu);
}

// QEMU listens on its QMP socket before it makes its memory.
static int open_when_there(const char *file)
{
	int fd = -1;

	for (int i = 0; i < 500 && fd < 0; i++) {
		fd = open(file, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	return fd;
}

static void a_ram_file_is_read_and_never_grown(void **state)
{
	char file[64], object[160];
	const char *const args[] = {
		"-machine", "pc,memory-backend=ram0", "-m", "64M", "-object", object, NULL,
	};
	uint8_t *buf = malloc(1 << 20);
	uint64_t phys;
	struct stat before, after;

	(void)state;
	snprintf(file, sizeof(file), "/dev/shm/%s.ram", strrchr(dir, '/') + 1);
	snprintf(object, sizeof(object),
		 "memory-backend-file,id=ram0,size=64M,mem-path=%s,share=on", file);

	struct qemu qemu = qemu_start(args);
	int fd = open_when_there(file);
	uint64_t mark = 0x1122334455667788;

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &mark, sizeof(mark), 0x300000), sizeof(mark));
	assert_int_equal(fstat(fd, &before), 0);

	struct gs_target *target = open_target(qemu.spec);

	assert_int_equal(read_u64(target, 0x300000), mark);
	assert_int_equal(gs_target_scan(target), 1);
	assert_true(gs_target_next_present(target, 0, &phys));
	assert_int_equal(phys, 0x300000);
	for (phys = 0x100000; phys < 0x4000000; phys += 1 << 20)
		assert_null(gs_target_read(target, phys, buf, 1 << 20));
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(after.st_blocks, before.st_blocks);
	gs_target_close(target);

	// A name that stands for another file by now is not believed.
	assert_int_equal(unlink(file), 0);

	int other = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(ftruncate(other, 64 << 20), 0);
	target = open_target(qemu.spec);
	assert_int_equal(read_u64(target, 0x300000), mark);
	gs_target_close(target);

	// What QEMU has mapped but the file has no more cannot be read.
	assert_int_equal(ftruncate(fd, 32 << 20), 0);
	assert_refused(qemu.spec, "truncated");
	unlink(file);
	close(other);
	close(fd);
	free(buf);
	qemu_stop(&qemu);
}

static void numa_nodes_have_backends_of_their_own(void **state)
{
	static const char *const args[] = {
		"-machine", "q35",
		"-m",	    "3G",
		"-object",  "memory-backend-memfd,id=r0,size=1G,share=on",
		"-object",  "memory-backend-file,id=r1,size=2G,mem-path=/dev/shm,share=on",
		"-numa",    "node,memdev=r0",
		"-numa",    "node,memdev=r1",
		NULL,
	};

	(void)state;
	struct qemu qemu = qemu_start(args);
	struct gs_target *target = open_target(qemu.spec);
	size_t count;
	const struct gs_segment *segments = gs_target_segments(target, &count);

	assert_int_equal(count, 4);
	assert_segment(target, 2, 0x40000000, 0x40000000);
	assert_segment(target, 3, 0x100000000, 0x40000000);
	assert_ptr_equal(segments[3].host, segments[2].host + 0x40000000);
	gs_target_close(target);
	qemu_stop(&qemu);
}

static void an_old_machine_type_names_backends_by_path(void **state)
{
	static const char *const args[] = {
		"-machine", "pc-i440fx-3.1,memory-backend=ram0",
		"-m",	    "64M",
		"-object",  "memory-backend-memfd,id=ram0,size=64M,share=on",
		NULL,
	};

	(void)state;
	struct qemu qemu = qemu_start(args);

	gs_target_close(open_target(qemu.spec));
	qemu_stop(&qemu);
}

static void private_memory_is_refused(void **state)
{
	static const char *const by_default[] = { "-machine", "pc", "-m", "64M", NULL };
	static const char *const backend[] = {
		"-machine", "pc,memory-backend=ram0",
		"-m",	    "64M",
		"-object",  "memory-backend-memfd,id=ram0,size=64M,share=off",
		NULL,
	};

	(void)state;
	struct qemu qemu = qemu_start(by_default);

	assert_refused(qemu.spec, "QEMU's memory backend pc.ram is private to it; start QEMU with "
				  "share=on");
	qemu_stop(&qemu);
	qemu = qemu_start(backend);
	assert_refused(qemu.spec, "QEMU's memory backend ram0 is private to it; start QEMU with "
				  "share=on");
	qemu_stop(&qemu);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void a_socket_that_another_client_holds_is_refused_in_time(void **state)
{
	static const char *const args[] = { "-machine", "none", NULL };
	char greeting[512];

	(void)state;
	struct qemu qemu = qemu_start(args);
	int fd = connect_to(qemu.socket);
	time_t start = time(NULL);

	assert_true(read(fd, greeting, sizeof(greeting)) > 0);
	assert_refused(qemu.spec, "another client");
	assert_true(time(NULL) - start < 10);
	close(fd);
	// A machine without memory is another matter than a socket without answer.
	assert_refused(qemu.spec, "no memory backend");
	qemu_stop(&qemu);
	assert_refused(qemu.spec, "No such file");
}

// Serve one connection with this text, then hang up.
static void assert_refused_by_server(const char *text, const char *expected)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char spec[128];

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/fake.sock", dir);
	snprintf(spec, sizeof(spec), "qemu:%s", address.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);

	pid_t pid = fork();

	if (pid == 0) {
		alarm(20);
		// Everybody gets the same, who tries again too.
		for (;;) {
			int fd = accept(listener, NULL, NULL);
			char byte[256];

			if (write(fd, text, strlen(text)) < 0)
				_exit(1);
			shutdown(fd, SHUT_WR);
			while (read(fd, byte, sizeof(byte)) > 0)
				;
			close(fd);
		}
	}
	assert_refused(spec, expected);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(listener);
	assert_refused(spec, "nobody listens");
	unlink(address.sun_path);
}

static void what_does_not_speak_qmp_is_refused(void **state)
{
	(void)state;
	assert_refused_by_server("", "no answer");
	assert_refused_by_server("SSH-2.0-OpenSSH_9.2\r\n", "does not speak QMP");
	assert_refused_by_server("{}\n", "does not speak QMP");
	assert_refused_by_server("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
				 "does not speak QMP");
	assert_refused_by_server("{\"QMP\":{}}\n", "qmp_capabilities");
	assert_refused_by_server("{\"QMP\":{}}\n{\"error\":{\"desc\":\"not\\ntoday\"}}\n",
				 "not today");
	assert_refused_by_server(
		"{\"QMP\":{}}\n{\"event\":\"X\"}\n{\"return\":{}}\n{\"return\":5}\n", "no text");
	assert_refused_by_server("{\"QMP\":{}}\n{\"return\":{}}\n{\"return\":\"nonsense\"}\n",
				 "no address space");
}

static void names_are_guests_of_the_lab(void **state)
{
	static const char *const args[] = {
		"-machine", "pc,memory-backend=ram0",
		"-m",	    "64M",
		"-object",  "memory-backend-memfd,id=ram0,size=64M,share=on",
		NULL,
	};
	char guest[80], link[96];

	(void)state;
	struct qemu qemu = qemu_start(args);

	snprintf(guest, sizeof(guest), "%s/web", dir);
	snprintf(link, sizeof(link), "%s/qmp.sock", guest);
	assert_int_equal(mkdir(guest, 0700), 0);
	assert_int_equal(symlink(qemu.socket, link), 0);
	setenv("GPUSENTINEL_LAB", dir, 1);
	gs_target_close(open_target("qemu:web"));
	assert_refused("qemu:absent", "no guest of that name");
	assert_refused_layout("qemu:", NULL, GS_ERROR_USAGE, "give the name");
	assert_refused_layout("qemu:..", NULL, GS_ERROR_USAGE, "give the name");
	assert_refused_layout("qemu:web", "0:4K", GS_ERROR_USAGE, "layout");
	unlink(link);
	rmdir(guest);
	qemu_stop(&qemu);
}

static void who_may_not_look_into_qemu_is_told_what_to_do(void **state)
{
	static const char *const args[] = {
		"-machine", "pc,memory-backend=ram0",
		"-m",	    "64M",
		"-object",  "memory-backend-memfd,id=ram0,size=64M,share=on",
		NULL,
	};
	int status;

	(void)state;
	if (geteuid() != 0)
		skip();

	struct qemu qemu = qemu_start(args);
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		assert_refused(qemu.spec, "run as root or as the user of QEMU");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(dir, 0711), 0);
	assert_int_equal(chmod(qemu.socket, 0666), 0);
	pid = fork();
	if (pid == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		assert_refused(qemu.spec, "may not look into QEMU");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	qemu_stop(&qemu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_memfd_is_found_in_the_process),
		cmocka_unit_test(a_machine_beyond_2_gib_is_split_at_4_gib),
		cmocka_unit_test(a_ram_file_is_read_and_never_grown),
		cmocka_unit_test(numa_nodes_have_backends_of_their_own),
		cmocka_unit_test(an_old_machine_type_names_backends_by_path),
		cmocka_unit_test(private_memory_is_refused),
		cmocka_unit_test(a_socket_that_another_client_holds_is_refused_in_time),
		cmocka_unit_test(what_does_not_speak_qmp_is_refused),
		cmocka_unit_test(names_are_guests_of_the_lab),
		cmocka_unit_test(who_may_not_look_into_qemu_is_told_what_to_do),
	};

	if (system(QEMU " --version >/dev/null 2>&1") != 0) {
		fprintf(stderr, "skipped: no " QEMU "\n");
		return SKIPPED;
	}
	if (!mkdtemp(dir))
		return 1;

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	rmdir(dir);
	return failed;
}
