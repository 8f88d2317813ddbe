// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/datapath.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "probe/datapath/pins.h"
#include "probe/datapath/settlement.h"
#include "weir.skel.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"

#ifndef CAP_BPF /* Linux 5.8 */
#define CAP_PERFMON 38
#define CAP_BPF	    39
#endif

struct datapath {
	struct weir_bpf *skel;
	uint64_t seed; /* of the hash */
	int n_cpus;
	int prog_fds[DATAPATH_PROG_MAX];
	struct datapath_table table;
};

/* libbpf's warnings explain an error that we log ourselves: one level lower. */
static int log_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	enum log_level ours = level == LIBBPF_WARN ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
	cleanup(free_p) char *text = NULL;
	char *rest, *line;

	if (level == LIBBPF_DEBUG || !log_enabled(ours))
		return 0;
	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL; /* unspecified after a failure */
		return 0;
	}
	rest = text;
	while ((line = strsep(&rest, "\n")))
		if (*line)
			log_write(ours, "%s", line);
	return 0;
}

static int effective_capabilities(uint64_t *ret)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) != 0)
		return -errno;
	*ret = (uint64_t)data[1].effective << 32 | data[0].effective;
	return 0;
}

int datapath_check(void)
{
	uint64_t have = 0, net = 1ull << CAP_NET_ADMIN, admin = 1ull << CAP_SYS_ADMIN;
	uint64_t bpf = 1ull << CAP_BPF | 1ull << CAP_PERFMON;
	int err;

	err = effective_capabilities(&have);
	if (err)
		return err;
	if (!(have & net) || (!(have & admin) && (have & bpf) != bpf))
		return -EPERM;
	return access(BTF_PATH, R_OK) == 0 ? 0 : -ENOENT;
}

/* Maps count against this limit before Linux 5.11; a load error will tell if it was needed. */
static void raise_memlock(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &unlimited) != 0)
		log_debug("cannot raise RLIMIT_MEMLOCK: %s", strerror(errno));
}

static int set_sizes(struct weir_bpf *skel, uint32_t n_slots, uint64_t seed)
{
	int err;

	skel->rodata->bucket_mask = n_slots / 2 - 1;
	skel->rodata->slot_mask = n_slots - 1;
	skel->rodata->hash_seed = seed;
	err = bpf_map__set_max_entries(skel->maps.buckets, n_slots / 2);
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.slots, n_slots);
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.perf, n_slots);
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.free_ring, n_slots + 1);
	return err;
}

/* A replay runs one of the programs: the verifier need not read the others. */
static int choose_programs(struct weir_bpf *skel, bool replaying, bool with_frags)
{
	struct bpf_program *const rest[] = {
		skel->progs.weir_xdp,
		skel->progs.weir_tc_egress,
		skel->progs.weir_tc_ingress_l3,
		skel->progs.weir_tc_egress_l3,
	};
	int err = bpf_program__set_autoload(skel->progs.weir_xdp_frags, with_frags && !replaying);

	for (size_t i = 0; !err && replaying && i < sizeof(rest) / sizeof(*rest); i++)
		err = bpf_program__set_autoload(rest[i], false);
	return err;
}

static int make_room_for_other_ethertypes(struct weir_bpf *skel)
{
	const uint32_t key = FLOW_ETHERTYPE_OTHER;
	const struct flow_ethertype none = {0};

	return bpf_map_update_elem(bpf_map__fd(skel->maps.ethertypes), &key, &none, BPF_ANY);
}

/* How to open: what the public functions differ in. */
struct recipe {
	uint32_t n_slots;
	uint64_t seed; /* 0 in a replay, which has the same result each time */
	bool replaying;
	bool with_frags;
	const struct pins *reuse; /* maps are there already; NULL: make them */
};

static bool same_shape(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map);
}

/* Ethertypes are a detail of packets_not_ip, and have no settlement: they begin anew. */
static bool outlives(const struct bpf_map *map)
{
	return !bpf_map__is_internal(map) && strcmp(bpf_map__name(map), "ethertypes") != 0;
}

static int reuse_maps(const struct weir_bpf *skel, const struct pins *pins)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, skel->obj)
	{
		cleanup(close_p) int fd = -1;

		if (!outlives(map))
			continue;
		fd = pins_get(pins, bpf_map__name(map));
		if (fd < 0 || !same_shape(map, fd) || bpf_map__reuse_fd(map, fd) != 0)
			return -ESTALE;
	}
	return 0;
}

static int load(const struct recipe *how, struct weir_bpf **ret)
{
	struct weir_bpf *skel = weir_bpf__open();
	int err = -errno;

	if (!skel)
		return err < 0 ? err : -ENOMEM;
	skel->rodata->replaying = how->replaying;
	skel->rodata->copy_payloads = true;
	err = set_sizes(skel, how->n_slots, how->seed);
	if (!err)
		err = choose_programs(skel, how->replaying, how->with_frags);
	if (!err && how->reuse)
		err = reuse_maps(skel, how->reuse);
	if (!err)
		err = weir_bpf__load(skel);
	if (!err)
		err = make_room_for_other_ethertypes(skel);
	if (err) {
		weir_bpf__destroy(skel);
		return err;
	}
	*ret = skel;
	return 0;
}

/* --- the flow table in shared memory ------------------------------------------- */

/* NULL with errno set. */
static void *map_array(const struct bpf_map *map, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

static void unmap(void *at, size_t bytes)
{
	if (at)
		(void)munmap(at, bytes); /* a mapping of ours: cannot fail */
}

static size_t ring_bytes(const struct datapath_table *t)
{
	return ((size_t)t->n_slots + 1) * sizeof(*t->ring);
}

static int map_table(struct datapath *d, uint32_t n_slots, bool is_new)
{
	struct datapath_table *t = &d->table;

	t->n_slots = n_slots;
	t->buckets = map_array(d->skel->maps.buckets, n_slots / 2 * sizeof(*t->buckets));
	t->slots = map_array(d->skel->maps.slots, n_slots * sizeof(*t->slots));
	t->perf = map_array(d->skel->maps.perf, n_slots * sizeof(*t->perf));
	t->ring = map_array(d->skel->maps.free_ring, ring_bytes(t));
	if (!t->buckets || !t->slots || !t->perf || !t->ring)
		return errno ? -errno : -ENOMEM;
	for (uint32_t i = 0; is_new && i < n_slots; i++)
		t->ring[1 + i].head = i; /* all are free */
	if (is_new)
		t->ring[0].tail = n_slots;
	return 0;
}

static void unmap_table(const struct datapath_table *t)
{
	unmap(t->buckets, t->n_slots / 2 * sizeof(*t->buckets));
	unmap(t->slots, t->n_slots * sizeof(*t->slots));
	unmap(t->perf, t->n_slots * sizeof(*t->perf));
	unmap(t->ring, ring_bytes(t));
}

static void note_programs(struct datapath *d)
{
	const struct bpf_program *progs[DATAPATH_PROG_MAX] = {
		[DATAPATH_XDP_FRAGS] = d->skel->progs.weir_xdp_frags,
		[DATAPATH_XDP] = d->skel->progs.weir_xdp,
		[DATAPATH_TC_INGRESS] = d->skel->progs.weir_tc_ingress,
		[DATAPATH_TC_EGRESS] = d->skel->progs.weir_tc_egress,
		[DATAPATH_TC_INGRESS_L3] = d->skel->progs.weir_tc_ingress_l3,
		[DATAPATH_TC_EGRESS_L3] = d->skel->progs.weir_tc_egress_l3,
	};

	for (int i = 0; i < DATAPATH_PROG_MAX; i++) {
		int fd = bpf_program__fd(progs[i]);

		d->prog_fds[i] = fd < 0 ? -1 : fd;
	}
}

static uint32_t power_of_two(uint32_t at_least)
{
	uint32_t n = 2;

	while (n < at_least)
		n *= 2;
	return n;
}

static int open_with(struct recipe *how, struct datapath **ret)
{
	struct datapath *d;
	int err;

	(void)libbpf_set_print(log_libbpf); /* the print function before is of no use to us */
	raise_memlock();
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->seed = how->seed;
	d->n_cpus = libbpf_num_possible_cpus();
	err = d->n_cpus < 0 ? d->n_cpus : load(how, &d->skel);
	if (err == -EINVAL) { /* xdp.frags is new in Linux 5.18 */
		log_debug("loading again without the program for XDP fragments");
		how->with_frags = false;
		err = load(how, &d->skel);
	}
	if (!err)
		err = map_table(d, how->n_slots, !how->reuse);
	if (err) {
		datapath_close(d);
		return err;
	}
	note_programs(d);
	*ret = d;
	return 0;
}

static int open_new(uint32_t max_flows, bool replaying, struct datapath **ret)
{
	struct recipe how = {.replaying = replaying, .with_frags = true};

	if (max_flows == 0 || max_flows > DATAPATH_MAX_FLOWS)
		return -EINVAL;
	how.n_slots = power_of_two(max_flows);
	if (!replaying && getrandom(&how.seed, sizeof(how.seed), 0) != (ssize_t)sizeof(how.seed))
		return -EIO;
	return open_with(&how, ret);
}

int datapath_open(uint32_t max_flows, struct datapath **ret)
{
	return open_new(max_flows, false, ret);
}

int datapath_open_replay(uint32_t max_flows, struct datapath **ret)
{
	return open_new(max_flows, true, ret);
}

int datapath_open_pinned(uint32_t max_flows, const struct pins *pins,
			 const struct settled_table *settled, struct datapath **ret)
{
	struct recipe how = {.with_frags = true, .reuse = pins};

	if (!settled)
		return datapath_open(max_flows, ret);
	how.n_slots = settled->n_slots;
	how.seed = settled->hash_seed;
	return open_with(&how, ret);
}

int datapath_pin(const struct datapath *d, const struct pins *pins)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, d->skel->obj)
	{
		if (!err && outlives(map))
			err = pins_put(pins, bpf_map__name(map), bpf_map__fd(map));
	}
	return err;
}

/* FLOW_CNT_SEEN is the first number of the map "counters" in every layout. */
uint64_t datapath_pinned_seen(const struct pins *pins)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info), zero = 0;
	int n_cpus = libbpf_num_possible_cpus();
	cleanup(close_p) int fd = pins_get(pins, "counters");
	cleanup(free_p) uint64_t *values = NULL;
	uint64_t sum = 0, words;

	if (fd < 0 || n_cpus < 1 || bpf_obj_get_info_by_fd(fd, &info, &len) != 0 ||
	    info.type != BPF_MAP_TYPE_PERCPU_ARRAY || info.value_size < sizeof(*values))
		return 0;
	words = (info.value_size + 7) / 8;
	values = calloc((size_t)n_cpus, words * sizeof(*values));
	if (!values || bpf_map_lookup_elem(fd, &zero, values) != 0)
		return 0;
	for (int cpu = 0; cpu < n_cpus; cpu++)
		sum += values[(uint64_t)cpu * words];
	return sum;
}

uint64_t datapath_hash_seed(const struct datapath *d)
{
	return d->seed;
}

int datapath_replay(struct datapath *d, const struct flow_replay *packet, const void *frame,
		    size_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len);
	int err;

	d->skel->bss->replay = *packet;
	err = bpf_prog_test_run_opts(d->prog_fds[DATAPATH_TC_INGRESS], &opts);
	return err < 0 ? err : 0;
}

void datapath_close(struct datapath *d)
{
	if (!d)
		return;
	unmap_table(&d->table);
	weir_bpf__destroy(d->skel);
	free(d);
}

const struct datapath_table *datapath_table(const struct datapath *d)
{
	return &d->table;
}

int datapath_prog_fd(const struct datapath *d, enum datapath_prog prog)
{
	return d->prog_fds[prog];
}

int datapath_payloads_fd(const struct datapath *d)
{
	return bpf_map__fd(d->skel->maps.payloads);
}

void datapath_settle(void)
{
	/* Kernels with nohz_full refuse it; a packet does not take 100 ms. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
		(void)usleep(100000); /* a signal cannot hurry it: they are blocked */
}

int datapath_counters(const struct datapath *d, uint64_t ret[FLOW_CNT_MAX])
{
	cleanup(free_p) struct flow_counters *per_cpu = calloc((size_t)d->n_cpus, sizeof(*per_cpu));
	struct flow_counters sums = {0};
	uint32_t zero = 0;
	int err;

	if (!per_cpu)
		return -ENOMEM;
	err = bpf_map_lookup_elem(bpf_map__fd(d->skel->maps.counters), &zero, per_cpu);
	if (err)
		return err;
	for (int cpu = 0; cpu < d->n_cpus; cpu++)
		for (size_t i = 0; i < FLOW_CNT_MAX; i++)
			sums.n[i] += per_cpu[cpu].n[i];
	memcpy(ret, sums.n, sizeof(sums.n));
	return 0;
}

int datapath_catch_all(const struct datapath *d, struct flow_totals ret[FLOW_HOOK_MAX])
{
	cleanup(free_p) struct flow_totals *per_cpu = calloc((size_t)d->n_cpus, sizeof(*per_cpu));
	struct flow_totals sums[FLOW_HOOK_MAX] = {0};

	if (!per_cpu)
		return -ENOMEM;
	for (uint32_t i = 0; i < FLOW_HOOK_MAX; i++) {
		int err = bpf_map_lookup_elem(bpf_map__fd(d->skel->maps.catch_all), &i, per_cpu);

		if (err)
			return err;
		for (int cpu = 0; cpu < d->n_cpus; cpu++) {
			sums[i].packets += per_cpu[cpu].packets;
			sums[i].bytes += per_cpu[cpu].bytes;
			if (per_cpu[cpu].last_ns > sums[i].last_ns)
				sums[i].last_ns = per_cpu[cpu].last_ns;
		}
	}
	memcpy(ret, sums, sizeof(sums));
	return 0;
}

int datapath_ethertypes(const struct datapath *d, datapath_ethertype_fn visit, void *arg)
{
	int fd = bpf_map__fd(d->skel->maps.ethertypes), err;
	uint32_t key, *last = NULL;
	struct flow_ethertype n;

	while ((err = bpf_map_get_next_key(fd, last, &key)) == 0) {
		err = bpf_map_lookup_elem(fd, &key, &n);
		if (err)
			return err;
		if (n.packets)
			visit(key, &n, arg);
		last = &key;
	}
	return err == -ENOENT ? 0 : err;
}
