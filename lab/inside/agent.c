// SPDX-License-Identifier: Apache-2.0
/*
 * Process 1 of a guest: runs one command at a time for the host. A protocol of its own on a port of its
 * own, instead of a shell there, so that output is binary clean, standard output and error stay apart,
 * the exit status is exact, and nothing that the kernel prints can get in between.
 *
 * The port is a virtio port where the kernel has the driver, else the second UART, a byte at a time.
 *
 * Host to guest, lines (whatever stands before a line start is noise of a client that died):
 *	P NONCE			are you there?
 *	R NONCE HEX		run `sh -c HEX`; kills the command of an earlier client
 *	I NONCE HEX | I NONCE -	bytes for its standard input | end of it
 *	K NONCE			kill it
 * Guest to host, frames: 0x01 NONCE ' ' TYPE ' ' LENGTH '\n' and LENGTH bytes, where TYPE is
 *	p there I am; o, e standard output, error; a input taken, send more; x exit status, in decimal.
 */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum {
	LINE_MAX_LEN = 64 * 1024,
	NONCE_LEN = 16,
	CHUNK = 4096,
	INPUT_MAX = LINE_MAX_LEN / 2,
};

struct command {
	char nonce[NONCE_LEN + 1];
	// 0: none
	pid_t pid;
	int in, out, err;
	// Input that the command has not taken yet. The host sends more only when told that it is gone.
	char input[INPUT_MAX];
	size_t input_len;
};

static const char *port_path;
static int port;
// Nobody is at the other end: a virtio port then polls as hung up, all the time.
static bool port_idle;
static struct command cmd = { .in = -1, .out = -1, .err = -1 };
static char line[LINE_MAX_LEN];
static size_t line_len;

static void port_write(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(port, data, len);
		struct pollfd fd = { .fd = port, .events = POLLOUT };

		if (n > 0) {
			data += n;
			len -= n;
		} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
			return;
		} else if (errno == EAGAIN && (poll(&fd, 1, -1) < 0 || fd.revents & POLLHUP)) {
			// The client has gone, and what was for it goes too.
			return;
		}
	}
}

static void frame(const char *nonce, char type, const char *data, size_t len)
{
	char head[64];
	int n = snprintf(head, sizeof(head), "\1%s %c %zu\n", nonce, type, len);

	port_write(head, n);
	port_write(data, len);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

// One read, so that an endless output does not shut out the port. True if there may be more.
static bool relay(int *fd, char type)
{
	char buf[CHUNK];
	ssize_t n = *fd < 0 ? 0 : read(*fd, buf, sizeof(buf));

	if (n > 0) {
		frame(cmd.nonce, type, buf, n);
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	if (n == 0)
		close_fd(fd);
	return false;
}

// What a pipe holds at most, 64 KiB, and not what a process left in the background goes on writing.
static void drain(int *fd, char type)
{
	for (int i = 0; i < 64 * 1024 / CHUNK && relay(fd, type); i++)
		;
}

static void command_end(int status)
{
	char text[16];
	int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);

	// A process left in the background may hold the pipes open: take what is there, do not wait.
	drain(&cmd.out, 'o');
	drain(&cmd.err, 'e');
	frame(cmd.nonce, 'x', text, snprintf(text, sizeof(text), "%d", code));
	close_fd(&cmd.in);
	close_fd(&cmd.out);
	close_fd(&cmd.err);
	cmd.pid = 0;
}

static void command_kill(void)
{
	if (!cmd.pid)
		return;
	kill(-cmd.pid, SIGKILL);
	close_fd(&cmd.in);
	close_fd(&cmd.out);
	close_fd(&cmd.err);
	cmd.pid = 0;
}

static void command_fail(const char *nonce, const char *what)
{
	char text[128];

	frame(nonce, 'e', text,
	      snprintf(text, sizeof(text), "agent: %s: %s\n", what, strerror(errno)));
	frame(nonce, 'x', "126", 3);
}

static void command_run(const char *nonce, const char *script)
{
	int in[2], out[2], err[2];

	command_kill();
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
		command_fail(nonce, "pipe");
		return;
	}
	pid_t pid = fork();

	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		setsid();
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execl("/bin/sh", "sh", "-c", script, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	if (pid < 0) {
		command_fail(nonce, "fork");
		close(in[1]);
		close(out[0]);
		close(err[0]);
		return;
	}
	strcpy(cmd.nonce, nonce);
	cmd.pid = pid;
	cmd.in = in[1];
	cmd.out = out[0];
	cmd.err = err[0];
	cmd.input_len = 0;
	fcntl(cmd.in, F_SETFL, O_NONBLOCK);
	fcntl(cmd.out, F_SETFL, O_NONBLOCK);
	fcntl(cmd.err, F_SETFL, O_NONBLOCK);
}

// The pipe does not block: a command that does not read must not hold up the port.
static void command_feed(void)
{
	ssize_t n = write(cmd.in, cmd.input, cmd.input_len);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close_fd(&cmd.in);
		n = cmd.input_len;
	}
	cmd.input_len -= n;
	memmove(cmd.input, cmd.input + n, cmd.input_len);
	if (cmd.input_len == 0)
		frame(cmd.nonce, 'a', "", 0);
}

static void command_input(const char *data, size_t len)
{
	if (cmd.input_len || len > sizeof(cmd.input))
		return;
	memcpy(cmd.input, data, len);
	cmd.input_len = len;
	command_feed();
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

// In place; returns the length, or -1 if the text is damaged. The result is a string as well.
static ssize_t unhex(char *text)
{
	size_t n = 0;

	for (; text[2 * n]; n++) {
		int hi = hex_digit(text[2 * n]);
		int lo = hex_digit(text[2 * n + 1]);

		if (hi < 0 || lo < 0)
			return -1;
		text[n] = hi << 4 | lo;
	}
	text[n] = '\0';
	return n;
}

static void line_handle(char *text, size_t len)
{
	if (len < 2 + NONCE_LEN || text[1] != ' ' ||
	    strspn(text + 2, "0123456789abcdef") < NONCE_LEN)
		return;
	char nonce[NONCE_LEN + 1];
	char *rest = text + 2 + NONCE_LEN;

	memcpy(nonce, text + 2, NONCE_LEN);
	nonce[NONCE_LEN] = '\0';
	if (*rest == ' ')
		rest++;
	bool mine = cmd.pid && strcmp(nonce, cmd.nonce) == 0;

	switch (text[0]) {
	case 'P':
		frame(nonce, 'p', "", 0);
		break;
	case 'R':
		if (unhex(rest) >= 0)
			command_run(nonce, rest);
		break;
	case 'I':
		if (mine && strcmp(rest, "-") == 0) {
			close_fd(&cmd.in);
		} else if (mine) {
			ssize_t n = unhex(rest);

			if (n >= 0)
				command_input(rest, n);
		}
		break;
	case 'K':
		if (mine)
			command_kill();
		break;
	}
}

// False if there was nothing to read.
static bool port_read(void)
{
	ssize_t n = read(port, line + line_len, sizeof(line) - line_len);

	if (n <= 0)
		return false;
	line_len += n;
	char *start = line;

	for (;;) {
		char *end = memchr(start, '\n', line + line_len - start);

		if (!end)
			break;
		*end = '\0';
		line_handle(start, end - start);
		start = end + 1;
	}
	line_len -= start - line;
	memmove(line, start, line_len);
	if (line_len == sizeof(line))
		line_len = 0;
	return true;
}

static void on_signal(int signal)
{
	(void)signal;
}

static void reap(void)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid <= 0)
			return;
		if (pid == cmd.pid)
			command_end(status);
	}
}

static void port_open(void)
{
	struct termios raw;

	port = open(port_path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (port < 0) {
		perror(port_path);
		exit(1);
	}
	if (tcgetattr(port, &raw) == 0) {
		cfmakeraw(&raw);
		cfsetspeed(&raw, B115200);
		raw.c_cflag |= CLOCAL | CREAD;
		tcsetattr(port, TCSANOW, &raw);
	} else {
		// SIGIO tells that a client has come.
		fcntl(port, F_SETOWN, getpid());
		fcntl(port, F_SETFL, O_NONBLOCK | O_ASYNC);
	}
}

static void serve(const sigset_t *open_mask)
{
	reap();
	struct pollfd fds[] = {
		{ .fd = port_idle ? -1 : port, .events = POLLIN },
		{ .fd = cmd.out, .events = POLLIN },
		{ .fd = cmd.err, .events = POLLIN },
		{ .fd = cmd.input_len ? cmd.in : -1, .events = POLLOUT },
	};
	int n = ppoll(fds, 4, NULL, open_mask);

	port_idle = false;
	if (n <= 0)
		return;
	if (fds[1].revents && cmd.out >= 0)
		relay(&cmd.out, 'o');
	if (fds[2].revents && cmd.err >= 0)
		relay(&cmd.err, 'e');
	if (fds[3].revents && cmd.in >= 0)
		command_feed();
	// A port that is hung up is readable as well, without end; what a client left behind is read first.
	bool got = (fds[0].revents & POLLIN) && port_read();

	if (!got && fds[0].revents & POLLHUP)
		port_idle = true;
}

int agent_main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t blocked, open_mask;

	if (argc != 2) {
		fprintf(stderr, "usage: agent PORT\n");
		return 2;
	}
	port_path = argv[1];
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGIO);
	sigprocmask(SIG_BLOCK, &blocked, &open_mask);
	sigaction(SIGCHLD, &action, NULL);
	sigaction(SIGIO, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	port_open();
	for (;;)
		serve(&open_mask);
}
