/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hooks.h - our programs on interfaces: one for ingress, one for egress each.
 *
 * Ways to attach, best first:
 *	xdp  native XDP, ingress only. Never generic.
 *	tcx  Linux 6.6; our program is the first of its chain.
 *	tc   clsact filter, through probe/datapath/guard.h.
 * auto takes XDP for ingress where hardware is behind the interface. On veth,
 * bridge, tun and the like XDP would cost the peer its GSO (iperf3 through a
 * veth pair: 15.5 to 4.8 Gbit/s), so they get TCX. What the kernel refuses
 * (XDP slot taken, no driver support, MTU, old kernel) falls back to the next
 * way with a line at info level. The program of somebody else is never
 * replaced.
 *
 * Threads: hooks_attach() may fork (guard.h): before any thread is started.
 */
#ifndef WEIR_PROBE_DATAPATH_HOOKS_H
#define WEIR_PROBE_DATAPATH_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct datapath;
struct hooks;
struct iface;

enum hooks_mode { HOOKS_AUTO, HOOKS_XDP, HOOKS_TC, HOOKS_TCX };
#define HOOKS_MODE_CHOICES "auto|xdp|tc|tcx"

/* An empty set. d is borrowed until hooks_close(). */
int hooks_open(const struct datapath *d, enum hooks_mode mode, struct hooks **ret);

/*
 * Links are pinned from now on, so that packets are counted while no probe
 * runs. Those that a killed probe has pinned are found: hooks_attach() gives
 * them our program, without a gap; hooks_drop_found() detaches the rest. pins is
 * borrowed until hooks_close(), which detaches and removes them all. (clsact
 * filters go with the process: guard.h.)
 */
struct pins;
void hooks_pin(struct hooks *h, const struct pins *pins);
void hooks_drop_found(struct hooks *h);

/*
 * Attaches to one interface, or to neither of its sides: -errno then (-ENODEV:
 * it has gone). Copies iface.
 */
int hooks_attach(struct hooks *h, const struct iface *iface);

/*
 * Lets go of interfaces that have been deleted, and of those from which
 * somebody took our program away; logs both. Returns how many of the latter:
 * they may be attached again.
 */
size_t hooks_check(struct hooks *h);

/* Whether our programs are on that interface. */
bool hooks_has(const struct hooks *h, uint32_t ifindex);

/* How the i-th interface is, or was, attached: "xdp+tcx". NULL past the last one. */
const char *hooks_describe(const struct hooks *h, size_t i, const struct iface **ret_iface);

/*
 * Detaches everything. On return no program of ours runs any more and the
 * maps do not change. NULL is a no-op.
 */
void hooks_close(struct hooks *h);

#endif /* WEIR_PROBE_DATAPATH_HOOKS_H */
