// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/settlement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "common/cleanup.h"
#include "probe/datapath/pins.h"
#include "probe/spool/spool.h"

#define HEAD_NAME  "settled"
#define MARKS_NAME "marks"
/* Of everything that is pinned. Raise it when a meaning changes and no size does. */
#define LAYOUT 1
#define READY  0x77656972 /* "weir" */

/* group 0: nothing. It is written last, and cleared first. */
struct mark {
	uint64_t group;
	uint64_t ended;
	uint8_t reported[]; /* reported_bytes, rounded up */
};

struct sums_version {
	uint64_t group;
	struct settled_sums sums;
};

struct head {
	uint32_t ready; /* READY: all is pinned */
	uint32_t layout;
	uint32_t slot_bytes, perf_bytes;
	uint32_t n_slots, reported_bytes;
	uint64_t hash_seed, instance;
	struct sums_version versions[2];
};

struct settlement {
	int head_fd, marks_fd;
	struct head *head;
	uint8_t *marks;
	size_t stride;	/* of one mark; a slot has two */
	uint64_t group; /* the last one that was sealed, or is known to be stored */
};

DEFINE_CLEANUP(struct settlement *, settlement_close)

static size_t stride_for(size_t reported_bytes)
{
	return (sizeof(struct mark) + reported_bytes + 7) & ~(size_t)7;
}

static size_t marks_bytes(const struct settlement *s)
{
	return 2 * s->stride * s->head->n_slots;
}

static void *map_whole(int fd, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static struct settlement *alloc(void)
{
	struct settlement *s = calloc(1, sizeof(*s));

	if (s)
		s->head_fd = s->marks_fd = -1;
	return s;
}

void settlement_close(struct settlement *s)
{
	if (!s)
		return;
	/* Mappings of ours: cannot fail. */
	if (s->marks)
		(void)munmap(s->marks, marks_bytes(s));
	if (s->head)
		(void)munmap(s->head, sizeof(*s->head));
	if (s->marks_fd >= 0)
		close(s->marks_fd);
	if (s->head_fd >= 0)
		close(s->head_fd);
	free(s);
}

/* --- opening ---------------------------------------------------------------------- */

static bool is_array(int fd, uint32_t value_bytes, uint32_t entries)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == BPF_MAP_TYPE_ARRAY &&
	       info.value_size == value_bytes && info.max_entries == entries &&
	       info.map_flags & BPF_F_MMAPABLE;
}

static int map_marks(struct settlement *s)
{
	s->stride = stride_for(s->head->reported_bytes);
	s->marks = map_whole(s->marks_fd, marks_bytes(s));
	return s->marks ? 0 : -errno;
}

static bool fits(const struct head *h, size_t reported_bytes)
{
	return h->ready == READY && h->layout == LAYOUT &&
	       h->slot_bytes == sizeof(struct flow_slot) &&
	       h->perf_bytes == sizeof(struct flow_perf) && h->reported_bytes == reported_bytes &&
	       h->n_slots >= 2 && !(h->n_slots & (h->n_slots - 1)) && h->instance;
}

int settlement_find(const struct pins *pins, size_t reported_bytes, struct settlement **ret)
{
	cleanup(settlement_close_p) struct settlement *s = alloc();
	int err;

	if (!s)
		return -ENOMEM;
	s->head_fd = pins_get(pins, HEAD_NAME);
	if (s->head_fd < 0)
		return s->head_fd;
	if (!is_array(s->head_fd, sizeof(*s->head), 1))
		return -ESTALE;
	s->head = map_whole(s->head_fd, sizeof(*s->head));
	if (!s->head)
		return -errno;
	if (!fits(s->head, reported_bytes))
		return -ESTALE;
	s->marks_fd = pins_get(pins, MARKS_NAME);
	if (s->marks_fd < 0 ||
	    !is_array(s->marks_fd, (uint32_t)(2 * stride_for(reported_bytes)), s->head->n_slots))
		return -ESTALE;
	err = map_marks(s);
	if (err)
		return err;
	*ret = take_ptr(s);
	return 0;
}

static int create(const char *name, size_t value_bytes, uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), (uint32_t)value_bytes,
				entries, &opts);

	return fd < 0 ? -errno : fd;
}

int settlement_new(const struct settled_table *table, size_t reported_bytes,
		   struct settlement **ret)
{
	cleanup(settlement_close_p) struct settlement *s = alloc();
	int err;

	if (!s)
		return -ENOMEM;
	s->head_fd = create("weir_settled", sizeof(*s->head), 1);
	if (s->head_fd < 0)
		return s->head_fd;
	s->marks_fd = create("weir_marks", 2 * stride_for(reported_bytes), table->n_slots);
	if (s->marks_fd < 0)
		return s->marks_fd;
	s->head = map_whole(s->head_fd, sizeof(*s->head));
	if (!s->head)
		return -errno;
	*s->head = (struct head){
		.layout = LAYOUT,
		.slot_bytes = sizeof(struct flow_slot),
		.perf_bytes = sizeof(struct flow_perf),
		.n_slots = table->n_slots,
		.reported_bytes = (uint32_t)reported_bytes,
		.hash_seed = table->hash_seed,
	};
	while (s->head->instance == 0)
		if (getrandom(&s->head->instance, sizeof(s->head->instance), 0) !=
		    (ssize_t)sizeof(s->head->instance))
			return -EIO;
	err = map_marks(s);
	if (err)
		return err;
	*ret = take_ptr(s);
	return 0;
}

int settlement_publish(struct settlement *s, const struct pins *pins)
{
	int err = pins_put(pins, MARKS_NAME, s->marks_fd);

	if (!err)
		err = pins_put(pins, HEAD_NAME, s->head_fd);
	if (!err)
		__atomic_store_n(&s->head->ready, READY, __ATOMIC_RELEASE);
	return err;
}

struct settled_table settlement_table(const struct settlement *s)
{
	return (struct settled_table){s->head->n_slots, s->head->hash_seed};
}

uint64_t settlement_instance(const struct settlement *s)
{
	return s->head->instance;
}

/* --- versions --------------------------------------------------------------------- */

static struct mark *mark_at(const struct settlement *s, uint32_t index, int version)
{
	return (struct mark *)(s->marks + (2 * (size_t)index + (size_t)version) * s->stride);
}

static void set_group(uint64_t *group, uint64_t value)
{
	__atomic_store_n(group, value, __ATOMIC_SEQ_CST);
}

/* The newest of two tags that is not above limit; -1: neither. */
static int newest(uint64_t a, uint64_t b, uint64_t limit)
{
	bool a_counts = a && a <= limit, b_counts = b && b <= limit;

	if (!a_counts && !b_counts)
		return -1;
	return b_counts && (!a_counts || b > a);
}

void settlement_resume(struct settlement *s, const struct spool_settled *known)
{
	struct sums_version *v = s->head->versions;

	if (known->instance == s->head->instance) {
		s->group = known->group;
	} else {
		s->group = v[0].group > v[1].group ? v[0].group : v[1].group;
		for (uint32_t i = 0; i < s->head->n_slots; i++)
			for (int version = 0; version < 2; version++)
				if (mark_at(s, i, version)->group > s->group)
					s->group = mark_at(s, i, version)->group;
	}
	for (int version = 0; version < 2; version++)
		if (v[version].group > s->group)
			set_group(&v[version].group, 0);
}

struct settled_sums settlement_sums(const struct settlement *s)
{
	const struct sums_version *v = s->head->versions;
	const struct settled_sums none = {0};
	int version = newest(v[0].group, v[1].group, s->group);

	return version < 0 ? none : v[version].sums;
}

const void *settlement_recall(struct settlement *s, uint32_t index, bool *ret_ended)
{
	struct mark *marks[2] = {mark_at(s, index, 0), mark_at(s, index, 1)};
	int version = newest(marks[0]->group, marks[1]->group, s->group);

	*ret_ended = false;
	for (int i = 0; i < 2; i++)
		if (marks[i]->group > s->group)
			set_group(&marks[i]->group, 0);
	if (version < 0)
		return NULL;
	*ret_ended = marks[version]->ended != 0;
	return marks[version]->reported;
}

void settlement_forget(struct settlement *s, uint32_t index)
{
	/* The older one first: the newest that is left is never older than what was reported. */
	int first = mark_at(s, index, 0)->group > mark_at(s, index, 1)->group;

	set_group(&mark_at(s, index, first)->group, 0);
	set_group(&mark_at(s, index, !first)->group, 0);
}

uint64_t settlement_next(const struct settlement *s)
{
	return s->group + 1;
}

void settlement_mark(struct settlement *s, uint32_t index, const void *reported, bool ended)
{
	int version = mark_at(s, index, 0)->group > mark_at(s, index, 1)->group;
	struct mark *m = mark_at(s, index, version); /* the older one */

	set_group(&m->group, 0);
	m->ended = ended;
	memcpy(m->reported, reported, s->head->reported_bytes);
	set_group(&m->group, s->group + 1);
}

void settlement_seal(struct settlement *s, const struct settled_sums *sums)
{
	struct sums_version *v = s->head->versions;
	int version = v[0].group > v[1].group;

	set_group(&v[version].group, 0);
	v[version].sums = *sums;
	set_group(&v[version].group, s->group + 1);
	s->group++;
}
