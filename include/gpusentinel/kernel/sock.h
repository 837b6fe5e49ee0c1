/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Sockets and the tables that they are found in. include/net/sock.h, inet_hashtables.h, udp.h, af_unix.h
 */
#ifndef GPUSENTINEL_KERNEL_SOCK_H
#define GPUSENTINEL_KERNEL_SOCK_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/mm.h>
#include <gpusentinel/kernel/sched.h>

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

/** include/net/tcp_states.h; sockets of all kinds use them. */
#define TCP_ESTABLISHED 1
#define TCP_SYN_RECV 3
#define TCP_TIME_WAIT 6
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12

/** A list that ends at an odd value in place of NULL. include/linux/list_nulls.h */
struct hlist_nulls_node {
	struct hlist_nulls_node *next;
} __kernel_type;

struct hlist_nulls_head {
	struct hlist_nulls_node *first;
} __kernel_type;

/** Also at NULL, as damaged lists do. */
static __always_inline bool is_a_nulls(const void *node)
{
	return !node || (unsigned long)node & 1;
}

#define hlist_nulls_for_each_entry(pos, head, member)                                             \
	for (struct hlist_nulls_node *__node = (head)->first;                                     \
	     !is_a_nulls(__node) && ((pos) = container_of(__node, typeof(*(pos)), member), true); \
	     __node = __node->next)

#define hlist_for_each_entry(pos, head, member)                                      \
	for (struct hlist_node *__node = (head)->first;                              \
	     __node && ((pos) = container_of(__node, typeof(*(pos)), member), true); \
	     __node = __node->next)

/** refcount_t, of members. */
struct refcount_struct {
	atomic_t refs;
} __kernel_type;

typedef struct refcount_struct refcount_t;

#define refcount_read(r) atomic_read(&(r)->refs)

struct in6_addr {
	union {
		u32 u6_addr32[4];
	} in6_u;
} __kernel_type;

struct net;

typedef struct {
	struct net *net;
} __kernel_type possible_net_t;

/** What sockets, connections that wait to be closed, and those that are being made have in common. */
struct sock_common {
	/** Network order. */
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	/** Host order: the local port. */
	u16 skc_num;
	/** AF_* */
	unsigned short skc_family;
	/** TCP_* */
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct hlist_node skc_node;
	struct hlist_nulls_node skc_nulls_node;
	refcount_t skc_refcnt;
	/** Of a connection that is being made: the socket that listens. */
	struct sock *skc_listener;
} __kernel_type;

struct socket;

struct sock {
	struct sock_common __sk_common;
	/** Bytes that wait to be read. */
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
	/** Bytes that wait to be sent, plus one. */
	refcount_t sk_wmem_alloc;
	u16 sk_type;
	/** Connections that wait to be accepted, and how many may. */
	u32 sk_ack_backlog;
	u32 sk_max_ack_backlog;
	/** NULL once it is closed. */
	struct socket *sk_socket;
	kuid_t sk_uid;
} __kernel_type;

/** include/linux/net.h */
struct socket {
	struct sock *sk;
} __kernel_type;

/** A socket as a file; the inode is behind it. */
struct inode___owner {
	kuid_t i_uid;
	/** 64 bits also before it became a u64 in 7.x. */
	unsigned long i_ino;
} __kernel_type;

struct socket_alloc {
	struct socket socket;
	struct inode___owner vfs_inode;
} __kernel_type;

/** Number of the socket's file, 0 if it has none (any more). */
static inline u64 sock_i_ino(const struct sock *sk)
{
	struct socket *socket = sk->sk_socket;

	return socket ? container_of(socket, struct socket_alloc, socket)->vfs_inode.i_ino : 0;
}

/** Owner of the socket. */
static inline u32 sock_i_uid(const struct sock *sk)
{
	struct socket *socket = sk->sk_socket;

	return socket ? container_of(socket, struct socket_alloc, socket)->vfs_inode.i_uid.val : 0;
}

struct tcp_sock {
	u32 rcv_nxt;
	u32 copied_seq;
	u32 snd_una;
	u32 write_seq;
} __kernel_type;

struct udp_sock {
	/** Bytes that were read, and are not yet taken from rmem_alloc. */
	int forward_deficit;
} __kernel_type;

struct inet_ehash_bucket {
	struct hlist_nulls_head chain;
} __kernel_type;

struct inet_listen_hashbucket {
	struct hlist_nulls_head nulls_head;
} __kernel_type;

struct inet_hashinfo {
	/** Connections; the mask is the number of buckets less one. */
	struct inet_ehash_bucket *ehash;
	unsigned int ehash_mask;
	/** Sockets that listen. */
	struct inet_listen_hashbucket *lhash2;
	unsigned int lhash2_mask;
} __kernel_type;

/**
 * Before Linux kernel commit cae3873c5b3a ("net: inet: Retire port only listening_hash") (in v5.19), sockets that
 * listen are chained by skc_nulls_node here, and by another member in lhash2.
 */
struct inet_hashinfo___listening {
	struct inet_listen_hashbucket listening_hash[32];
} __kernel_type;

#define INET_LHTABLE_SIZE 32

/** More than any machine has. */
#define EHASH_BUCKETS_MAX (1U << 24)

extern struct inet_hashinfo tcp_hashinfo __ksym;

struct udp_hslot {
	struct hlist_head head;
} __kernel_type;

struct udp_table {
	struct udp_hslot *hash;
	unsigned int mask;
} __kernel_type;

extern struct udp_table udp_table __ksym;

struct ns_common {
	/** As /proc/PID/ns shows it. */
	unsigned int inum;
} __kernel_type;

struct unix_table {
	struct hlist_head *buckets;
} __kernel_type;

/** With what follows since Linux kernel commit cf2f225e2653 ("af_unix: Put a socket into a per-netns hash table.") (in v6.0). */
struct netns_unix {
	struct unix_table table;
} __kernel_type;

struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
} __kernel_type;

struct netns_ipv4 {
	/** A pointer for some releases around v6.0. */
	struct inet_timewait_death_row tcp_death_row;
	/** The system's or its own. Since v6.2 ("udp: Introduce optional per-netns hash table."). */
	struct udp_table *udp_table;
} __kernel_type;

/** A network namespace. */
struct net {
	struct list_head list;
	struct ns_common ns;
	struct netns_unix unx;
	struct netns_ipv4 ipv4;
} __kernel_type;

extern struct net init_net __ksym;
/** Chains net.list of all of them. */
extern struct list_head net_namespace_list __ksym;

/** Before v6.0, one table for all. */
extern struct hlist_head unix_socket_table[] __ksym __weak;

/** UNIX_HASH_SIZE since it is two tables of 256 in one, for sockets with and without a name. */
#define UNIX_HASH_SIZE 512

#define UNIX_PATH_MAX 108

/** include/uapi/linux/un.h; a first byte of 0 means that it is no file. */
struct sockaddr_un {
	char sun_path[UNIX_PATH_MAX];
} __kernel_type;

struct unix_address {
	/** Bytes of the name with the two of the family before the path. */
	int len;
	struct sockaddr_un name[1];
} __kernel_type;

struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
} __kernel_type;

#endif
