/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * iface.h - the network interfaces of the current network namespace, and which
 * of them the user means.
 *
 * Memory: an iface_list owns its items; release with iface_list_free(). Items
 * are sorted by index, each interface is in it once. Threads: no state; any.
 */
#ifndef WEIR_PROBE_DATAPATH_IFACE_H
#define WEIR_PROBE_DATAPATH_IFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/options.h"
#include "proto/flow_record.h"

/* What a packet on the interface begins with. */
enum iface_framing {
	IFACE_ETHERNET,
	IFACE_IP,	   /* tun, WireGuard, PPP, IP tunnels: no Ethernet header */
	IFACE_UNSUPPORTED, /* CAN, InfiniBand, 802.11 monitor, ...: not read */
};

struct iface {
	uint32_t index;
	char name[IFACE_NAME_MAX];
	enum iface_framing framing;
	bool up;
	bool hardware; /* a device with a bus behind it, not made by software */
};

struct iface_list {
	struct iface *items;
	size_t n;
};

/* All interfaces. Returns -errno. */
int iface_list_all(struct iface_list *ret);

/*
 * Those of all that names asks for; the word "all" stands for every interface
 * that is up and whose framing we read. Returns -ENODEV for a name that does
 * not exist, -EPROTONOSUPPORT for one whose framing we cannot read, and
 * *ret_bad is then that name (borrowed from names); -ENOMEM.
 */
int iface_select(const struct iface_list *all, const struct option_list *names,
		 struct iface_list *ret, const char **ret_bad);

/* The same without the checks: those of all that names asks for and that we can read. */
int iface_matching(const struct iface_list *all, const struct option_list *names,
		   struct iface_list *ret);

/* Adds item, or takes over its name and state if its index is there. Returns -ENOMEM, -E2BIG. */
int iface_list_update(struct iface_list *list, const struct iface *item);

/* The name of an interface of the list, "" if it is not there. */
const char *iface_name(const struct iface_list *list, uint32_t index);

/* Whether the namespace still has this interface. */
bool iface_exists(uint32_t index);

/* How a device type (ARPHRD_*) frames packets. */
enum iface_framing iface_framing_of(unsigned arphrd);

/* Releases the items; list is then empty. */
void iface_list_free(struct iface_list *list);

#endif /* WEIR_PROBE_DATAPATH_IFACE_H */
