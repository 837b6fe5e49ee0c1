// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	// A server that is out of files goes on trying.
	RETRY_US = 100 * 1000,
	NOBODY = 1000,
};

static void limit_files(int limit)
{
	struct rlimit files = { .rlim_cur = limit, .rlim_max = limit };

	if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
		perror("RLIMIT_NOFILE");
		exit(1);
	}
}

// Say how many there are and why there are no more; keep them, and go on trying in the background.
static int keep(int count, int (*get)(void))
{
	printf("%d %s\n", count, strerror(errno));
	fflush(stdout);
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		return 1;
	}
	if (pid > 0)
		_exit(0);
	setsid();
	for (int i = 0; i < 3; i++)
		close(i);
	for (;; usleep(RETRY_US)) {
		// What was closed leaves room, which is for others.
		int fd = get();

		if (fd > 2)
			close(fd);
	}
}

static int fill(int (*get)(void))
{
	int count = 0;

	while (get() >= 0)
		count++;
	return keep(count, get);
}

static int get_file(void)
{
	return open("/dev/null", O_RDONLY);
}

int fd_hog_main(int argc, char **argv)
{
	int limit = argc > 1 ? atoi(argv[1]) : 0;

	if (limit < 16) {
		fprintf(stderr, "usage: fd-hog LIMIT [unprivileged]\n");
		return 2;
	}
	limit_files(limit);
	// Only processes without CAP_SYS_ADMIN are held to fs.file-max.
	if (argc > 2 && setuid(NOBODY) != 0) {
		perror("setuid");
		return 1;
	}
	return fill(get_file);
}

static int get_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

int socket_hog_main(int argc, char **argv)
{
	int limit = argc > 1 ? atoi(argv[1]) : 0;

	if (limit < 16) {
		fprintf(stderr, "usage: socket-hog LIMIT\n");
		return 2;
	}
	limit_files(limit);
	return fill(get_socket);
}

static struct sockaddr_in server = { .sin_family = AF_INET };

static void address_make(char **argv)
{
	server.sin_port = htons(atoi(argv[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static int server_start(int backlog)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&server, sizeof(server)) != 0 ||
	    listen(fd, backlog) != 0) {
		perror("listen");
		exit(1);
	}
	return fd;
}

// It takes connections, and never closes one.
static int get_connection(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int err;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

int port_hog_main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: port-hog PORT\n");
		return 2;
	}
	limit_files(64 * 1024);
	address_make(argv);
	server_start(4096);
	return fill(get_connection);
}
