// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BURST = 256,
	BURST_US = 20 * 1000,
	PACKET = 64,
	// The kernel takes its least instead.
	SMALLEST = 1,
};

static int socket_get(int type)
{
	int fd = socket(AF_INET, type, 0);

	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

static void bind_port(int fd, int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		perror("bind");
		exit(1);
	}
}

// Clients of its own, which do not wait.
static void connect_to(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket_get(SOCK_STREAM | SOCK_NONBLOCK);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno != EINPROGRESS)
		perror("connect");
}

int listener_main(int argc, char **argv)
{
	int port = argc > 1 ? atoi(argv[1]) : 0, clients = argc > 2 ? atoi(argv[2]) : 0;

	if (port < 1 || clients < 1) {
		fprintf(stderr, "usage: listener PORT CLIENTS\n");
		return 2;
	}
	int fd = socket_get(SOCK_STREAM);

	bind_port(fd, port);
	if (listen(fd, 1) != 0) {
		perror("listen");
		return 1;
	}
	while (clients--)
		connect_to(port);
	for (;;)
		pause();
}

int udp_sink_main(int argc, char **argv)
{
	int port = argc > 1 ? atoi(argv[1]) : 0, size = SMALLEST;

	if (port < 1) {
		fprintf(stderr, "usage: udp-sink PORT\n");
		return 2;
	}
	int fd = socket_get(SOCK_DGRAM);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	bind_port(fd, port);
	for (;;)
		pause();
}

int udp_flood_main(int argc, char **argv)
{
	static const char packet[PACKET];
	struct sockaddr_in to = { .sin_family = AF_INET };
	int port = argc > 2 ? atoi(argv[2]) : 0, ports = argc > 3 ? atoi(argv[3]) : 1;

	if (port < 1 || ports < 1 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: udp-flood ADDRESS PORT [PORTS]\n");
		return 2;
	}
	int fd = socket_get(SOCK_DGRAM);

	for (int i = 0;; i++) {
		to.sin_port = htons(port + i % ports);
		// Refused packets are part of it.
		(void)!sendto(fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&to,
			      sizeof(to));
		if (i % BURST == BURST - 1)
			usleep(BURST_US);
	}
}
