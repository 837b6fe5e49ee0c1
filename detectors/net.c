// SPDX-License-Identifier: Apache-2.0
// Network devices that lost their carrier, whose queues are stuck, that drop packets or see errors; listen queues that
// overflow; ports and places for tracked connections that run out.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

PARAM(stopped_ms, 5000, "milliseconds for which a transmit queue may be stopped");
PARAM(errors_per_s, 10, "errors a second of a device");
PARAM(drops_per_s, 100, "dropped packets a second of a device or a CPU's backlog");
PARAM(overflows_per_s, 1, "connections a second that a listen queue had no place for");
PARAM(conntrack_percent, 90, "how full the table of connections may be");
PARAM(ports_percent, 90, "of the ports for outgoing connections that may be in use");

ALARMS(carrier, 64, .fall_ms = 2000);
ALARMS(transmit, 64, .fall_ms = 2000);
ALARMS(errors, 64, .fall_ms = 3000);
ALARMS(drops, 128, .fall_ms = 3000);
ALARMS(listen, 64, .fall_ms = 3000);
ALARMS(conntrack, 16, .fall_ms = 2000);
ALARMS(ports, 64, .fall_ms = 2000);

#define NSEC_PER_MSEC 1000000ULL

#define NAMESPACES_MAX 16384U
#define DEVICES_MAX 65536U
#define LISTENERS_MAX 65536U
// Files of one process that are looked through for a socket.
#define FILES_MAX 65536U
#define BUCKETS_MAX (1U << 17)
// Of the table of ports, what one run looks at: most machines have 4096 buckets, the largest 65536.
#define PORT_BUCKETS 512U
#define PORT_ENTRIES_MAX 16384U

// How long counters are watched for a rate.
#define RATE_NS (1000 * NSEC_PER_MSEC)

// A counter, and how fast it rises.
struct rate {
	u64 last;
	u64 per_s;
};

enum { RATE_ERRORS, RATE_RX_DROPS, RATE_TX_DROPS, RATES };

// What is remembered of a device, a queue, a CPU or a namespace.
struct object {
	u64 key;
	// The last run in which it was there.
	u32 round;
	s64 rated_ns;
	struct rate rates[RATES];
	bool had_carrier;
	int carrier_ups, carrier_downs;
	// Of a queue: what it showed, and since when.
	unsigned long trans_start, trans_timeout;
	s64 stopped_ns;
	// Of a namespace: the ports that connect() takes; those in use so far, and in the whole table the last time.
	u32 first_port, last_port, ports_counted, ports_used;
};

#define OBJECTS_MAX 8192U
#define OBJECT_PROBES 32U

// Where connection tracking keeps what is looked at. Runs from one look for its module to the next.
#define CONNTRACK_ROUNDS 8
static struct nf_conntrack_symbols conntrack_symbols;

static struct object objects[OBJECTS_MAX];
static u32 round;
static s64 now_mono;

// Its place; sets @first if it is new. OBJECTS_MAX: there is none left.
static u32 object_find(u64 key, bool *first)
{
	u32 hash = (key >> 3) * 0x9e3779b97f4a7c15ULL >> 40, free = OBJECTS_MAX;

	*first = false;
	for (u32 i = 0; i < OBJECT_PROBES; i++) {
		u32 at = (hash + i) % OBJECTS_MAX;
		const struct object *o = &objects[at];

		if (!o->key || o->round + 1 < round) {
			free = free < OBJECTS_MAX ? free : at;
		} else if (o->key == key) {
			objects[at].round = round;
			return at;
		}
	}
	if (free < OBJECTS_MAX) {
		objects[free] = (struct object){ .key = key, .round = round };
		*first = true;
	}
	return free;
}

// True once a second for an object: rates are then taken anew. @ns is the time that has passed.
static bool rates_due(u32 at, bool first, u64 *ns)
{
	*ns = (u64)(now_mono - objects[at].rated_ns);
	if (!first && *ns < RATE_NS)
		return false;
	objects[at].rated_ns = now_mono;
	return true;
}

// A counter that was set back, or of which a part wrapped, shows no rate this time.
static void rate_take(u32 at, u32 which, u64 value, bool first, u64 ns)
{
	u64 last = objects[at].rates[which].last;

	objects[at].rates[which].last = value;
	objects[at].rates[which].per_s =
		first || value < last ? 0 : (value - last) * 1000 / max(ns / NSEC_PER_MSEC, 1ULL);
}

struct counters {
	u64 rx_errors, tx_errors, rx_dropped, tx_dropped, queue_drops;
};

static void add_core_stats(const struct net_device___health *dev, struct counters *c)
{
	const struct net_device___core_stats_atomic *old =
		(const struct net_device___core_stats_atomic *)dev;
	unsigned int cpu;

	if (bpf_core_field_exists(old->rx_dropped)) {
		c->rx_dropped += atomic_long_read(&old->rx_dropped);
		c->tx_dropped += atomic_long_read(&old->tx_dropped);
	} else if (bpf_core_field_exists(struct net_device___core_stats_percpu, core_stats)) {
		struct net_device_core_stats___health *stats =
			((const struct net_device___core_stats_percpu *)dev)->core_stats;

		if (!stats)
			return;
		for_each_possible_cpu (cpu) {
			const struct net_device_core_stats___health *s = per_cpu_ptr(stats, cpu);

			c->rx_dropped += s->rx_dropped;
			c->tx_dropped += s->tx_dropped;
		}
	}
}

static u64 qdisc_drops(const struct Qdisc___health *q)
{
	u64 drops = q->qstats.drops;
	struct gnet_stats_queue *percpu = q->cpu_qstats;
	unsigned int cpu;

	if (percpu) {
		for_each_possible_cpu (cpu)
			drops += per_cpu_ptr(percpu, cpu)->drops;
	}
	return drops;
}

static void check_queue(const struct net_device___health *dev, const struct netdev_queue *queue,
			u32 index, bool runs)
{
	bool first, stopped = (queue->state >> (bpf_core_enum_value(enum netdev_queue_state_t,
								    __QUEUE_STATE_DRV_XOFF) &
						63)) &
			      1;
	unsigned long timeouts = queue_trans_timeout(queue), trans_start = queue->trans_start;
	u32 at = object_find((u64)queue, &first);

	if (at >= OBJECTS_MAX)
		return;

	bool timed_out = !first && timeouts != objects[at].trans_timeout;

	if (first || !stopped || !runs || trans_start != objects[at].trans_start)
		objects[at].stopped_ns = now_mono;
	objects[at].trans_timeout = timeouts;
	objects[at].trans_start = trans_start;

	u64 stopped_for_ms = (u64)(now_mono - objects[at].stopped_ns) / NSEC_PER_MSEC;

	if (timed_out || stopped_for_ms >= stopped_ms)
		alarm_lasting(
			transmit, (u64)queue, stopped_for_ms * NSEC_PER_MSEC, ERROR,
			"transmit queue is stuck: device=%s queue=%u stopped_ms=%llu timeouts=%lu",
			dev->name, index, stopped_for_ms, timeouts);
}

static void check_queues(const struct net_device___health *dev, bool runs, struct counters *c)
{
	u32 count = min(dev->real_num_tx_queues, TX_QUEUES_MAX);
	const struct Qdisc___health *last = NULL;

	for (u32 i = 0; i < count; i++) {
		const struct netdev_queue *queue = kernel_array_at(dev->_tx, i);
		const struct Qdisc___health *qdisc = queue->qdisc;

		check_queue(dev, queue, i, runs);
		// Queues may share one, then it is that of all.
		if (qdisc && qdisc != last)
			c->queue_drops += qdisc_drops(qdisc);
		last = qdisc;
	}
}

static void check_carrier(const struct net_device___health *dev, u32 at, bool first, bool up,
			  bool on)
{
	int ups = atomic_read(&dev->carrier_up_count);
	int downs = atomic_read(&dev->carrier_down_count);
	bool had = objects[at].had_carrier || (!on && ups != objects[at].carrier_ups);
	// Also one that is back already. Counting begins at the second look, and what was taken down lost it rightly.
	bool lost = !first && up && had && (!on || downs != objects[at].carrier_downs);

	objects[at].carrier_ups = ups;
	objects[at].carrier_downs = downs;
	// A new device may have had one and lost it between two runs.
	if (first && run_count() && up && ups)
		objects[at].had_carrier = true;
	if (on || !up)
		objects[at].had_carrier = on && up;
	if (lost)
		alarm(carrier, (u64)dev, WARNING, "carrier lost: device=%s ifindex=%d times=%d",
		      dev->name, dev->ifindex, downs);
}

static void check_device(const struct net_device___health *dev, u32 netns)
{
	bool first, up = dev->flags & IFF_UP;
	bool carrier = !((dev->state >>
			  (bpf_core_enum_value(enum netdev_state_t, __LINK_STATE_NOCARRIER) & 63)) &
			 1);
	struct counters c = {
		.rx_errors = dev->stats.rx_errors,
		.tx_errors = dev->stats.tx_errors,
		.rx_dropped = dev->stats.rx_dropped,
		.tx_dropped = dev->stats.tx_dropped,
	};
	u32 at = object_find((u64)dev, &first);
	u64 ns;

	if (at >= OBJECTS_MAX)
		return;
	add_core_stats(dev, &c);
	check_queues(dev, up && carrier, &c);
	row("device=%s ifindex=%d netns=%u flags=%u mtu=%u carrier=%d carrier_up_count=%d carrier_down_count=%d "
	    "rx_errors=%llu tx_errors=%llu rx_dropped=%llu tx_dropped=%llu queue_drops=%llu",
	    dev->name, dev->ifindex, netns, dev->flags, dev->mtu, carrier,
	    atomic_read(&dev->carrier_up_count), atomic_read(&dev->carrier_down_count), c.rx_errors,
	    c.tx_errors, c.rx_dropped, c.tx_dropped, c.queue_drops);
	if (dev->flags & IFF_LOOPBACK)
		return;
	check_carrier(dev, at, first, up, carrier);

	if (rates_due(at, first, &ns)) {
		rate_take(at, RATE_ERRORS, c.rx_errors + c.tx_errors, first, ns);
		rate_take(at, RATE_RX_DROPS, c.rx_dropped, first, ns);
		rate_take(at, RATE_TX_DROPS, c.tx_dropped + c.queue_drops, first, ns);
	}

	u64 error_rate = objects[at].rates[RATE_ERRORS].per_s;
	u64 rx_rate = objects[at].rates[RATE_RX_DROPS].per_s;
	u64 tx_rate = objects[at].rates[RATE_TX_DROPS].per_s;

	if (error_rate >= max(errors_per_s, 1ULL))
		alarm(errors, (u64)dev, WARNING,
		      "device sees errors: device=%s per_s=%llu rx_errors=%llu tx_errors=%llu",
		      dev->name, error_rate, c.rx_errors, c.tx_errors);
	if (rx_rate >= max(drops_per_s, 1ULL))
		alarm(drops, (u64)dev, WARNING,
		      "received packets are dropped: device=%s per_s=%llu total=%llu", dev->name,
		      rx_rate, c.rx_dropped);
	if (tx_rate >= max(drops_per_s, 1ULL))
		alarm(drops, (u64)dev | 1, WARNING,
		      "packets to send are dropped: device=%s per_s=%llu total=%llu of_queue=%llu",
		      dev->name, tx_rate, c.tx_dropped + c.queue_drops, c.queue_drops);
}

// A socket whose queue is full.
struct full {
	const struct sock *sk;
	u32 count;
};

static void look_at_chain(const struct hlist_nulls_node *node, struct full *full, u32 *left)
{
	for (; !is_a_nulls(node) && *left; node = node->next) {
		const struct sock *sk =
			container_of(node, const struct sock, __sk_common.skc_nulls_node);

		--*left;
		if (sk->sk_ack_backlog <= sk->sk_max_ack_backlog || !sk->sk_socket)
			continue;
		full->count++;
		if (!full->sk)
			full->sk = sk;
	}
}

// Who has no place for connections; looked for when some were turned away only.
static void find_full(struct full *full)
{
	const struct inet_hashinfo___listening *old =
		(const struct inet_hashinfo___listening *)&tcp_hashinfo;
	u32 left = LISTENERS_MAX;

	if (bpf_core_field_exists(old->listening_hash)) {
		for (u32 i = 0; i < INET_LHTABLE_SIZE; i++)
			look_at_chain(kernel_array_at(old->listening_hash, i)->nulls_head.first,
				      full, &left);
		return;
	}

	u32 buckets = min(tcp_hashinfo.lhash2_mask, BUCKETS_MAX - 1) + 1;

	for (u32 i = 0; i < buckets; i++)
		look_at_chain(kernel_array_at(tcp_hashinfo.lhash2, i)->nulls_head.first, full,
			      &left);
}

// The process that has the socket open, or init_task.
static const struct task_struct *owner_of(const struct file *file)
{
	struct task_struct *p;

	for_each_process (p) {
		const struct files_struct *files = p->files;
		const struct fdtable *fdt = files ? files->fdt : NULL;
		u32 count = fdt ? min(fdt->max_fds, FILES_MAX) : 0;

		for (u32 i = 0; i < count; i++) {
			if (fdt->fd[i] == file)
				return p;
		}
	}
	return &init_task;
}

// A socket that is full is full for long: its owner is looked up once.
static void say_full(u64 key, u64 rate, u64 overflows, u64 drops)
{
	static const struct sock *known;
	static const struct task_struct *owner;
	struct full full = {};

	find_full(&full);
	if (!full.sk) {
		known = NULL;
		alarm(listen, key, WARNING,
		      "connections are turned away: per_s=%llu overflows=%llu drops=%llu", rate,
		      overflows, drops);
		return;
	}
	if (full.sk != known) {
		owner = owner_of(((const struct socket___health *)full.sk->sk_socket)->file);
		known = full.sk;
	}
	alarm(listen, key, WARNING,
	      "listen queue is full: port=%u waiting=%u of=%u pid=%d comm=%s per_s=%llu overflows=%llu drops=%llu",
	      full.sk->__sk_common.skc_num, full.sk->sk_ack_backlog, full.sk->sk_max_ack_backlog,
	      owner->pid, owner->comm, rate, overflows, drops);
}

// One item of counters that each CPU has: an array of unsigned long.
static u64 mib_sum(const void *mib, u32 item)
{
	unsigned int cpu;
	u64 sum = 0;

	for_each_possible_cpu (cpu)
		sum += per_cpu_ptr((const unsigned long *)mib, cpu)[item];
	return sum;
}

enum { RATE_OVERFLOWS, RATE_UDP_DROPS };

static void check_sockets(const struct net___health *net, u32 netns)
{
	const struct linux_mib *mib = net->mib.net_statistics;
	const struct udp_mib *udp = net->mib.udp_statistics;
	u64 overflows, turned_away, udp_drops, ns;
	bool first;
	u32 at = object_find((u64)net, &first);

	if (!mib || !udp || at >= OBJECTS_MAX)
		return;
	overflows = mib_sum(
		mib, bpf_core_enum_value(typeof(linux_mib_items), LINUX_MIB_LISTENOVERFLOWS));
	turned_away =
		mib_sum(mib, bpf_core_enum_value(typeof(linux_mib_items), LINUX_MIB_LISTENDROPS));
	udp_drops = mib_sum(udp, bpf_core_enum_value(typeof(udp_mib_items), UDP_MIB_RCVBUFERRORS));
	row("netns=%u listen_overflows=%llu listen_drops=%llu udp_rcvbuf_errors=%llu conntrack=%u",
	    netns, overflows, turned_away, udp_drops, nf_conntrack_count(net, &conntrack_symbols));
	if (rates_due(at, first, &ns)) {
		rate_take(at, RATE_OVERFLOWS, max(overflows, turned_away), first, ns);
		rate_take(at, RATE_UDP_DROPS, udp_drops, first, ns);
	}

	u64 rate = objects[at].rates[RATE_OVERFLOWS].per_s;
	u64 udp_rate = objects[at].rates[RATE_UDP_DROPS].per_s;

	if (rate >= max(overflows_per_s, 1ULL))
		say_full((u64)net, rate, overflows, turned_away);
	if (udp_rate >= max(drops_per_s, 1ULL))
		alarm(drops, (u64)net, WARNING,
		      "sockets have no room for datagrams: netns=%u per_s=%llu total=%llu", netns,
		      udp_rate, udp_drops);
}

// The module comes when it is first needed, and may go again.
static void find_conntrack(void)
{
	static const char name[] = "nf_conntrack";
	static u64 known;

	if (&nf_conntrack_max && &nf_conntrack_net_id && !run_count())
		conntrack_symbols =
			(struct nf_conntrack_symbols){ &nf_conntrack_max, &nf_conntrack_net_id };
	if (round % CONNTRACK_ROUNDS != 1)
		return;

	const struct module *mod = find_module(name);
	u64 id = mod ? module_id(mod) : 0;

	if (id == known)
		return;
	known = id;
	conntrack_symbols = (struct nf_conntrack_symbols){};
	if (id) {
		conntrack_symbols.max = module_find_symbol(mod, "nf_conntrack_max");
		conntrack_symbols.net_id = module_find_symbol(mod, "nf_conntrack_net_id");
	}
}

static void check_conntrack(const struct net___health *net, u32 netns)
{
	u64 most = conntrack_symbols.max ? *conntrack_symbols.max : 0;
	u64 count = nf_conntrack_count(net, &conntrack_symbols);

	if (most && count * 100 >= most * conntrack_percent)
		alarm(conntrack, (u64)net, count >= most ? ERROR : WARNING,
		      "table of tracked connections is full: netns=%u count=%llu max=%llu", netns,
		      count, most);
}

// What the last look at the whole table has shown.
static void check_ports(const struct net___health *net, u32 netns)
{
	bool first;
	u32 low, high, at = object_find((u64)net, &first);

	if (at >= OBJECTS_MAX)
		return;
	local_port_range(net, &low, &high);
	// What was counted of another range means nothing.
	if (low != objects[at].first_port || high != objects[at].last_port)
		objects[at].ports_counted = objects[at].ports_used = 0;
	objects[at].first_port = low;
	objects[at].last_port = high;

	u32 used = objects[at].ports_used, count = high >= low ? high - low + 1 : 0;

	if (count && used * 100ULL >= count * ports_percent)
		alarm(ports, (u64)net, WARNING,
		      "local ports run out: netns=%u used=%u of=%u range=%u-%u", netns, used, count,
		      low, high);
}

static void count_port(const struct inet_bind_bucket *bucket)
{
	bool first;
	u32 port = bucket->port, at = object_find((u64)bucket->ib_net.net, &first);

	if (at < OBJECTS_MAX && port >= objects[at].first_port && port <= objects[at].last_port)
		objects[at].ports_counted++;
}

// A part of the table in each run.
static void count_ports(void)
{
	static u32 next;
	const struct inet_hashinfo___ports *info =
		(const struct inet_hashinfo___ports *)&tcp_hashinfo;
	u32 buckets = min(info->bhash_size, BUCKETS_MAX), left = PORT_ENTRIES_MAX;
	u32 end = min(next + PORT_BUCKETS, buckets);

	for (; next < end; next++) {
		const struct hlist_node *node = kernel_array_at(info->bhash, next)->chain.first;

		for (; node && left; node = node->next, left--)
			count_port(container_of(node, struct inet_bind_bucket, node));
	}
	if (next < buckets)
		return;
	next = 0;
	for (u32 at = 0; at < OBJECTS_MAX; at++) {
		objects[at].ports_used = objects[at].ports_counted;
		objects[at].ports_counted = 0;
	}
}

static void check_backlogs(void)
{
	unsigned int cpu;

	for_each_possible_cpu (cpu) {
		const struct softnet_data *sd = per_cpu_ptr(&softnet_data, cpu);
		u32 dropped = softnet_dropped(cpu);
		bool first;
		u32 at = object_find((u64)sd, &first);
		u64 ns;

		row("cpu=%u processed=%u dropped=%u time_squeeze=%u", cpu, sd->processed, dropped,
		    sd->time_squeeze);
		if (at >= OBJECTS_MAX)
			continue;
		if (rates_due(at, first, &ns))
			rate_take(at, 0, dropped, first, ns);
		if (objects[at].rates[0].per_s >= max(drops_per_s, 1ULL))
			alarm(drops, (u64)sd, WARNING,
			      "backlog is full: cpu=%u per_s=%llu total=%u time_squeeze=%u", cpu,
			      objects[at].rates[0].per_s, dropped, sd->time_squeeze);
	}
}

static void check_namespaces(void)
{
	u32 namespaces = NAMESPACES_MAX, devices = DEVICES_MAX;
	struct net___health *net;

	list_for_each_entry (net, &net_namespace_list, list) {
		u32 netns = net->ns.inum;
		struct net_device___health *dev;

		if (!namespaces--)
			break;
		check_sockets(net, netns);
		check_conntrack(net, netns);
		check_ports(net, netns);
		list_for_each_entry (dev, &net->dev_base_head, dev_list) {
			if (!devices--)
				return;
			check_device(dev, netns);
		}
	}
}

DETECTOR(net, .description = "lost carriers, stuck queues, drops, errors, full listen queues",
	 .period_ms = 250)
{
	// After a panic nothing more happens.
	if (!system_is_up() || panic_cpu != PANIC_CPU_INVALID)
		return;
	now_mono = ktime_get();
	round++;
	find_conntrack();
	check_namespaces();
	count_ports();
	check_backlogs();
	alarms_end(carrier);
	alarms_end(transmit);
	alarms_end(errors);
	alarms_end(drops);
	alarms_end(listen);
	alarms_end(conntrack);
	alarms_end(ports);
}
