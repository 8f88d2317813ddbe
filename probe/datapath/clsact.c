// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/clsact.h"

#include <errno.h>

#include <linux/pkt_sched.h>

#include <bpf/libbpf.h>

#include "probe/datapath/rtnl.h"

/*
 * Lower priorities run first, and a filter that accepts a packet hides it from
 * those behind: so we look for a place from the front.
 */
#define FIRST_PRIORITY 1
#define LAST_PRIORITY  64
#define HANDLE	       1

static struct bpf_tc_hook hook_of(uint32_t ifindex, enum bpf_tc_attach_point point)
{
	return (struct bpf_tc_hook){
		.sz = sizeof(struct bpf_tc_hook),
		.ifindex = (int)ifindex,
		.attach_point = point,
	};
}

static enum bpf_tc_attach_point point_of(bool egress)
{
	return egress ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

static int found_filter(const struct nlmsghdr *msg, void *arg)
{
	if (msg->nlmsg_type == RTM_NEWTFILTER)
		*(bool *)arg = true;
	return 0;
}

/* Whether anybody has a filter in the clsact qdisc; if we cannot tell, somebody has. */
static bool in_use(uint32_t ifindex)
{
	static const __u32 parents[] = {TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
					TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)};
	bool used = false;

	for (unsigned i = 0; i < 2 && !used; i++) {
		struct tcmsg body = {.tcm_ifindex = (int)ifindex, .tcm_parent = parents[i]};

		if (rtnl_dump(RTM_GETTFILTER, &body, sizeof(body), found_filter, &used) != 0)
			used = true;
	}
	return used;
}

static void remove_unused_qdisc(uint32_t ifindex)
{
	struct bpf_tc_hook hook = hook_of(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);

	if (!in_use(ifindex))
		(void)bpf_tc_hook_destroy(&hook); /* an empty qdisc does no harm */
}

int clsact_attach(uint32_t ifindex, bool egress, int prog_fd, struct clsact_filter *ret)
{
	struct bpf_tc_hook hook = hook_of(ifindex, point_of(egress));
	bool made_qdisc;
	int err;

	err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	made_qdisc = !err;

	for (uint32_t priority = FIRST_PRIORITY; priority <= LAST_PRIORITY; priority++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = priority,
			    .prog_fd = prog_fd);

		err = bpf_tc_attach(&hook, &opts);
		if (err == -EEXIST || err == -EINVAL)
			continue; /* taken, by BPF or by another kind of filter */
		if (err)
			break;
		*ret = (struct clsact_filter){
			.ifindex = ifindex,
			.priority = priority,
			.prog_id = opts.prog_id,
			.egress = egress,
			.made_qdisc = made_qdisc,
		};
		return 0;
	}
	if (made_qdisc)
		remove_unused_qdisc(ifindex);
	return err;
}

/* 0, or -errno: also if another program is there. */
static int find(const struct clsact_filter *filter)
{
	struct bpf_tc_hook hook = hook_of(filter->ifindex, point_of(filter->egress));
	LIBBPF_OPTS(bpf_tc_opts, found, .handle = HANDLE, .priority = filter->priority);
	int err = bpf_tc_query(&hook, &found);

	return !err && found.prog_id != filter->prog_id ? -ENOENT : err;
}

/* Whether that error of find() means that our filter is not there. */
static bool is_gone(int err)
{
	/* Kernels say EINVAL where the qdisc has gone. */
	return err == -ENOENT || err == -ENODEV || err == -EINVAL;
}

bool clsact_is_attached(const struct clsact_filter *filter)
{
	return !is_gone(find(filter)); /* if we cannot tell, it has not gone */
}

int clsact_detach(const struct clsact_filter *filter)
{
	struct bpf_tc_hook hook = hook_of(filter->ifindex, point_of(filter->egress));
	LIBBPF_OPTS(bpf_tc_opts, gone, .handle = HANDLE, .priority = filter->priority);
	int err;

	err = find(filter);
	if (!err)
		err = bpf_tc_detach(&hook, &gone);
	if (filter->made_qdisc)
		remove_unused_qdisc(filter->ifindex);
	return is_gone(err) ? 0 : err;
}
