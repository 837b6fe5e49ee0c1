// SPDX-License-Identifier: Apache-2.0
/*
 * The host's ends of a guest's two sockets:
 *	labctl sh [-w SECONDS] [-t SECONDS] [-i] SOCKET COMMAND		lab/inside/agent.c has the protocol
 *	labctl qmp SOCKET JSON						one command of QEMU's monitor
 * `sh` exits with the command's status; 124 after -t seconds; 125 if nobody answers within -w seconds.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	EXIT_TIMEOUT = 124,
	EXIT_NO_ANSWER = 125,
	NONCE_LEN = 16,
	// The agent's line buffer holds 64 KiB, two digits a byte.
	COMMAND_MAX = 31 * 1024,
	// Below what the guest's tty layer buffers, since a UART has no way to say stop.
	INPUT_CHUNK = 1024,
	FRAME_MAX = 1 << 20,
	PING_MS = 250,
};

static int sock = -1;
static char nonce[NONCE_LEN + 1];
static volatile sig_atomic_t interrupted;

__attribute__((noreturn, format(printf, 2, 3))) static void die(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lab: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(code);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die(EXIT_NO_ANSWER, "write: %s", strerror(errno));
		p += n;
		len -= n;
	}
}

static void socket_open(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		die(2, "%s: longer than a socket's path may be", path);
	strcpy(addr.sun_path, path);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die(EXIT_NO_ANSWER, "%s: %s (the guest's QEMU is gone)", path, strerror(errno));
}

// Received bytes not yet looked at.
static char in[64 * 1024];
static size_t in_start, in_end;

// 1: there are bytes now; 0: not until the deadline, or a signal came; dies when the peer is gone.
static int fill(int64_t deadline)
{
	if (in_start < in_end)
		return 1;
	int64_t left = deadline - now_ms();
	struct pollfd fd = { .fd = sock, .events = POLLIN };

	if (interrupted || left <= 0 || poll(&fd, 1, left > 1000 ? 1000 : left) < 0)
		return 0;
	if (!fd.revents)
		return now_ms() < deadline ? fill(deadline) : 0;
	ssize_t n = read(sock, in, sizeof(in));

	if (n <= 0)
		die(EXIT_NO_ANSWER, "the guest's QEMU ended");
	in_start = 0;
	in_end = n;
	return 1;
}

// Read a line without its end; -1 at the deadline.
static int read_line(char *line, size_t size, int64_t deadline)
{
	size_t len = 0;

	while (fill(deadline)) {
		char c = in[in_start++];

		if (c == '\n') {
			line[len] = '\0';
			return len;
		}
		if (len + 1 < size)
			line[len++] = c;
	}
	return -1;
}

static void send_line(char verb, const char *data, size_t len)
{
	static char text[2 * COMMAND_MAX + 64];
	size_t n = sprintf(text, "\n%c %s ", verb, nonce);

	for (size_t i = 0; i < len; i++)
		n += sprintf(text + n, "%02x", (unsigned char)data[i]);
	text[n++] = '\n';
	write_all(sock, text, n);
}

struct frame {
	char type;
	size_t len;
};

// Find the head of the next frame that is for us; whatever stands before it was for a dead client.
static bool frame_next(struct frame *ret, int64_t deadline)
{
	char line[64];
	size_t want = NONCE_LEN + 1, have = 0;

	while (fill(deadline)) {
		char c = in[in_start++];
		char expect = have == 0 ? '\1' : nonce[have - 1];

		if (c != expect) {
			have = c == '\1';
			continue;
		}
		if (++have < want)
			continue;
		have = 0;
		if (read_line(line, sizeof(line), deadline) < 0)
			return false;
		if (sscanf(line, " %c %zu", &ret->type, &ret->len) == 2 && ret->len <= FRAME_MAX)
			return true;
	}
	return false;
}

static bool frame_copy(size_t len, int fd, int64_t deadline)
{
	while (len) {
		if (!fill(deadline))
			return false;
		size_t n = in_end - in_start < len ? in_end - in_start : len;

		if (fd >= 0)
			write_all(fd, in + in_start, n);
		in_start += n;
		len -= n;
	}
	return true;
}

static bool ping(int64_t deadline)
{
	while (now_ms() < deadline && !interrupted) {
		int64_t next = now_ms() + PING_MS;
		struct frame frame;

		send_line('P', NULL, 0);
		if (frame_next(&frame, next < deadline ? next : deadline) && frame.type == 'p')
			return true;
	}
	return false;
}

static void send_input(void)
{
	char buf[INPUT_CHUNK];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n > 0)
		send_line('I', buf, n);
	else
		dprintf(sock, "\nI %s -\n", nonce);
}

static int run(const char *command, bool input, int64_t deadline)
{
	send_line('R', command, strlen(command));
	if (input)
		send_input();
	else
		dprintf(sock, "\nI %s -\n", nonce);
	for (;;) {
		struct frame frame;
		char code[16] = "";

		if (!frame_next(&frame, deadline))
			break;
		switch (frame.type) {
		case 'o':
		case 'e':
			if (!frame_copy(frame.len,
					frame.type == 'o' ? STDOUT_FILENO : STDERR_FILENO,
					deadline))
				goto timeout;
			break;
		case 'a':
			if (input)
				send_input();
			break;
		case 'x':
			for (size_t i = 0; i < frame.len && i + 1 < sizeof(code); i++) {
				if (!fill(deadline))
					goto timeout;
				code[i] = in[in_start++];
			}
			return atoi(code);
		default:
			// A late answer to a second ping.
			frame_copy(frame.len, -1, deadline);
		}
	}
timeout:
	send_line('K', NULL, 0);
	if (interrupted)
		return 128 + interrupted;
	die(EXIT_TIMEOUT, "the command did not end in time (see --timeout); it was killed");
}

static void on_signal(int signal)
{
	interrupted = signal;
}

static int main_sh(int argc, char **argv)
{
	int64_t wait_s = 15, timeout_s = 120;
	bool input = false;
	int opt;

	while ((opt = getopt(argc, argv, "w:t:i")) != -1) {
		if (opt == 'w')
			wait_s = atoll(optarg);
		else if (opt == 't')
			timeout_s = atoll(optarg);
		else if (opt == 'i')
			input = true;
		else
			return 2;
	}
	if (argc - optind != 2)
		die(2, "usage: labctl sh [-w SECONDS] [-t SECONDS] [-i] SOCKET COMMAND");
	if (strlen(argv[optind + 1]) > COMMAND_MAX)
		die(2, "the command is longer than %d bytes; pass a script with -i", COMMAND_MAX);

	struct sigaction action = { .sa_handler = on_signal };
	uint64_t random;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		die(1, "getrandom: %s", strerror(errno));
	snprintf(nonce, sizeof(nonce), "%016llx", (unsigned long long)random);
	socket_open(argv[optind]);
	if (!ping(now_ms() + wait_s * 1000)) {
		if (interrupted)
			return 128 + interrupted;
		die(EXIT_NO_ANSWER, "the guest does not answer: frozen, dead or not yet up");
	}
	return run(argv[optind + 1], input, now_ms() + timeout_s * 1000);
}

// Replies of QMP are one line each; events come in between.
static int qmp_reply(char *line, size_t size, int64_t deadline)
{
	for (;;) {
		if (read_line(line, size, deadline) < 0)
			die(EXIT_NO_ANSWER, "QEMU's monitor does not answer");
		if (strncmp(line, "{\"return\"", 9) == 0)
			return 0;
		if (strncmp(line, "{\"error\"", 8) == 0)
			return 1;
	}
}

static int main_qmp(int argc, char **argv)
{
	static char line[256 * 1024];

	if (argc != 3)
		die(2, "usage: labctl qmp SOCKET JSON");
	int64_t deadline = now_ms() + 10 * 1000;

	socket_open(argv[1]);
	dprintf(sock, "{\"execute\":\"qmp_capabilities\"}\n");
	if (qmp_reply(line, sizeof(line), deadline))
		die(1, "QEMU: %s", line);
	dprintf(sock, "%s\n", argv[2]);
	int failed = qmp_reply(line, sizeof(line), deadline);

	line[strcspn(line, "\r")] = '\0';
	fprintf(failed ? stderr : stdout, "%s\n", line);
	return failed;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "sh") == 0)
		return main_sh(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "qmp") == 0)
		return main_qmp(argc - 1, argv + 1);
	die(2, "usage: labctl sh|qmp ...");
}
