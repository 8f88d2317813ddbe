// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/rtnl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

#define RECV_BYTES 32768 /* what iproute2 uses; the kernel fills at most 32 KiB a message */
#define BODY_MAX   128

struct request {
	struct nlmsghdr header;
	unsigned char body[BODY_MAX];
};

/* Visits the messages of one datagram. *done is set at the end of the dump. */
static int visit_all(const void *data, size_t size, rtnl_visit_fn visit, void *arg, int *done)
{
	const struct nlmsghdr *msg = data;
	int len = (int)size, err;

	for (; NLMSG_OK(msg, (unsigned)len); msg = NLMSG_NEXT(msg, len)) {
		if (msg->nlmsg_type == NLMSG_DONE) {
			*done = 1;
			return 0;
		}
		if (msg->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(msg))->error;
		err = visit(msg, arg);
		if (err)
			return err;
	}
	return 0;
}

int rtnl_dump(int type, const void *body, size_t body_len, rtnl_visit_fn visit, void *arg)
{
	struct request req = {
		.header = {.nlmsg_len = (__u32)NLMSG_LENGTH(body_len),
			   .nlmsg_type = (__u16)type,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	};
	cleanup(close_p) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	cleanup(free_p) void *data = malloc(RECV_BYTES);
	int done = 0, err = 0;

	if (fd < 0)
		return -errno;
	if (!data)
		return -ENOMEM;
	if (body_len > sizeof(req.body))
		return -EINVAL;
	memcpy(req.body, body, body_len);
	if (send(fd, &req, req.header.nlmsg_len, 0) < 0)
		return -errno;

	while (!done && !err) {
		ssize_t n = recv(fd, data, RECV_BYTES, 0);

		if (n < 0)
			return -errno;
		err = visit_all(data, (size_t)n, visit, arg, &done);
	}
	return err;
}

int rtnl_watch_links(void)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	cleanup(close_p) int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		return -errno;
	return take_fd(&fd);
}

bool rtnl_links_changed(int fd)
{
	char news[512]; /* what it was does not matter: the caller looks at all links */
	bool changed = false;

	/* An overrun (ENOBUFS) is news as well, and the queue goes on after it. */
	while (recv(fd, news, sizeof(news), 0) >= 0 || errno == ENOBUFS)
		changed = true;
	return changed;
}

const struct rtattr *rtnl_attr(const struct rtattr *first, int len, int type)
{
	for (; RTA_OK(first, len); first = RTA_NEXT(first, len))
		if ((first->rta_type & NLA_TYPE_MASK) == type)
			return first;
	return NULL;
}
