// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/guard.h"

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
#include "probe/clsact.h"

#define CHILD_SOCKET 3 /* after stdin, stdout, stderr */

struct guard {
	int socket;
	pid_t child;
};

struct request {
	uint32_t ifindex;
	bool egress;
};

/* --- in the child ---------------------------------------------------------- */

struct filters {
	struct clsact_filter *items;
	size_t n;
};

/* Receives one request with its program. Returns -EPIPE at the end. */
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
	c = n == (ssize_t)sizeof(req) ? CMSG_FIRSTHDR(&msg) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EPIPE;
	memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	*ret = req;
	return 0;
}

static int serve_one(struct filters *filters, const struct request *req, int prog_fd)
{
	struct clsact_filter *items;
	int err;

	items = realloc(filters->items, (filters->n + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	filters->items = items;
	err = clsact_attach(req->ifindex, req->egress, prog_fd, &items[filters->n]);
	if (!err)
		filters->n++;
	return err;
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
		int err = serve_one(&filters, &req, prog_fd);

		close(prog_fd);
		if (send(CHILD_SOCKET, &err, sizeof(err), 0) < 0)
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

int guard_attach(struct guard *g, uint32_t ifindex, bool egress, int prog_fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct request req = {.ifindex = ifindex, .egress = egress};
	struct iovec iov = {&req, sizeof(req)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t n;
	int err;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(prog_fd));
	memcpy(CMSG_DATA(c), &prog_fd, sizeof(prog_fd));
	if (sendmsg(g->socket, &msg, MSG_NOSIGNAL) < 0)
		return -errno;
	do
		n = recv(g->socket, &err, sizeof(err), 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(err) ? err : -EPIPE;
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
