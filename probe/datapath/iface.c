// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/iface.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>

#include "common/cleanup.h"
#include "probe/datapath/rtnl.h"

#ifndef ARPHRD_RAWIP
#define ARPHRD_RAWIP 519 /* <linux/if_arp.h>; glibc's header stops before */
#endif
#ifndef ARPHRD_IP6GRE
#define ARPHRD_IP6GRE 823
#endif
#define IFACES_MAX 65536 /* far above any host: a bound for what netlink tells */

enum iface_framing iface_framing_of(unsigned arphrd)
{
	switch (arphrd) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		return IFACE_ETHERNET;
	case ARPHRD_NONE:
	case ARPHRD_PPP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
	case ARPHRD_RAWIP:
		return IFACE_IP;
	default:
		return IFACE_UNSUPPORTED;
	}
}

/* Does the driver name a bus? It does for NICs, also virtual ones of a hypervisor. */
static bool has_bus(const char *name)
{
	cleanup(close_p) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq req = {.ifr_data = (void *)&info};

	if (fd < 0)
		return false;
	memcpy(req.ifr_name, name, strnlen(name, sizeof(req.ifr_name) - 1));
	return ioctl(fd, SIOCETHTOOL, &req) == 0 && info.bus_info[0] != '\0';
}

/* A device made by software (veth, bridge, tun, ...) tells its kind; tun names a bus as well. */
static bool has_kind(const struct rtattr *first, int len)
{
	const struct rtattr *info = rtnl_attr(first, len, IFLA_LINKINFO);

	return info && rtnl_attr(RTA_DATA(info), (int)RTA_PAYLOAD(info), IFLA_INFO_KIND);
}

static int list_add(struct iface_list *list, const struct iface *item)
{
	struct iface *items;

	if (list->n >= IFACES_MAX)
		return -E2BIG;
	items = realloc(list->items, (list->n + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	items[list->n++] = *item;
	list->items = items;
	return 0;
}

static int add_link(const struct nlmsghdr *msg, void *arg)
{
	const struct ifinfomsg *link = NLMSG_DATA(msg);
	const struct rtattr *first = IFLA_RTA(link), *name;
	int len = (int)IFLA_PAYLOAD(msg);
	struct iface item = {0};

	if (msg->nlmsg_type != RTM_NEWLINK)
		return 0;
	name = rtnl_attr(first, len, IFLA_IFNAME);
	if (!name)
		return 0;
	memcpy(item.name, RTA_DATA(name), strnlen(RTA_DATA(name), sizeof(item.name) - 1));
	item.index = (uint32_t)link->ifi_index;
	item.framing = iface_framing_of(link->ifi_type);
	item.up = link->ifi_flags & IFF_UP;
	item.hardware = !has_kind(first, len) && has_bus(item.name);
	return list_add(arg, &item);
}

static int by_index(const void *a, const void *b)
{
	const struct iface *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

int iface_list_all(struct iface_list *ret)
{
	struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
	cleanup(iface_list_free) struct iface_list list = {0};
	int err;

	err = rtnl_dump(RTM_GETLINK, &body, sizeof(body), add_link, &list);
	if (err)
		return err;
	if (list.n)
		qsort(list.items, list.n, sizeof(*list.items), by_index);
	*ret = list;
	list = (struct iface_list){0};
	return 0;
}

static bool is_named(const struct iface *item, const struct option_list *names)
{
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->items[i], item->name) == 0)
			return true;
		if (strcmp(names->items[i], "all") == 0 && item->up)
			return true;
	}
	return false;
}

static int check_name(const struct iface_list *all, const char *name)
{
	if (strcmp(name, "all") == 0)
		return 0;
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->items[i].name, name) == 0)
			return all->items[i].framing == IFACE_UNSUPPORTED ? -EPROTONOSUPPORT : 0;
	return -ENODEV;
}

int iface_matching(const struct iface_list *all, const struct option_list *names,
		   struct iface_list *ret)
{
	cleanup(iface_list_free) struct iface_list list = {0};

	for (size_t i = 0; i < all->n; i++) {
		const struct iface *item = &all->items[i];
		int err = is_named(item, names) && item->framing != IFACE_UNSUPPORTED
				  ? list_add(&list, item)
				  : 0;

		if (err)
			return err;
	}
	*ret = list;
	list = (struct iface_list){0};
	return 0;
}

int iface_select(const struct iface_list *all, const struct option_list *names,
		 struct iface_list *ret, const char **ret_bad)
{
	for (size_t i = 0; i < names->n; i++) {
		int err = check_name(all, names->items[i]);

		if (err) {
			*ret_bad = names->items[i];
			return err;
		}
	}
	return iface_matching(all, names, ret);
}

int iface_list_update(struct iface_list *list, const struct iface *item)
{
	struct iface *known =
		list->n ? bsearch(item, list->items, list->n, sizeof(*item), by_index) : NULL;
	int err;

	if (known) {
		*known = *item;
		return 0;
	}
	err = list_add(list, item);
	if (!err)
		qsort(list->items, list->n, sizeof(*list->items), by_index);
	return err;
}

const char *iface_name(const struct iface_list *list, uint32_t index)
{
	struct iface key = {.index = index};
	const struct iface *found =
		list->n ? bsearch(&key, list->items, list->n, sizeof(key), by_index) : NULL;

	return found ? found->name : "";
}

bool iface_exists(uint32_t index)
{
	char name[IF_NAMESIZE];

	return if_indextoname(index, name) || errno != ENXIO;
}

void iface_list_free(struct iface_list *list)
{
	free(list->items);
	*list = (struct iface_list){0};
}
