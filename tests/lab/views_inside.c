// SPDX-License-Identifier: Apache-2.0
/*
 * What views.py wants to see in a guest, without a libc there:
 *   views_inside hold        sockets of all kinds and BPF objects; "ready", then sleep for ever
 *   views_inside spin        keep a CPU busy
 *   views_inside thrash MIB  go over so much memory again and again
 */
#include <arpa/inet.h>
#include <err.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int check(int value, const char *what)
{
	if (value < 0)
		err(1, "%s", what);
	return value;
}

// A socket bound to an address of the loopback device; port 0: any.
static int bound(int family, int type, const char *address, uint16_t port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = check(socket(family, type, 0), "socket");

	if (family == AF_INET) {
		inet_pton(AF_INET, address, &v4.sin_addr);
		check(bind(fd, (struct sockaddr *)&v4, sizeof(v4)), "bind");
	} else {
		inet_pton(AF_INET6, address, &v6.sin6_addr);
		check(bind(fd, (struct sockaddr *)&v6, sizeof(v6)), "bind");
	}
	return fd;
}

static int connected(int family, int type, int to)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	int fd = check(socket(family, type, 0), "socket");

	check(getsockname(to, (struct sockaddr *)&address, &len), "getsockname");
	check(connect(fd, (struct sockaddr *)&address, len), "connect");
	return fd;
}

static void hold_inet(int family, const char *address)
{
	int listener = bound(family, SOCK_STREAM, address, 7001);
	int udp = bound(family, SOCK_DGRAM, address, 7002);

	check(listen(listener, 16), "listen");

	int client = connected(family, SOCK_STREAM, listener);
	int server = check(accept(listener, NULL, NULL), "accept");

	// Two connections wait to be accepted; bytes wait to be read, and a datagram.
	connected(family, SOCK_STREAM, listener);
	connected(family, SOCK_STREAM, listener);
	check(write(client, "to be read", 10), "write");
	check(write(server, "other way", 9), "write");
	check(write(connected(family, SOCK_DGRAM, udp), "datagram", 8), "write");

	// Closed by the one who keeps TIME_WAIT.
	int closer = connected(family, SOCK_STREAM, listener);

	for (int i = 0; i < 3; i++) {
		int fd = check(accept(listener, NULL, NULL), "accept");

		if (i < 2)
			continue;
		close(closer);
		usleep(50000);
		close(fd);
	}
	connected(family, SOCK_STREAM, listener);
}

static void hold_unix(int type, const char *name, size_t len)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + len;
	int fd = check(socket(AF_UNIX, type, 0), "socket"), pair[2];

	memcpy(address.sun_path, name, len);
	check(bind(fd, (struct sockaddr *)&address, size), "bind");
	check(socketpair(AF_UNIX, type, 0, pair), "socketpair");
	if (type == SOCK_DGRAM)
		return;
	check(listen(fd, 5), "listen");

	int client = check(socket(AF_UNIX, type, 0), "socket");

	check(connect(client, (struct sockaddr *)&address, size), "connect");
}

static void hold_bpf(void)
{
	// r0 = 0; exit
	static const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 24, .max_entries = 77
	};
	union bpf_attr prog = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)code,
		.insn_cnt = 2,
		.license = (uintptr_t)"GPL",
	};

	strcpy(map.map_name, "views_map");
	strcpy(prog.prog_name, "views_prog");
	check(syscall(__NR_bpf, BPF_MAP_CREATE, &map, sizeof(map)), "BPF_MAP_CREATE");
	int fd = check(syscall(__NR_bpf, BPF_PROG_LOAD, &prog, sizeof(prog)), "BPF_PROG_LOAD");

	// As the kernel itself tells it.
	struct bpf_prog_info info = {};
	union bpf_attr ask = {
		.info = { .bpf_fd = fd, .info_len = sizeof(info), .info = (uintptr_t)&info }
	};

	check(syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &ask, sizeof(ask)),
	      "BPF_OBJ_GET_INFO_BY_FD");
	printf("program id=%u loaded_ns=%llu jited_bytes=%u tag=", info.id, info.load_time,
	       info.jited_prog_len);
	for (int i = 0; i < BPF_TAG_SIZE; i++)
		printf("%02x", info.tag[i]);
	printf("\n");
}

static void hold(void)
{
	hold_inet(AF_INET, "127.0.0.1");
	hold_inet(AF_INET6, "::1");
	hold_unix(SOCK_STREAM, "/tmp/stream socket", sizeof("/tmp/stream socket"));
	hold_unix(SOCK_DGRAM, "\0abstract", sizeof("\0abstract") - 1);
	hold_bpf();
	printf("ready\n");
	fflush(stdout);
	for (;;)
		pause();
}

static void thrash(size_t mib)
{
	size_t size = mib << 20;
	volatile char *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	for (;;) {
		for (size_t i = 0; i < size; i += 4096)
			memory[i]++;
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "hold"))
		hold();
	if (argc == 2 && !strcmp(argv[1], "spin"))
		for (volatile unsigned int i = 0;; i++)
			;
	if (argc == 3 && !strcmp(argv[1], "thrash"))
		thrash(strtoul(argv[2], NULL, 10));
	errx(2, "usage: views_inside hold|spin|thrash MIB");
}
