// SPDX-License-Identifier: GPL-2.0
/*
 * A network card, "lab-nic", that takes a few packets and never tells that it has sent them: its queue stops, and the
 * kernel's watchdog for transmissions, which wants one per second here, finds it.
 */
#include "fault.h"

#include <linux/atomic.h>
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/printk.h>
#include <linux/skbuff.h>

enum {
	// What the card's ring holds.
	RING = 4,
};

static struct sk_buff_head ring;

static netdev_tx_t nic_xmit(struct sk_buff *skb, struct net_device *dev)
{
	skb_queue_tail(&ring, skb);
	if (skb_queue_len(&ring) >= RING)
		netif_stop_queue(dev);
	return NETDEV_TX_OK;
}

static int nic_open(struct net_device *dev)
{
	netif_start_queue(dev);
	return 0;
}

static int nic_stop(struct net_device *dev)
{
	netif_stop_queue(dev);
	skb_queue_purge(&ring);
	return 0;
}

// A driver would reset the card. This one is past that.
static void nic_timeout(struct net_device *dev, unsigned int queue)
{
}

static const struct net_device_ops nic_ops = {
	.ndo_open = nic_open,
	.ndo_stop = nic_stop,
	.ndo_start_xmit = nic_xmit,
	.ndo_tx_timeout = nic_timeout,
};

static void nic_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &nic_ops;
	dev->watchdog_timeo = HZ;
	dev->tx_queue_len = 16;
	eth_hw_addr_random(dev);
}

static void nic_run(const char *name)
{
	struct net_device *dev = alloc_netdev(0, "lab-nic", NET_NAME_UNKNOWN, nic_setup);
	struct fault_end end;
	int err;

	if (!dev)
		return;
	skb_queue_head_init(&ring);
	err = register_netdev(dev);
	if (!err) {
		fault_begins(name, &end);
		fault_wait_interruptible(&end);
		unregister_netdev(dev);
		fault_ended(name);
	} else {
		pr_emerg("lab_fault: %s: lab-nic: error %d\n", name, err);
	}
	free_netdev(dev);
}

int fault_tx_hang(void *name)
{
	static atomic_t running;

	if (atomic_xchg(&running, 1))
		return 0;
	nic_run(name);
	atomic_set(&running, 0);
	return 0;
}
