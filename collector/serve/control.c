// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "collector/serve/job.h"
#include "collector/serve/store.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/queue.h"

#define SUFFIX	    "-control"
#define REQUEST_MAX 4096
#define CLIENT_S    30 /* for one that is slower: only root and our own user are heard */
#define ANSWER_S    30 /* the disk may be slow */
#define START_MS    5000
#define PATH_BYTES  4096
#define BACKLOG	    16

struct control {
	struct queue *jobs;
	int fd, folder_fd;
	char name[256]; /* of the socket, in the folder */
};

DEFINE_CLEANUP(struct control *, control_close)
DEFINE_CLEANUP(struct store *, store_close)

/* --- the address -------------------------------------------------------------------- */

/*
 * The folder of the database and the socket's name in it: an address has 107
 * characters, a path may have more.
 */
static int open_folder(const char *db_path, char *ret_name, size_t size)
{
	const char *slash = strrchr(db_path, '/'), *name = slash ? slash + 1 : db_path;
	char folder[PATH_BYTES] = ".";
	int fd;

	if (snprintf(ret_name, size, "%s" SUFFIX, name) >= (int)size)
		return -ENAMETOOLONG;
	if (slash && snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - db_path), db_path) >=
			     (int)sizeof(folder))
		return -ENAMETOOLONG;
	fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int make_address(int folder_fd, const char *name, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", folder_fd,
		     name) >= (int)sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

static int set_timeout(int fd, int seconds)
{
	const struct timeval limit = {.tv_sec = seconds};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
		return -errno;
	return 0;
}

/* Reads to the end of the stream. Returns the length, or -errno. */
static ssize_t read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, buf + len, size - len, 0)) > 0) {
		len += (size_t)n;
		if (len == size)
			return -EMSGSIZE;
	}
	return n < 0 ? -errno : (ssize_t)len;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* --- the collector's side --------------------------------------------------------------- */

int control_open(const char *db_path, struct queue *jobs, struct control **ret)
{
	cleanup(control_close_p) struct control *c = calloc(1, sizeof(*c));
	struct sockaddr_un address;
	int err;

	if (!c)
		return -ENOMEM;
	c->jobs = jobs;
	c->fd = -1;
	c->folder_fd = open_folder(db_path, c->name, sizeof(c->name));
	if (c->folder_fd < 0)
		return c->folder_fd;
	err = make_address(c->folder_fd, c->name, &address);
	if (err)
		return err;
	(void)unlinkat(c->folder_fd, c->name, 0); /* of a collector that was killed */
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(address.sun_path, 0600) != 0 || listen(c->fd, BACKLOG) != 0)
		return -errno;
	*ret = take_ptr(c);
	return 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	if (c->fd >= 0) {
		close(c->fd);
		(void)unlinkat(c->folder_fd, c->name, 0); /* the next one does it, else */
	}
	if (c->folder_fd >= 0)
		close(c->folder_fd);
	free(c);
}

void control_finish(struct admin_request *r, bool committed)
{
	r->committed = committed;
	(void)sem_post(&r->done); /* fails only above INT_MAX */
}

static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static size_t split(const char *buf, size_t len, const char *words[ADMIN_MAX_WORDS])
{
	size_t n = 0;

	if (len == 0 || buf[len - 1] != '\0')
		return 0;
	for (size_t at = 0; at < len; at += strlen(buf + at) + 1) {
		if (n == ADMIN_MAX_WORDS)
			return 0;
		words[n++] = buf + at;
	}
	return n;
}

static void refuse(struct admin_reply *reply, int exit_code, const char *text)
{
	reply->exit_code = exit_code;
	(void)snprintf(reply->text, sizeof(reply->text), "%s", text);
}

/* Waits until the writer is done with it; it always gets there, if only to drop it. */
static void do_request(struct control *c, struct admin_request *r)
{
	struct job *job;

	if (job_new(JOB_ADMIN, r, 0, 0, &job) != 0) {
		refuse(&r->reply, EXIT_RUNTIME, "the collector is out of memory");
		return;
	}
	if (queue_push(c->jobs, job, 0) != 0) {
		job_free(job);
		refuse(&r->reply, EXIT_RUNTIME, "the collector is overloaded, try again");
		return;
	}
	while (sem_wait(&r->done) != 0)
		; /* EINTR */
	if (!r->applied || !r->committed)
		refuse(&r->reply, EXIT_RUNTIME, "the collector cannot write its database now");
}

static void serve(struct control *c, int fd)
{
	char request[REQUEST_MAX], code;
	struct admin_request r = {0};
	ssize_t len = read_all(fd, request, sizeof(request));

	if (len < 0)
		return;
	r.n = split(request, (size_t)len, r.words);
	(void)sem_init(&r.done, 0, 0); /* cannot fail with these values */
	if (may_ask(fd))
		do_request(c, &r);
	else
		refuse(&r.reply, EXIT_PERMISSION, "only root and the collector's user may do that");
	(void)sem_destroy(&r.done);
	code = (char)r.reply.exit_code;
	if (write_all(fd, &code, 1) == 0)
		(void)write_all(fd, r.reply.text, strlen(r.reply.text)); /* it has gone, then */
}

void control_run(struct control *c, int stop_fd)
{
	struct pollfd fds[] = {
		{.fd = stop_fd, .events = POLLIN},
		{.fd = c->fd, .events = POLLIN},
	};

	while (!fds[0].revents) {
		cleanup(close_p) int fd = -1;

		if (poll(fds, 2, -1) < 0 && errno != EINTR) {
			log_error("the control socket has failed: %s", strerror(errno));
			return;
		}
		if (!fds[1].revents)
			continue;
		fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0 && set_timeout(fd, CLIENT_S) == 0)
			serve(c, fd);
	}
}

/* --- the command's side ----------------------------------------------------------------- */

/* Returns the connected socket; -ENOENT, -ECONNREFUSED: nobody serves. */
static int connect_to(const char *db_path)
{
	cleanup(close_p) int folder_fd = -1, fd = -1;
	struct sockaddr_un address;
	char name[256];
	int err;

	folder_fd = open_folder(db_path, name, sizeof(name));
	if (folder_fd < 0)
		return folder_fd;
	err = make_address(folder_fd, name, &address);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	err = set_timeout(fd, ANSWER_S);
	return err ? err : take_fd(&fd);
}

static int ask(int fd, size_t n, const char *const *words, struct admin_reply *ret)
{
	char answer[1 + ADMIN_TEXT_MAX];
	ssize_t len;
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = write_all(fd, words[i], strlen(words[i]) + 1);
	if (!err && shutdown(fd, SHUT_WR) != 0)
		err = -errno;
	if (err)
		return err;
	len = read_all(fd, answer, sizeof(answer));
	if (len < 1)
		return len < 0 ? (int)len : -EIO;
	ret->exit_code = (unsigned char)answer[0];
	memcpy(ret->text, answer + 1, (size_t)len - 1);
	ret->text[len - 1] = '\0';
	return 0;
}

static int write_self(const char *db_path, size_t n, const char *const *words,
		      struct admin_reply *ret, const char **ret_why)
{
	cleanup(store_close_p) struct store *store = NULL;
	int err = store_open(db_path, &store, ret_why);

	if (err)
		return err;
	*ret_why = "cannot be written";
	return store_command(store, n, words, (int64_t)(clock_real_ns() / NS_PER_MS), ret);
}

int control_ask(const char *db_path, size_t n, const char *const *words, struct admin_reply *ret,
		const char **ret_why)
{
	uint64_t give_up_ns = clock_mono_ns() + START_MS * NS_PER_MS;
	int err;

	do {
		cleanup(close_p) int fd = connect_to(db_path);

		if (fd >= 0) {
			err = ask(fd, n, words, ret);
			*ret_why = "the collector that serves it does not answer";
			return err;
		}
		*ret_why = strerror(-fd);
		if (fd != -ENOENT && fd != -ECONNREFUSED)
			return fd;
		err = write_self(db_path, n, words, ret, ret_why);
		if (err == -EBUSY)
			(void)usleep(50000); /* it is starting, or ending */
	} while (err == -EBUSY && clock_mono_ns() < give_up_ns);
	return err;
}
