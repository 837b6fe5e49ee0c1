// SPDX-License-Identifier: Apache-2.0
// netload overflow | drops DEVICE | conntrack COUNT: in a guest, make what a network suffers from. Static, since a guest has no
// libraries.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PORT = 7777,
	FRAMES_A_STEP = 100,
	STEP_US = 100 * 1000,
	// For experiments: nobody handles it. include/uapi/linux/if_ether.h, ETH_P_802_EX1
	PROTOCOL = 0x88b5,
};

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

// Connect again and again to a socket whose queue holds one connection, and that nobody accepts from.
static _Noreturn void overflow(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&to, sizeof(to)) || listen(listener, 1))
		fail("listen");
	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		// The connections that found a place stay; the others try again by themselves.
		if (fd < 0)
			pause();
		connect(fd, (struct sockaddr *)&to, sizeof(to));
		usleep(STEP_US / 4);
	}
}

static _Noreturn void drops(const char *device)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(PROTOCOL),
				  .sll_ifindex = if_nametoindex(device),
				  .sll_halen = ETH_ALEN };
	// Of protocol 0: a socket that receives would handle the protocol.
	int fd = socket(AF_PACKET, SOCK_DGRAM, 0);
	char data[64] = "";

	if (fd < 0)
		fail("socket");
	memset(to.sll_addr, 0xff, ETH_ALEN);
	for (;;) {
		for (int i = 0; i < FRAMES_A_STEP; i++) {
			if (sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&to, sizeof(to)) <
			    0)
				fail("sendto");
		}
		usleep(STEP_US);
	}
}

struct message {
	struct nlmsghdr header;
	struct nfgenmsg family;
	char data[512];
};

static struct nlattr *begin(struct message *m, int type)
{
	struct nlattr *a = (void *)((char *)m + NLMSG_ALIGN(m->header.nlmsg_len));

	a->nla_type = type;
	m->header.nlmsg_len = NLMSG_ALIGN(m->header.nlmsg_len) + NLA_HDRLEN;
	return a;
}

static void end(struct message *m, struct nlattr *a)
{
	a->nla_len = (char *)m + m->header.nlmsg_len - (char *)a;
	m->header.nlmsg_len = NLMSG_ALIGN(m->header.nlmsg_len);
}

static void put(struct message *m, int type, const void *value, size_t size)
{
	struct nlattr *a = begin(m, type);

	memcpy((char *)a + NLA_HDRLEN, value, size);
	m->header.nlmsg_len += size;
	end(m, a);
}

static void put_tuple(struct message *m, int type, uint32_t from, uint32_t to, uint16_t from_port,
		      uint16_t to_port)
{
	struct nlattr *tuple = begin(m, type | NLA_F_NESTED);
	struct nlattr *ip = begin(m, CTA_TUPLE_IP | NLA_F_NESTED);
	uint8_t protocol = IPPROTO_UDP;

	put(m, CTA_IP_V4_SRC, &from, sizeof(from));
	put(m, CTA_IP_V4_DST, &to, sizeof(to));
	end(m, ip);

	struct nlattr *proto = begin(m, CTA_TUPLE_PROTO | NLA_F_NESTED);

	put(m, CTA_PROTO_NUM, &protocol, sizeof(protocol));
	put(m, CTA_PROTO_SRC_PORT, &from_port, sizeof(from_port));
	put(m, CTA_PROTO_DST_PORT, &to_port, sizeof(to_port));
	end(m, proto);
	end(m, tuple);
}

// Connections that never were, as a tool for failing over to another machine would enter them.
static int conntrack(int count)
{
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	uint32_t a = inet_addr("192.0.2.1"), b = inet_addr("192.0.2.2"), timeout = htonl(600);

	for (int i = 0; i < count; i++) {
		uint16_t port = htons(1024 + i), other = htons(53);
		struct message m = {
			.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
				    .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW,
				    .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK },
			.family = { .nfgen_family = AF_INET },
		};
		struct {
			struct nlmsghdr header;
			struct nlmsgerr error;
		} answer = {};

		put_tuple(&m, CTA_TUPLE_ORIG, a, b, port, other);
		put_tuple(&m, CTA_TUPLE_REPLY, b, a, other, port);
		put(&m, CTA_TIMEOUT, &timeout, sizeof(timeout));
		if (send(fd, &m, m.header.nlmsg_len, 0) < 0 ||
		    recv(fd, &answer, sizeof(answer), MSG_TRUNC) < 0)
			fail("netlink");
		if (answer.error.error) {
			fprintf(stderr, "connection %d: %s\n", i, strerror(-answer.error.error));
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "overflow"))
		overflow();
	if (argc == 3 && !strcmp(argv[1], "drops"))
		drops(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "conntrack"))
		return conntrack(atoi(argv[2]));
	fprintf(stderr, "usage: netload overflow | drops DEVICE | conntrack COUNT\n");
	return 2;
}
