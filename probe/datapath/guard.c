// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "probe/datapath/clsact.h"

#define CHILD_SOCKET 3 /* after stdin, stdout, stderr */

struct guard {
	int socket;
	pid_t child;
};

/* With a program: attach it there. Without: detach that filter. */
struct request {
	struct clsact_filter filter;
};

struct answer {
	int err;
	struct clsact_filter filter; /* attached */
};

/* --- in the child ---------------------------------------------------------- */

struct filters {
	struct clsact_filter *items;
	size_t n;
};

/* Receives one request and its program, -1 if there is none. Returns -EPIPE at the end. */
static int recv_request(struct request *ret, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct request req;
	struct iovec iov = {&req, sizeof(req)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(CHILD_SOCKET, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(req))
		return -EPIPE;
	c = CMSG_FIRSTHDR(&msg);
	*ret_fd = -1;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	*ret = req;
	return 0;
}

static int attach_one(struct filters *filters, const struct request *req, int prog_fd,
		      struct clsact_filter *ret)
{
	struct clsact_filter *items;
	int err;

	items = realloc(filters->items, (filters->n + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	filters->items = items;
	err = clsact_attach(req->filter.ifindex, req->filter.egress, prog_fd, &items[filters->n]);
	if (!err)
		*ret = items[filters->n++];
	return err;
}

static int detach_one(struct filters *filters, const struct clsact_filter *wanted)
{
	for (size_t i = 0; i < filters->n; i++) {
		struct clsact_filter f = filters->items[i];

		if (f.ifindex != wanted->ifindex || f.egress != wanted->egress ||
		    f.priority != wanted->priority)
			continue;
		filters->n--;
		memmove(&filters->items[i], &filters->items[i + 1],
			(filters->n - i) * sizeof(*filters->items));
		return clsact_detach(&f);
	}
	return -ENOENT;
}

static void detach_all(struct filters *filters)
{
	/* Backwards: whoever made the qdisc comes last and finds it empty. */
	while (filters->n--) {
		const struct clsact_filter *f = &filters->items[filters->n];
		int err = clsact_detach(f);

		if (err)
			log_warn("interface %u: cannot detach our %s filter, priority %u: %s",
				 f->ifindex, f->egress ? "egress" : "ingress", f->priority,
				 strerror(-err));
	}
	free(filters->items);
}

/* Keeps stderr and the socket: nobody shall wait for us because of the rest. */
static void leave_parent(int sock)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	int null = open("/dev/null", O_RDWR);

	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		(void)signal(ignored[i], SIG_IGN); /* cannot fail for these */
	(void)setsid();				   /* fails only for a group leader */
	(void)prctl(PR_SET_NAME, "weir-guard");	   /* for ps only */
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO); /* else they stay open, which does no harm */
		(void)dup2(null, STDOUT_FILENO);
	}
	if (dup2(sock, CHILD_SOCKET) < 0)
		_exit(1);
	(void)syscall(SYS_close_range, CHILD_SOCKET + 1, ~0u, 0); /* Linux 5.9 */
}

static _Noreturn void child_main(int sock)
{
	struct filters filters = {0};
	struct request req;
	int prog_fd;

	leave_parent(sock);
	(void)libbpf_set_print(NULL); /* the parent reports what we answer */
	while (recv_request(&req, &prog_fd) == 0) {
		struct answer answer = {0};

		if (prog_fd >= 0) {
			answer.err = attach_one(&filters, &req, prog_fd, &answer.filter);
			close(prog_fd);
		} else {
			answer.err = detach_one(&filters, &req.filter);
		}
		if (send(CHILD_SOCKET, &answer, sizeof(answer), 0) < 0)
			break;
	}
	detach_all(&filters);
	_exit(0);
}

/* --- in the parent --------------------------------------------------------- */

int guard_open(struct guard **ret)
{
	struct guard *g;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	g = malloc(sizeof(*g));
	if (!g) {
		close(pair[0]);
		close(pair[1]);
		return -ENOMEM;
	}
	g->socket = pair[0];
	g->child = fork();
	if (g->child == 0)
		child_main(pair[1]);
	close(pair[1]);
	if (g->child < 0) {
		int err = -errno;

		close(g->socket);
		free(g);
		return err;
	}
	*ret = g;
	return 0;
}

/* prog_fd -1: none goes with it. */
static int ask(struct guard *g, struct request *req, int prog_fd, struct answer *ret)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {req, sizeof(*req)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	ssize_t n;

	if (prog_fd >= 0) {
		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(prog_fd));
		memcpy(CMSG_DATA(c), &prog_fd, sizeof(prog_fd));
	}
	if (sendmsg(g->socket, &msg, MSG_NOSIGNAL) < 0)
		return -errno;
	do
		n = recv(g->socket, ret, sizeof(*ret), 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*ret) ? ret->err : -EPIPE;
}

int guard_attach(struct guard *g, uint32_t ifindex, bool egress, int prog_fd,
		 struct clsact_filter *ret)
{
	struct request req = {.filter = {.ifindex = ifindex, .egress = egress}};
	struct answer answer;
	int err = ask(g, &req, prog_fd, &answer);

	if (!err)
		*ret = answer.filter;
	return err;
}

int guard_detach(struct guard *g, const struct clsact_filter *filter)
{
	struct request req = {.filter = *filter};
	struct answer answer;

	return ask(g, &req, -1, &answer);
}

void guard_close(struct guard *g)
{
	if (!g)
		return;
	close(g->socket);
	while (waitpid(g->child, NULL, 0) < 0 && errno == EINTR)
		;
	free(g);
}
