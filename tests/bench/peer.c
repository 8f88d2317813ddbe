// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench/peer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#define BATCH	      4096u
#define MAX_SETTINGS  4
#define MAX_MAPS      2
#define OTHER_ENTRIES 1024u  /* of maps for what the bench does not send */
#define RING_BYTES    65536u /* nobody reads the events */

struct peer {
	struct bpf_object *object;
	int prog_fd;
};

/* A constant of the object: VARIABLE or VARIABLE.MEMBER. */
struct setting {
	const char *name;
	uint64_t value;
};

static const struct {
	const char *name, *variable, *program;
	struct setting settings[MAX_SETTINGS];
	const char *maps[MAX_MAPS]; /* of flows */
} kinds[PEER_MAX] = {
	[PEER_NETOBSERV] = {.name = "netobserv",
			    .variable = "NETOBSERV_OBJ",
			    .program = "tc_ingress_flow_parse",
			    .maps = {"aggregated_flows"}},
	/* A sample of each flow every 100 ms, as its user space has it by default. */
	[PEER_EPPING] = {.name = "epping",
			 .variable = "EPPING_OBJ",
			 .program = "pping_tc_ingress",
			 .settings = {{"config.track_tcp", 1},
				      {"config.eth_header", 1},
				      {"config.rate_limit", 100000000}},
			 .maps = {"flow_state", "packet_ts"}},
};

const char *peer_name(enum peer_kind kind)
{
	return kinds[kind].name;
}

/* --- settings: constants of the object, found by its BTF ------------------------ */

/* Where in .rodata, and how many bytes. */
struct place {
	size_t at, bytes;
};

/* Moves on from a variable to its member. Returns -ENOENT. */
static int find_member(const struct btf *btf, uint32_t type, const char *name, struct place *p)
{
	const struct btf_type *t = btf__type_by_id(btf, type);

	while (btf_is_mod(t) || btf_is_typedef(t))
		t = btf__type_by_id(btf, t->type);
	for (unsigned i = 0; btf_is_struct(t) && i < btf_vlen(t); i++) {
		const struct btf_member *m = &btf_members(t)[i];

		if (strcmp(btf__name_by_offset(btf, m->name_off), name) != 0)
			continue;
		p->at += btf_member_bit_offset(t, i) / 8;
		p->bytes = (size_t)btf__resolve_size(btf, m->type);
		return 0;
	}
	return -ENOENT;
}

static int find_setting(const struct btf *btf, const char *setting, struct place *ret)
{
	const char *member = strchr(setting, '.');
	size_t len = member ? (size_t)(member - setting) : strlen(setting);
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *section = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t)id);

	for (unsigned i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *info = &btf_var_secinfos(section)[i];
		const struct btf_type *variable = btf__type_by_id(btf, info->type);
		const char *name = btf__name_by_offset(btf, variable->name_off);

		if (strncmp(name, setting, len) != 0 || name[len])
			continue;
		*ret = (struct place){info->offset, info->size};
		return member ? find_member(btf, variable->type, member + 1, ret) : 0;
	}
	return -ENOENT;
}

static int set(struct bpf_object *object, const struct setting *setting)
{
	struct place place;
	struct bpf_map *map;
	size_t size;
	int err = find_setting(bpf_object__btf(object), setting->name, &place);

	if (err || place.bytes > sizeof(setting->value))
		return err ? err : -EINVAL;
	bpf_object__for_each_map(map, object)
	{
		char *bytes = (char *)bpf_map__initial_value(map, &size); /* ours until the load */

		if (!bytes || !strstr(bpf_map__name(map), ".rodata") ||
		    place.at + place.bytes > size)
			continue;
		memcpy(bytes + place.at, &setting->value,
		       place.bytes); /* the first bytes: little-endian */
		return 0;
	}
	return -ENOENT;
}

/* --- loading --------------------------------------------------------------------- */

static bool is_hash(const struct bpf_map *map)
{
	enum bpf_map_type type = bpf_map__type(map);

	return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_HASH;
}

static int size_map(struct bpf_map *map, enum peer_kind kind, uint32_t flows)
{
	uint32_t entries = OTHER_ENTRIES;

	(void)bpf_map__set_pin_path(map, NULL); /* not loaded yet: cannot fail */
	if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
		return bpf_map__set_max_entries(map, RING_BYTES);
	if (!is_hash(map))
		return 0;
	for (int i = 0; i < MAX_MAPS && kinds[kind].maps[i]; i++)
		if (strcmp(bpf_map__name(map), kinds[kind].maps[i]) == 0)
			entries = flows;
	return bpf_map__set_max_entries(map, entries);
}

static int prepare(struct bpf_object *object, enum peer_kind kind, uint32_t flows)
{
	struct bpf_program *prog;
	struct bpf_map *map;
	bool found = false;
	int err = 0;

	bpf_object__for_each_program(prog, object)
	{
		bool wanted = strcmp(bpf_program__name(prog), kinds[kind].program) == 0;

		found |= wanted;
		(void)bpf_program__set_autoload(prog, wanted); /* not loaded yet: cannot fail */
		if (wanted)
			(void)bpf_program__set_type(prog, BPF_PROG_TYPE_SCHED_CLS);
	}
	bpf_object__for_each_map(map, object)
	{
		err = err ? err : size_map(map, kind, flows);
	}
	for (int i = 0; i < MAX_SETTINGS && kinds[kind].settings[i].name; i++)
		err = err ? err : set(object, &kinds[kind].settings[i]);
	return found ? err : -ENOENT;
}

struct peer *peer_open(enum peer_kind kind, uint32_t flows)
{
	const char *path = getenv(kinds[kind].variable);
	struct peer *p;
	int err;

	if (!path || !*path)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->object = bpf_object__open_file(path, NULL);
	err = p->object ? prepare(p->object, kind, flows) : -errno;
	if (!err)
		err = bpf_object__load(p->object);
	if (err) {
		fprintf(stderr, "%s: not measured: %s: %s\n", kinds[kind].name, path,
			strerror(-err));
		peer_close(p);
		return NULL;
	}
	p->prog_fd =
		bpf_program__fd(bpf_object__find_program_by_name(p->object, kinds[kind].program));
	return p;
}

void peer_close(struct peer *p)
{
	if (!p)
		return;
	bpf_object__close(p->object);
	free(p);
}

int peer_prog_fd(const struct peer *p)
{
	return p->prog_fd;
}

/* --- emptying ---------------------------------------------------------------------- */

static void empty_map(const struct bpf_map *map)
{
	size_t value_bytes = (bpf_map__value_size(map) + 7) / 8 * 8; /* as per-CPU values are */
	unsigned char *keys = malloc(BATCH * bpf_map__key_size(map));
	unsigned char *values;
	__u32 in = 0, out = 0, n;
	void *from = NULL;
	int err;

	if (bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_HASH)
		value_bytes *= (size_t)libbpf_num_possible_cpus();
	values = malloc(BATCH * value_bytes);
	err = keys && values ? 0 : -ENOMEM;
	while (!err) {
		n = BATCH;
		err = bpf_map_lookup_and_delete_batch(bpf_map__fd(map), from, &out, keys, values,
						      &n, NULL);
		in = out;
		from = &in;
	}
	free(keys);
	free(values);
}

void peer_empty(struct peer *p)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, p->object)
	{
		if (is_hash(map))
			empty_map(map);
	}
}
