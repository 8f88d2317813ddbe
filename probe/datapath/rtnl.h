/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rtnl.h - rtnetlink: one dump, message by message, and news of the links.
 *
 * Netlink answers for the network namespace of the caller; /sys may show
 * another one. Threads: no state; any.
 */
#ifndef WEIR_PROBE_DATAPATH_RTNL_H
#define WEIR_PROBE_DATAPATH_RTNL_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>

/* msg is borrowed until the call returns. A non-zero return ends the dump. */
typedef int (*rtnl_visit_fn)(const struct nlmsghdr *msg, void *arg);

/*
 * Sends a dump request of the given type with body after the header, and
 * visits each answer. Returns 0, -errno, or what visit returned.
 */
int rtnl_dump(int type, const void *body, size_t body_len, rtnl_visit_fn visit, void *arg);

/* A socket that is told of every change of a link. -errno on failure; close(2) it. */
int rtnl_watch_links(void);

/* Whether there has been any news since the last call. */
bool rtnl_links_changed(int fd);

/* The attribute of that type among those in [first, first + len), or NULL. */
const struct rtattr *rtnl_attr(const struct rtattr *first, int len, int type);

#endif /* WEIR_PROBE_DATAPATH_RTNL_H */
