// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/stack/drops.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "bpf/drops_abi.h"
#include "bpf/tally_abi.h"
#include "common/cleanup.h"
#include "drops.skel.h"
#include "probe/stack/missed.h"
#include "probe/stack/tally.h"

#define PREFIX	       "SKB_DROP_REASON_"
#define CONSUMED       "SKB_CONSUMED"
#define PURGED	       PREFIX "QUEUE_PURGE" /* Linux 6.8 */
#define NAME_MAX_BYTES 40

struct drops {
	struct drops_bpf *skel;
	int n_cpus;
	char names[DROPS_REASONS][NAME_MAX_BYTES]; /* "": the kernel has none */
	bool chosen[DROPS_REASONS];		   /* has a name of its own in the answer */
	size_t n_chosen;
};

DEFINE_CLEANUP(struct drops *, drops_close)
DEFINE_CLEANUP(struct btf *, btf__free)

static void set_name(char ret[NAME_MAX_BYTES], const char *reason)
{
	size_t n = 0;

	if (strncmp(reason, PREFIX, strlen(PREFIX)) == 0)
		reason += strlen(PREFIX);
	for (; n < NAME_MAX_BYTES - 1 && reason[n]; n++)
		ret[n] = (char)tolower((unsigned char)reason[n]);
	ret[n] = 0;
}

/* Numbers of reasons that need not be drops; 0: the kernel has none. */
struct special {
	uint32_t consumed, purged;
};

/* The kernel's names. */
static int read_names(struct drops *d, struct special *ret)
{
	cleanup(btf__free_p) struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *type;
	const struct btf_enum *value;
	int id;

	if (!btf)
		return -errno;
	id = btf__find_by_name_kind(btf, "skb_drop_reason", BTF_KIND_ENUM);
	if (id < 0)
		return -ENOENT;
	type = btf__type_by_id(btf, (uint32_t)id);
	value = btf_enum(type);
	*ret = (struct special){0};
	for (int i = 0; i < btf_vlen(type); i++, value++) {
		const char *name = btf__name_by_offset(btf, value->name_off);

		if (strcmp(name, CONSUMED) == 0)
			ret->consumed = (uint32_t)value->val;
		if (strcmp(name, PURGED) == 0)
			ret->purged = (uint32_t)value->val;
		if (value->val >= 0 && value->val < DROPS_OTHER)
			set_name(d->names[value->val], name);
	}
	return 0;
}

static int load(struct drops *d, const struct special *special)
{
	struct stat netns;
	int err;

	if (stat("/proc/self/ns/net", &netns) != 0)
		return -errno;
	d->n_cpus = libbpf_num_possible_cpus();
	if (d->n_cpus < 0)
		return d->n_cpus;
	d->skel = drops_bpf__open();
	err = -errno;
	if (!d->skel)
		return err < 0 ? err : -ENOMEM;
	d->skel->rodata->netns = (uint32_t)netns.st_ino;
	d->skel->rodata->consumed = special->consumed;
	d->skel->rodata->purged = special->purged;
	err = drops_bpf__load(d->skel);
	return err ? err : drops_bpf__attach(d->skel);
}

int drops_open(struct drops **ret)
{
	cleanup(drops_close_p) struct drops *d = calloc(1, sizeof(*d));
	struct special special = {0};
	int err;

	if (!d)
		return -ENOMEM;
	err = read_names(d, &special);
	if (!err)
		err = load(d, &special);
	if (err)
		return err;
	*ret = take_ptr(d);
	return 0;
}

void drops_close(struct drops *d)
{
	if (!d)
		return;
	drops_bpf__destroy(d->skel);
	free(d);
}

/* Whether this reason is told by name: the first DROPS_MAX_NAMES that occur are. */
static bool choose(struct drops *d, uint32_t reason)
{
	if (!d->chosen[reason] && d->names[reason][0] && d->n_chosen < DROPS_MAX_NAMES) {
		d->chosen[reason] = true;
		d->n_chosen++;
	}
	return d->chosen[reason];
}

int drops_read(struct drops *d, drops_visit_fn visit, void *arg)
{
	cleanup(free_p) uint64_t *per_cpu = calloc((size_t)d->n_cpus, sizeof(*per_cpu));
	int fd = bpf_map__fd(d->skel->maps.drops);
	uint64_t other = 0;

	if (!per_cpu)
		return -ENOMEM;
	for (uint32_t reason = 0; reason < DROPS_REASONS; reason++) {
		uint64_t sum = 0;
		int err = bpf_map_lookup_elem(fd, &reason, per_cpu);

		if (err)
			return err;
		for (int cpu = 0; cpu < d->n_cpus; cpu++)
			sum += per_cpu[cpu];
		if (sum && choose(d, reason))
			visit(d->names[reason], sum, arg);
		else
			other += sum;
	}
	if (other)
		visit("other", other, arg);
	return 0;
}

int drops_read_tallies(struct drops *d, struct tallies *t, uint64_t now_ns)
{
	return tallies_read(t, bpf_map__fd(d->skel->maps.tallies), drops_tally_state(d), now_ns);
}

uint64_t drops_missed(const struct drops *d)
{
	return missed_runs(d->skel->obj);
}

const char *drops_reason(const struct drops *d, uint32_t reason)
{
	return reason < DROPS_REASONS && d->names[reason][0] ? d->names[reason] : "other";
}

const struct tally_state *drops_tally_state(const struct drops *d)
{
	return &d->skel->bss->tally_state;
}
