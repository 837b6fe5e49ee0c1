// SPDX-License-Identifier: Apache-2.0
// Sockets of TCP, UDP and Unix: who talks to whom, who listens, what waits.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "sockets_address.h"

#define NAMESPACES_MAX 4096
// In one bucket of a table.
#define CHAIN_MAX 65536
// Heads of buckets that are read at once.
#define HEADS 8U

// /proc shows a connection that waits for its last handshake as SYN_RECV.
static const char states[][16] = {
	"unknown", "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait",
	"close",   "close_wait",  "last_ack", "listen",	  "closing",   "syn_recv",
};

static const char *state_name(unsigned int state)
{
	return states[state < sizeof(states) / sizeof(states[0]) ? state : 0];
}

static void show_inet(const char *proto, const char *proto6, const struct sock_common *skc,
		      u32 rx_queue, u32 tx_queue, u32 uid, u64 inode)
{
	struct address local, remote;
	bool v6 = skc->skc_family == AF_INET6;
	struct net *net = skc->skc_net.net;

	if (v6) {
		address_v6(&local, skc->skc_v6_rcv_saddr.in6_u.u6_addr32, skc->skc_num);
		address_v6(&remote, skc->skc_v6_daddr.in6_u.u6_addr32, ntohs(skc->skc_dport));
	} else {
		address_v4(&local, skc->skc_rcv_saddr, skc->skc_num);
		address_v4(&remote, skc->skc_daddr, ntohs(skc->skc_dport));
	}
	row("proto=%s local=%s remote=%s state=%s rx_queue=%u tx_queue=%u uid=%u inode=%llu netns=%u",
	    v6 ? proto6 : proto, local.text, remote.text, state_name(skc->skc_state), rx_queue,
	    tx_queue, uid, inode, net->ns.inum);
}

// net/ipv4/tcp_ipv4.c, tcp4_seq_show()
static void show_tcp(const struct sock_common *skc)
{
	const struct sock *sk = (const struct sock *)skc;
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	unsigned int state = skc->skc_state;

	// Neither of these two is a socket.
	if (state == TCP_TIME_WAIT) {
		show_inet("tcp", "tcp6", skc, 0, 0, 0, 0);
		return;
	}
	if (state == TCP_NEW_SYN_RECV) {
		const struct sock *listener = skc->skc_listener;

		show_inet("tcp", "tcp6", skc, 0, 0, listener ? sock_i_uid(listener) : 0, 0);
		return;
	}

	// The reader may be ahead by a FIN.
	s32 rx_queue = (s32)(tp->rcv_nxt - tp->copied_seq);

	if (state == TCP_LISTEN)
		rx_queue = (s32)sk->sk_ack_backlog;
	show_inet("tcp", "tcp6", skc, max(rx_queue, 0), tp->write_seq - tp->snd_una, sock_i_uid(sk),
		  sock_i_ino(sk));
}

static void show_tcp_chain(struct hlist_nulls_node *node)
{
	for (unsigned int count = 0; !is_a_nulls(node) && count < CHAIN_MAX; count++) {
		const struct sock_common *skc =
			container_of(node, struct sock_common, skc_nulls_node);

		show_tcp(skc);
		node = node->next;
	}
}

static void show_tcp_connections(const struct inet_hashinfo *hashinfo)
{
	u32 buckets = min(hashinfo->ehash_mask, EHASH_BUCKETS_MAX - 1) + 1;
	const struct inet_ehash_bucket *ehash = hashinfo->ehash;

	// Hundreds of thousands, nearly all empty.
	if (bpf_core_type_size(struct inet_ehash_bucket) != sizeof(u64))
		return;
	for (u32 i = 0; i + HEADS <= buckets; i += HEADS) {
		u64 heads[HEADS];

		__builtin_memcpy(heads, (const char *)ehash + i * sizeof(u64), sizeof(heads));
		for (unsigned int j = 0; j < HEADS; j++) {
			if (!is_a_nulls((void *)heads[j]))
				show_tcp_chain((struct hlist_nulls_node *)heads[j]);
		}
	}
}

static void show_tcp_listeners(const struct inet_hashinfo *hashinfo)
{
	const struct inet_hashinfo___listening *old =
		(const struct inet_hashinfo___listening *)hashinfo;

	if (bpf_core_field_exists(old->listening_hash)) {
		for (unsigned int i = 0; i < INET_LHTABLE_SIZE; i++)
			show_tcp_chain(kernel_array_at(old->listening_hash, i)->nulls_head.first);
		return;
	}

	u32 buckets = min(hashinfo->lhash2_mask, EHASH_BUCKETS_MAX - 1) + 1;

	for (u32 i = 0; i < buckets; i++)
		show_tcp_chain(kernel_array_at(hashinfo->lhash2, i)->nulls_head.first);
}

// net/ipv4/udp.c, udp4_format_sock()
static void show_udp(const struct sock *sk)
{
	s32 rx_queue = atomic_read(&sk->sk_backlog.rmem_alloc) -
		       ((const struct udp_sock *)sk)->forward_deficit;

	show_inet("udp", "udp6", &sk->__sk_common, max(rx_queue, 0),
		  max(refcount_read(&sk->sk_wmem_alloc) - 1, 0), sock_i_uid(sk), sock_i_ino(sk));
}

static void show_udp_table(const struct udp_table *table)
{
	u32 slots = min(table->mask, EHASH_BUCKETS_MAX - 1) + 1;

	for (u32 i = 0; i < slots; i++) {
		struct hlist_node *node = kernel_array_at(table->hash, i)->head.first;

		for (unsigned int count = 0; node && count < CHAIN_MAX; count++) {
			show_udp(container_of(node, struct sock, __sk_common.skc_node));
			node = node->next;
		}
	}
}

static const char *unix_type(unsigned int type)
{
	switch (type) {
	case 1:
		return "stream";
	case 2:
		return "dgram";
	case 5:
		return "seqpacket";
	}
	return "unknown";
}

// net/unix/af_unix.c, unix_seq_show(); "@" stands for zeros of names that are no files.
static void show_unix(const struct sock *sk)
{
	const struct unix_address *addr = ((const struct unix_sock *)sk)->addr;
	unsigned int state = sk->__sk_common.skc_state;
	const char *what;
	char path[UNIX_PATH_MAX + 1];
	unsigned int len = 0;

	if (state == TCP_LISTEN)
		what = "listen";
	else if (state == TCP_ESTABLISHED)
		what = sk->sk_socket ? "connected" : "connecting";
	else
		what = sk->sk_socket ? "unconnected" : "disconnecting";
	if (addr) {
		s32 bytes = addr->len - 2;

		__builtin_memcpy(path, addr->name[0].sun_path, UNIX_PATH_MAX);
		len = bytes < 0 ? 0 : min((u32)bytes, (u32)UNIX_PATH_MAX);
		if (len && path[0])
			len--;
		for (unsigned int i = 0; i < len; i++) {
			if (!path[i])
				path[i] = '@';
		}
	}
	path[len] = 0;
	row("proto=%s type=%s state=%s refcount=%d backlog=%u inode=%llu netns=%u path=%s", "unix",
	    unix_type(sk->sk_type), what, refcount_read(&sk->__sk_common.skc_refcnt),
	    state == TCP_LISTEN ? sk->sk_ack_backlog : 0, sock_i_ino(sk),
	    sk->__sk_common.skc_net.net->ns.inum, path);
}

static void show_unix_buckets(const void *buckets)
{
	for (unsigned int i = 0; buckets && i < UNIX_HASH_SIZE; i += HEADS) {
		u64 heads[HEADS];

		__builtin_memcpy(heads, (const char *)buckets + i * sizeof(u64), sizeof(heads));
		for (unsigned int j = 0; j < HEADS; j++) {
			struct hlist_node *node = (struct hlist_node *)heads[j];

			for (unsigned int count = 0; node && count < CHAIN_MAX; count++) {
				show_unix(container_of(node, struct sock, __sk_common.skc_node));
				node = node->next;
			}
		}
	}
}

// Tables that a namespace has for itself.
static void show_namespace(const struct net *net)
{
	if (bpf_core_field_exists(net->ipv4.tcp_death_row.hashinfo)) {
		const struct inet_hashinfo *hashinfo = net->ipv4.tcp_death_row.hashinfo;

		if (hashinfo && hashinfo != &tcp_hashinfo)
			show_tcp_connections(hashinfo);
	}
	if (bpf_core_field_exists(net->ipv4.udp_table)) {
		const struct udp_table *table = net->ipv4.udp_table;

		if (table && table != &udp_table)
			show_udp_table(table);
	}
	if (bpf_core_field_exists(net->unx.table.buckets))
		show_unix_buckets(net->unx.table.buckets);
}

DETECTOR(sockets, .description = "sockets of TCP, UDP and Unix", .period_ms = 10000)
{
	unsigned int count = 0;
	struct net *net;

	show_tcp_listeners(&tcp_hashinfo);
	show_tcp_connections(&tcp_hashinfo);
	show_udp_table(&udp_table);
	if (&unix_socket_table)
		show_unix_buckets(&unix_socket_table[0]);
	list_for_each_entry (net, &net_namespace_list, list) {
		if (++count > NAMESPACES_MAX)
			break;
		show_namespace(net);
	}
}
