// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/stack/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "bpf/sockets_abi.h"
#include "bpf/tally_abi.h"
#include "common/cleanup.h"
#include "probe/stack/missed.h"
#include "probe/stack/owners.h"
#include "probe/stack/tally.h"
#include "sockets.skel.h"

#ifndef SO_NETNS_COOKIE /* Linux 5.14 */
#define SO_NETNS_COOKIE 71
#endif

#define RETRANS_ARGS 4 /* of the tracepoint with its error, and one that is always there */
#define READ_RECORDS 256
#define ROOT_INODE   1 /* of the root of cgroup2 */

struct sockets {
	struct sockets_bpf *skel;
	struct owners *owners;
	struct ring_buffer *ring;
	int cgroup_fd;
	int udp_error;
};

DEFINE_CLEANUP(struct sockets *, sockets_close)
DEFINE_CLEANUP(struct btf *, btf__free)

/* --- load, attach ------------------------------------------------------------------ */

static int netns_cookie(__u64 *ret)
{
	cleanup(close_p) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &len) != 0)
		return -errno;
	return 0;
}

/* Whether the tracepoint says if the segment left (Linux 6.16). */
static bool retrans_has_err(const struct btf *btf)
{
	int id = btf__find_by_name_kind(btf, "btf_trace_tcp_retransmit_skb", BTF_KIND_TYPEDEF);
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;

	t = t ? btf__type_by_id(btf, t->type) : NULL;
	t = t && btf_is_ptr(t) ? btf__type_by_id(btf, t->type) : NULL;
	return t && btf_is_func_proto(t) && btf_vlen(t) >= RETRANS_ARGS;
}

static int load(struct sockets *s)
{
	cleanup(btf__free_p) struct btf *btf = btf__load_vmlinux_btf();
	struct stat pidns;
	__u64 cookie = 0;
	int err = -errno;

	if (!btf)
		return err ? err : -ENOENT;
	if (stat("/proc/self/ns/pid", &pidns) != 0)
		return -ENOENT; /* no /proc */
	err = netns_cookie(&cookie);
	if (err)
		return err;
	s->skel = sockets_bpf__open();
	err = -errno;
	if (!s->skel)
		return err < 0 ? err : -ENOMEM;
	s->skel->rodata->netns_cookie = cookie;
	s->skel->rodata->pidns = (uint32_t)pidns.st_ino;
	s->skel->rodata->retrans_has_err = retrans_has_err(btf);
	return sockets_bpf__load(s->skel);
}

/* The root of the version 2 hierarchy, as far as this process sees it. */
static int open_cgroup(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	int fd = -ENOENT;

	if (!mounts)
		return -errno;
	while (fd < 0 && (m = getmntent(mounts))) {
		if (strcmp(m->mnt_type, "cgroup2") != 0)
			continue;
		fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	endmntent(mounts);
	return fd;
}

static int attach_udp(struct sockets *s)
{
	struct sockets_bpf *k = s->skel;
	struct stat root;

	s->cgroup_fd = open_cgroup();
	if (s->cgroup_fd < 0)
		return s->cgroup_fd;
	k->links.weir_sock_create =
		bpf_program__attach_cgroup(k->progs.weir_sock_create, s->cgroup_fd);
	if (!k->links.weir_sock_create)
		return -errno;
	k->links.weir_sock_release =
		bpf_program__attach_cgroup(k->progs.weir_sock_release, s->cgroup_fd);
	if (!k->links.weir_sock_release)
		return -errno;
	return fstat(s->cgroup_fd, &root) == 0 && root.st_ino == ROOT_INODE ? 0 : -EXDEV;
}

static int attach(struct sockets *s)
{
	struct sockets_bpf *k = s->skel;
	struct {
		struct bpf_program *prog;
		struct bpf_link **link;
	} const all[] = {
		{k->progs.weir_sock_state, &k->links.weir_sock_state},
		{k->progs.weir_retrans, &k->links.weir_retrans},
		{k->progs.weir_retrans_synack, &k->links.weir_retrans_synack},
		{k->progs.weir_files, &k->links.weir_files},
		{k->progs.weir_udp, &k->links.weir_udp},
		{k->progs.weir_listeners, &k->links.weir_listeners},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		*all[i].link = bpf_program__attach(all[i].prog);
		if (!*all[i].link)
			return -errno;
	}
	s->udp_error = attach_udp(s);
	return 0;
}

/* --- the ring ------------------------------------------------------------------------- */

static int on_news(void *arg, void *data, size_t len)
{
	struct sockets *s = arg;
	const struct sock_event *ev = data;

	if (len >= sizeof(struct sock_cgroup) && ev->kind == SOCK_CGROUP)
		owners_cgroup(s->owners, data);
	else if (len >= sizeof(*ev))
		owners_event(s->owners, ev, false);
	return 0;
}

void sockets_consume(struct sockets *s)
{
	(void)ring_buffer__consume(s->ring); /* on_news() never fails */
}

int sockets_fd(const struct sockets *s)
{
	return ring_buffer__epoll_fd(s->ring);
}

uint64_t sockets_lost(const struct sockets *s)
{
	return s->skel->bss->sock_lost;
}

uint64_t sockets_missed(const struct sockets *s)
{
	return missed_runs(s->skel->obj);
}

int sockets_udp_error(const struct sockets *s)
{
	return s->udp_error;
}

/* --- iterators ------------------------------------------------------------------------ */

/* Returns false when it has seen enough. */
typedef bool (*record_fn)(struct sockets *s, const void *record, void *arg);

/* The kernel hands out whole records only, but a read may end anywhere between them. */
static int iterate(struct sockets *s, struct bpf_link *link, size_t size, record_fn visit,
		   void *arg)
{
	cleanup(free_p) uint8_t *buf = malloc(size * READ_RECORDS);
	cleanup(close_p) int fd = bpf_iter_create(bpf_link__fd(link));
	size_t have = 0;

	if (!buf)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, buf + have, size * READ_RECORDS - have);
		size_t at = 0;

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (have += (size_t)n; have - at >= size; at += size)
			if (!visit(s, buf + at, arg))
				return 0;
		have -= at;
		memmove(buf, buf + at, have);
	}
}

static bool on_existing(struct sockets *s, const void *record, void *arg)
{
	(void)arg; /* owners are all that is told */
	owners_event(s->owners, record, true);
	return true;
}

int sockets_read_all(struct sockets *s)
{
	return iterate(s, s->skel->links.weir_files, sizeof(struct sock_event), on_existing, NULL);
}

int sockets_read_udp(struct sockets *s)
{
	return s->udp_error && s->udp_error != -EXDEV
		       ? 0
		       : iterate(s, s->skel->links.weir_udp, sizeof(struct sock_event), on_existing,
				 NULL);
}

struct listener_visit {
	sockets_listener_fn visit;
	void *arg;
};

static bool on_listener(struct sockets *s, const void *record, void *arg)
{
	const struct sock_listener *l = record;
	const struct listener_visit *v = arg;

	(void)s; /* for the caller alone */
	if (!l->local_port)
		return false;
	v->visit(l, v->arg);
	return true;
}

int sockets_read_listeners(struct sockets *s, sockets_listener_fn visit, void *arg)
{
	struct listener_visit v = {visit, arg};

	return iterate(s, s->skel->links.weir_listeners, sizeof(struct sock_listener), on_listener,
		       &v);
}

int sockets_read_tallies(struct sockets *s, struct tallies *t, uint64_t now_ns)
{
	return tallies_read(t, bpf_map__fd(s->skel->maps.tallies), sockets_tally_state(s), now_ns);
}

const struct tally_state *sockets_tally_state(const struct sockets *s)
{
	return &s->skel->bss->tally_state;
}

/* --- the whole -------------------------------------------------------------------------- */

int sockets_open(struct owners *owners, struct sockets **ret)
{
	cleanup(sockets_close_p) struct sockets *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->owners = owners;
	s->cgroup_fd = -1;
	err = load(s);
	if (err)
		return err;
	s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.news), on_news, s, NULL);
	if (!s->ring)
		return -errno;
	err = attach(s);
	if (!err) /* from here on what is new is told; now what was there before */
		err = sockets_read_all(s);
	if (err)
		return err;
	sockets_consume(s);
	*ret = take_ptr(s);
	return 0;
}

void sockets_close(struct sockets *s)
{
	if (!s)
		return;
	ring_buffer__free(s->ring);
	sockets_bpf__destroy(s->skel);
	if (s->cgroup_fd >= 0)
		close(s->cgroup_fd);
	free(s);
}
