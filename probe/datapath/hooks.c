// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/hooks.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "probe/datapath/clsact.h"
#include "probe/datapath/datapath.h"
#include "probe/datapath/guard.h"
#include "probe/datapath/iface.h"
#include "probe/datapath/pins.h"

/* <linux/bpf.h> of Linux 6.6; Debian 12 has the header of 6.1. */
#define TCX_INGRESS  ((enum bpf_attach_type)46)
#define TCX_EGRESS   ((enum bpf_attach_type)47)
#define MPROG_BEFORE (1u << 3) /* BPF_F_BEFORE: without a reference, the head of the chain */

enum side { INGRESS, EGRESS, SIDES };

struct place {
	struct iface iface;
	int links[SIDES];		     /* -1: a filter that the guard keeps, or nothing */
	bool pinned[SIDES];		     /* when it was found */
	struct clsact_filter filters[SIDES]; /* priority 0: none */
	char how[16];			     /* "xdp+tcx" */
	bool gone;
};

/* A link that was pinned when we came. */
struct found_link {
	uint32_t ifindex;
	enum side side;
	bool is_xdp;
	int fd; /* -1: taken */
};

#define LINK_NAME "link-%" PRIu32 "-%u" /* ifindex, side */
#define MAX_FOUND 4096

struct hooks {
	const struct pins *pins; /* NULL: links go with the process */
	struct found_link *found;
	size_t n_found;
	const struct datapath *datapath;
	enum hooks_mode mode;
	bool no_tcx; /* the kernel does not know it */
	struct guard *guard;
	struct place *places;
	size_t n;
};

int hooks_open(const struct datapath *d, enum hooks_mode mode, struct hooks **ret)
{
	struct hooks *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->datapath = d;
	h->mode = mode;
	*ret = h;
	return 0;
}

/* --- pinned links ----------------------------------------------------------------- */

static void unpin(const struct hooks *h, uint32_t ifindex, unsigned side)
{
	char name[PINS_NAME_MAX];

	if (!h->pins)
		return;
	(void)snprintf(name, sizeof(name), LINK_NAME, ifindex, side);
	pins_remove(h->pins, name);
}

/* Counted all the same if that fails, as long as we live. */
static void pin(const struct hooks *h, uint32_t ifindex, enum side side, int link)
{
	char name[PINS_NAME_MAX];
	int err;

	if (!h->pins)
		return;
	(void)snprintf(name, sizeof(name), LINK_NAME, ifindex, side);
	pins_remove(h->pins, name); /* of an interface that had this number */
	err = pins_put(h->pins, name, link);
	if (err)
		log_warn("cannot pin %s: %s", name, strerror(-err));
}

static void find_link(const char *name, void *arg)
{
	struct hooks *h = arg;
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);
	struct found_link found;
	struct found_link *more;
	unsigned side;

	if (sscanf(name, LINK_NAME, &found.ifindex, &side) != 2 || side >= SIDES ||
	    h->n_found == MAX_FOUND)
		return;
	found.side = (enum side)side;
	found.fd = pins_get(h->pins, name);
	/* xdp.ifindex and tcx.ifindex are the same bytes; 0: the interface is gone. */
	if (found.fd < 0 || bpf_obj_get_info_by_fd(found.fd, &info, &len) != 0 ||
	    info.xdp.ifindex != found.ifindex) {
		pins_remove(h->pins, name);
		if (found.fd >= 0)
			close(found.fd);
		return;
	}
	found.is_xdp = info.type == BPF_LINK_TYPE_XDP;
	more = realloc(h->found, (h->n_found + 1) * sizeof(*more));
	if (!more) {
		close(found.fd); /* it is replaced later */
		return;
	}
	h->found = more;
	more[h->n_found++] = found;
}

void hooks_pin(struct hooks *h, const struct pins *pins)
{
	h->pins = pins;
	pins_each(pins, find_link, h);
}

static void drop_found(const struct hooks *h, struct found_link *found)
{
	unpin(h, found->ifindex, found->side);
	(void)bpf_link_detach(found->fd); /* at the latest when it is closed */
	close(take_fd(&found->fd));
}

void hooks_drop_found(struct hooks *h)
{
	for (size_t i = 0; i < h->n_found; i++)
		if (h->found[i].fd >= 0)
			drop_found(h, &h->found[i]);
	free(take_ptr(h->found));
	h->n_found = 0;
}

static enum datapath_prog tc_prog(const struct iface *iface, enum side side)
{
	if (iface->framing == IFACE_IP)
		return side == EGRESS ? DATAPATH_TC_EGRESS_L3 : DATAPATH_TC_INGRESS_L3;
	return side == EGRESS ? DATAPATH_TC_EGRESS : DATAPATH_TC_INGRESS;
}

/* A link fd, or -errno. */
static int link_xdp(const struct hooks *h, const struct iface *iface)
{
	static const enum datapath_prog progs[] = {DATAPATH_XDP_FRAGS, DATAPATH_XDP};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int link = -EOPNOTSUPP;

	for (size_t i = 0; i < 2 && link < 0 && link != -EBUSY; i++) {
		int prog = datapath_prog_fd(h->datapath, progs[i]);

		if (prog >= 0)
			link = bpf_link_create(prog, (int)iface->index, BPF_XDP, &opts);
	}
	return link;
}

static const char *xdp_refusal(int err)
{
	switch (err) {
	case -EBUSY:
	case -EEXIST:
		return "another XDP program is there";
	case -EOPNOTSUPP:
		return "the driver has no native XDP";
	case -ERANGE:
		return "its MTU is too large for XDP";
	default:
		return strerror(-err);
	}
}

static bool wants_xdp(const struct hooks *h, const struct iface *iface)
{
	if (h->mode == HOOKS_XDP && iface->framing != IFACE_ETHERNET)
		log_info("%s: no Ethernet header, which XDP needs; using TC", iface->name);
	if (iface->framing != IFACE_ETHERNET)
		return false;
	return h->mode == HOOKS_XDP || (h->mode == HOOKS_AUTO && iface->hardware);
}

static int attach_xdp(const struct hooks *h, struct place *p)
{
	int link = link_xdp(h, &p->iface);

	if (link < 0) {
		if (link != -EPERM && link != -ENODEV)
			log_info("%s: no XDP (%s); using TC for ingress", p->iface.name,
				 xdp_refusal(link));
		return link;
	}
	p->links[INGRESS] = link;
	return 0;
}

static int attach_tcx(struct hooks *h, struct place *p, enum side side)
{
	int prog = datapath_prog_fd(h->datapath, tc_prog(&p->iface, side));
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = MPROG_BEFORE);
	int link;

	if (h->mode == HOOKS_TC || h->no_tcx)
		return -EOPNOTSUPP;
	link = bpf_link_create(prog, (int)p->iface.index, side == EGRESS ? TCX_EGRESS : TCX_INGRESS,
			       &opts);
	if (link == -EINVAL) { /* an attach type that the kernel does not know */
		log_info("no TCX in this kernel (Linux 6.6 has it); using clsact filters");
		h->no_tcx = true;
		return -EOPNOTSUPP;
	}
	if (link < 0)
		return link;
	p->links[side] = link;
	return 0;
}

static int attach_filter(struct hooks *h, struct place *p, enum side side)
{
	int err = h->guard ? 0 : guard_open(&h->guard);

	if (err)
		return err;
	return guard_attach(h->guard, p->iface.index, side == EGRESS,
			    datapath_prog_fd(h->datapath, tc_prog(&p->iface, side)),
			    &p->filters[side]);
}

/* Gives a link that is there our program in place of the old one. */
static int take_over(struct hooks *h, struct place *p, struct found_link *found)
{
	static const enum datapath_prog xdp[] = {DATAPATH_XDP_FRAGS, DATAPATH_XDP};
	int err = -EINVAL;

	if (!found->is_xdp)
		err = bpf_link_update(
			found->fd, datapath_prog_fd(h->datapath, tc_prog(&p->iface, found->side)),
			NULL);
	for (size_t i = 0; found->is_xdp && i < 2 && err; i++) {
		int prog = datapath_prog_fd(h->datapath, xdp[i]);

		if (prog >= 0)
			err = bpf_link_update(found->fd, prog, NULL);
	}
	if (err)
		return err;
	p->links[found->side] = take_fd(&found->fd);
	p->pinned[found->side] = true;
	return 0;
}

static bool take_found(struct hooks *h, struct place *p, enum side side, const char **ret_how)
{
	for (size_t i = 0; i < h->n_found; i++) {
		struct found_link *found = &h->found[i];

		if (found->fd < 0 || found->ifindex != p->iface.index || found->side != side)
			continue;
		if (h->mode != HOOKS_TC && (!found->is_xdp || wants_xdp(h, &p->iface)) &&
		    take_over(h, p, found) == 0) {
			*ret_how = found->is_xdp ? "xdp" : "tcx";
			return true;
		}
		drop_found(h, found);
	}
	return false;
}

static int attach_side(struct hooks *h, struct place *p, enum side side, const char **ret_how)
{
	int err;

	if (take_found(h, p, side, ret_how))
		return 0;
	if (side == INGRESS && wants_xdp(h, &p->iface)) {
		err = attach_xdp(h, p);
		*ret_how = "xdp";
		if (!err || err == -EPERM || err == -ENODEV)
			return err;
	}
	err = attach_tcx(h, p, side);
	*ret_how = "tcx";
	if (err == -EOPNOTSUPP) {
		err = attach_filter(h, p, side);
		*ret_how = "tc";
	}
	return err;
}

/*
 * Links are detached at once: what is pinned would live on. Filters that nobody
 * detaches here go with the guard, at the latest.
 */
static void unlink_place(const struct hooks *h, const struct place *p)
{
	for (int side = 0; side < SIDES; side++) {
		if (p->links[side] < 0)
			continue;
		unpin(h, p->iface.index, (unsigned)side);
		close(p->links[side]);
	}
}

static void let_go(struct hooks *h, struct place *p)
{
	unlink_place(h, p);
	/* Backwards: the filter that made the qdisc comes last and finds it empty. */
	for (int side = SIDES - 1; side >= 0; side--) {
		int err = p->filters[side].priority ? guard_detach(h->guard, &p->filters[side]) : 0;

		if (err)
			log_debug("%s: cannot detach our filter: %s", p->iface.name,
				  strerror(-err));
		p->filters[side] = (struct clsact_filter){0};
		p->links[side] = -1;
	}
	p->gone = true;
}

/* One that an interface has left, or room for another; NULL without memory. */
static struct place *free_place(struct hooks *h)
{
	struct place *places;

	for (size_t i = 0; i < h->n; i++)
		if (h->places[i].gone)
			return &h->places[i];
	places = realloc(h->places, (h->n + 1) * sizeof(*places));
	if (!places)
		return NULL;
	h->places = places;
	return &places[h->n];
}

int hooks_attach(struct hooks *h, const struct iface *iface)
{
	struct place p = {.iface = *iface, .links = {-1, -1}};
	const char *how[SIDES];
	struct place *place = free_place(h);
	int err;

	if (!place)
		return -ENOMEM;

	err = attach_side(h, &p, INGRESS, &how[INGRESS]);
	if (!err)
		err = attach_side(h, &p, EGRESS, &how[EGRESS]);
	if (err) {
		let_go(h, &p);
		return err;
	}
	(void)snprintf(p.how, sizeof(p.how), "%s+%s", how[INGRESS], how[EGRESS]);
	for (int side = 0; side < SIDES; side++)
		if (p.links[side] >= 0 && !p.pinned[side])
			pin(h, iface->index, (enum side)side, p.links[side]);
	log_debug("%s: attached, %s", iface->name, p.how);
	if (place == &h->places[h->n])
		h->n++;
	*place = p;
	return 0;
}

/* A link whose program somebody has detached names no interface any more. */
static bool is_attached(const struct place *p, enum side side)
{
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);

	if (p->links[side] < 0)
		return clsact_is_attached(&p->filters[side]);
	/* xdp.ifindex and tcx.ifindex are the same bytes; Debian 12 has no header of TCX. */
	return bpf_obj_get_info_by_fd(p->links[side], &info, &len) == 0 && info.xdp.ifindex != 0;
}

size_t hooks_check(struct hooks *h)
{
	size_t detached = 0;

	for (size_t i = 0; i < h->n; i++) {
		struct place *p = &h->places[i];

		if (p->gone)
			continue;
		if (!iface_exists(p->iface.index)) {
			log_info("%s: the interface has been deleted, counting the others on",
				 p->iface.name);
			let_go(h, p);
		} else if (!is_attached(p, INGRESS) || !is_attached(p, EGRESS)) {
			log_warn("%s: somebody has detached our program, attaching it again",
				 p->iface.name);
			let_go(h, p);
			detached++;
		}
	}
	return detached;
}

bool hooks_has(const struct hooks *h, uint32_t ifindex)
{
	for (size_t i = 0; i < h->n; i++)
		if (!h->places[i].gone && h->places[i].iface.index == ifindex)
			return true;
	return false;
}

const char *hooks_describe(const struct hooks *h, size_t i, const struct iface **ret_iface)
{
	if (i >= h->n)
		return NULL;
	*ret_iface = &h->places[i].iface;
	return h->places[i].how;
}

void hooks_close(struct hooks *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		unlink_place(h, &h->places[i]);
	hooks_drop_found(h);
	guard_close(h->guard);
	datapath_settle();
	free(h->places);
	free(h);
}
