// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_settle.c - probes that are killed at any step between the flow table and
 * the spool: each packet is in one record, each slot is free in the end. Needs
 * root; bpffs is mounted where nobody else sees it.
 *
 * A probe is a child with drain, exporter and spool. In a build with
 * FAILPOINTS=1 it is also killed within the steps. SEED=N repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe/datapath/datapath.h"
#include "probe/datapath/iface.h"
#include "probe/datapath/pins.h"
#include "probe/datapath/settlement.h"
#include "probe/drain/drain.h"
#include "probe/spool/spool.h"
#include "probe/uplink/export.h"
#include "proto/frame.h"
#include "tests/bpf/harness.h"

#define LIVES	 60
#define ROUNDS	 6  /* passes over the table in one life */
#define PACKETS	 40 /* at most, before each */
#define PORTS	 90 /* flows: more than there are slots */
#define PATIENCE 60000

static const struct iface_list no_ifaces = {NULL, 0};
static const uint8_t probe_id[PROBE_ID_BYTES] = "sixteen bytes...";
static char folder[] = "/tmp/test_settle.XXXXXX";
static char spool_path[64];

/* What was sent, beyond the death of who sent it. */
struct sent {
	uint64_t packets;
	uint64_t by_port[PORTS];
};

struct fixture {
	struct datapath *programs; /* they go on while no probe runs */
	struct pins *pins;
	struct settlement *settlement;
	struct sent *sent;
	unsigned seed;
};

static int setup(void **state)
{
	static struct fixture f;
	struct settled_table table;
	char base[64];

	memset(&f, 0, sizeof(f));
	log_set_level(LOG_LEVEL_ERROR);
	(void)snprintf(base, sizeof(base), "%s/weir", folder);
	(void)snprintf(spool_path, sizeof(spool_path), "%s.spool", folder);
	f.sent = mmap(NULL, sizeof(*f.sent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (f.sent == MAP_FAILED || datapath_open(HARNESS_SLOTS, &f.programs) != 0 ||
	    pins_open(base, &f.pins) != 0)
		return -1;
	table = (struct settled_table){HARNESS_SLOTS, datapath_hash_seed(f.programs)};
	if (settlement_new(&table, flow_table_reported_bytes(), &f.settlement) != 0 ||
	    datapath_pin(f.programs, f.pins) != 0 || settlement_publish(f.settlement, f.pins) != 0)
		return -1;
	settlement_close(f.settlement);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char pattern[80];
	glob_t found = {0};

	pins_destroy(f->pins);
	pins_close(f->pins);
	datapath_close(f->programs);
	munmap(f->sent, sizeof(*f->sent));
	(void)snprintf(pattern, sizeof(pattern), "%s*", spool_path);
	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			(void)unlink(found.gl_pathv[i]);
	globfree(&found);
	return 0;
}

/* --- a probe ---------------------------------------------------------------------- */

struct probe {
	struct fixture *f;
	struct settlement *settlement;
	struct datapath *datapath;
	struct drain *drain;
	struct spool *spool;
	struct export *export;
	uint64_t counters[FLOW_CNT_MAX];
	uint64_t ahead_ns; /* of the clock: flows end soon */
};

static void on_record(const struct flow_record *r, const struct flow_view *v, void *arg)
{
	struct probe *p = arg;

	(void)v;
	export_record(p->export, r);
}

static void must(int err)
{
	if (err) {
		(void)fprintf(stderr, "the probe fails: %s\n", strerror(-err));
		_exit(1);
	}
}

static void start(struct probe *p, struct fixture *f, uint64_t epoch, bool in_child)
{
	struct spool_settings settings = {
		.path = spool_path, .max_bytes = 64 << 20, .epoch = epoch};
	struct flow_table_config config = {
		.active_ns = 1000000000,
		.idle_ns = 2000000000,
		.tcp_idle_ns = 2000000000,
		.udp_idle_ns = 2000000000,
		.icmp_idle_ns = 2000000000,
		.ifaces = &no_ifaces,
	};
	struct spool_settled known;
	struct settled_table table;

	*p = (struct probe){.f = f, .datapath = f->programs};
	memcpy(settings.probe_id, probe_id, sizeof(probe_id));
	must(spool_open(&settings, &p->spool));
	known = spool_settled(p->spool);
	must(settlement_find(f->pins, flow_table_reported_bytes(), &p->settlement));
	table = settlement_table(p->settlement);
	if (!in_child) /* which has the same maps, and no time to load the programs */
		must(datapath_open_pinned(HARNESS_SLOTS, f->pins, &table, &p->datapath));
	config.epoch = settlement_instance(p->settlement);
	must(drain_new(p->datapath, &config, on_record, p, &p->drain));
	must(export_new(probe_id, epoch, p->spool, &p->export));
	must(drain_settle(p->drain, p->settlement, &known));
	must(spool_start(p->spool, config.epoch, drain_group(p->drain)));
	must(spool_wait(p->spool, PATIENCE));
}

static void send_packets(struct fixture *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned port = (unsigned)rand_r(&f->seed) % PORTS;
		struct craft_tcp tcp = {(uint16_t)(1000 + port), 80, ACK, .seq = 1, .ack = 1};
		struct craft c = craft_tcp4(A, B, &tcp);
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c.data,
			    .data_size_in = (__u32)c.len);

		must(bpf_prog_test_run_opts(datapath_prog_fd(f->programs, DATAPATH_XDP), &opts));
		f->sent->packets++;
		f->sent->by_port[port]++;
	}
}

/* Between any two steps this may be the end. */
static void step(struct fixture *f)
{
	if (rand_r(&f->seed) % 40 == 0)
		(void)raise(SIGKILL);
}

static void pass(struct probe *p, enum drain_scope scope)
{
	uint64_t mono_ns = clock_mono_ns();
	struct flow_now now = {.mono_ns = mono_ns, .real_offset_ns = clock_real_ns() - mono_ns};

	p->ahead_ns += 700000000;
	now.mono_ns += p->ahead_ns;
	must(drain_run_at(p->drain, scope, &now));
	step(p->f);
	must(datapath_counters(p->datapath, p->counters));
	must(export_set_counter(p->export, "packets_seen",
				p->counters[FLOW_CNT_SEEN] -
					drain_base_counters(p->drain)[FLOW_CNT_SEEN]));
	export_flush(p->export, now.mono_ns, true);
	step(p->f);
	must(spool_submit(p->spool, drain_seal(p->drain, p->counters)));
	step(p->f);
	must(spool_wait(p->spool, PATIENCE));
	step(p->f);
	drain_settled(p->drain, spool_committed(p->spool));
	step(p->f);
}

/* One life of a probe, in a child. */
static void live(struct fixture *f, uint64_t epoch)
{
	struct probe p;

	start(&p, f, epoch, true);
	for (int round = 0; round < ROUNDS; round++) {
		send_packets(f, (unsigned)rand_r(&f->seed) % PACKETS);
		pass(&p, DRAIN_DUE);
	}
	(void)raise(SIGKILL); /* no life ends otherwise */
}

static void choose_failpoint(struct fixture *f)
{
	static const char *const names[] = {
		"slot_cleared", "slot_forgotten", "slot_given_back", "sealing",
		"sealed",	"spool_inserted", "spool_commit",    "spool_committed",
	};
	char text[64];
	unsigned nth = (unsigned)rand_r(&f->seed) % 40 + 1;

	(void)snprintf(text, sizeof(text), "%s:%u",
		       names[(size_t)rand_r(&f->seed) % (sizeof(names) / sizeof(*names))],
		       rand_r(&f->seed) % 2 ? nth : nth % 4 + 1);
	(void)setenv("WEIR_FAILPOINT", text, 1);
}

static void run_life(struct fixture *f, uint64_t epoch)
{
	int status;
	pid_t child;

	choose_failpoint(f);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		live(f, epoch);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	f->seed += 12345; /* the child had a copy */
}

/* --- the account ---------------------------------------------------------------------- */

struct account {
	uint64_t packets, seen;
	uint64_t by_port[PORTS];
};

static void add_batch(struct account *a, const struct batch *b)
{
	struct flow_record *rows = NULL;

	assert_int_equal(batch_rows(b, &rows), 0);
	for (size_t i = 0; i < b->n_rows; i++) {
		const struct flow_record *r = &rows[i];
		uint64_t packets = r->packets + r->rev_packets;
		/* A packet in the middle: the initiator is who sent it. */
		unsigned port = r->src_port - 1000u;

		a->packets += packets;
		if (r->end_reason == FLOW_END_NO_RESOURCES)
			continue;
		assert_true(port < PORTS);
		a->by_port[port] += packets;
	}
	free(rows);
}

static void add_epoch(struct account *a, struct spool *s, uint64_t epoch)
{
	struct spool_frame out;
	struct frame frame;
	uint64_t seen = 0;
	struct batch *b;

	while (spool_next(s, epoch, UINT64_MAX, &out) == 0) {
		assert_int_equal(frame_open(out.data, out.len, &frame), FRAME_OK);
		assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
		assert_int_equal(b->kind, BATCH_FLOWS);
		add_batch(a, b);
		assert_true(b->n_counters == 1 && b->counters[0].value >= seen);
		seen = b->counters[0].value;
		batch_free(b);
	}
	a->seen += seen;
	spool_ack(s, epoch, UINT64_MAX >> 1);
}

static void check_table(const struct datapath_table *t)
{
	assert_int_equal(t->ring[0].tail - t->ring[0].head, t->n_slots); /* all are free */
	for (uint32_t i = 0; i < t->n_slots; i++)
		assert_int_equal(t->slots[i].state, 0);
	for (uint32_t i = 0; i < t->n_slots / 2; i++)
		for (int way = 0; way < FLOW_WAYS; way++)
			assert_int_equal(t->buckets[i].tag[way], 0);
}

static void killed_probes_lose_nothing(void **state)
{
	struct fixture *f = *state;
	struct spool_backlog all[SPOOL_MAX_EPOCHS];
	const char *seed = getenv("SEED");
	struct account account = {0};
	struct probe last;
	uint64_t epoch;

	f->seed = seed ? (unsigned)atoi(seed) : (unsigned)getpid();
	print_message("seed %u\n", f->seed);
	for (epoch = 1; epoch <= LIVES; epoch++)
		run_life(f, epoch);
	(void)unsetenv("WEIR_FAILPOINT");
	start(&last, f, epoch, false);
	{
		struct flow_now now = {.mono_ns = clock_mono_ns()};

		now.real_offset_ns = clock_real_ns() - now.mono_ns;
		must(drain_run_at(last.drain, DRAIN_FINAL, &now));
		must(datapath_counters(last.datapath, last.counters));
		must(export_set_counter(last.export, "packets_seen",
					last.counters[FLOW_CNT_SEEN] -
						drain_base_counters(last.drain)[FLOW_CNT_SEEN]));
		export_flush(last.export, now.mono_ns, true);
		must(spool_submit(last.spool, drain_seal(last.drain, last.counters)));
		must(spool_wait(last.spool, PATIENCE));
		drain_settled(last.drain, spool_committed(last.spool));
	}
	while (spool_epochs(last.spool, all) > 0 && all[0].batches > 0)
		add_epoch(&account, last.spool, all[0].epoch);
	assert_true(f->sent->packets > 1000);
	assert_int_equal(account.packets, f->sent->packets);
	assert_int_equal(account.seen, f->sent->packets);
	for (unsigned port = 0; port < PORTS; port++) /* the rest went to the catch-all */
		assert_true(account.by_port[port] <= f->sent->by_port[port]);
	check_table(datapath_table(last.datapath));
	export_free(last.export);
	drain_free(last.drain);
	datapath_close(last.datapath);
	settlement_close(last.settlement);
	spool_close(last.spool);
}

/* Without a spool that knows better, what was sealed counts as stored. */
static void a_lost_spool_repeats_nothing(void **state)
{
	struct fixture *f = *state;
	struct account account = {0};
	struct flow_now now;
	struct probe p;

	f->seed = 1;
	start(&p, f, 1, false);
	send_packets(f, 30);
	now = (struct flow_now){.mono_ns = clock_mono_ns() + 1500000000,
				.real_offset_ns = clock_real_ns() - clock_mono_ns()};
	must(drain_run_at(p.drain, DRAIN_DUE, &now));
	export_flush(p.export, now.mono_ns, true);
	must(spool_submit(p.spool, drain_seal(p.drain, p.counters)));
	must(spool_wait(p.spool, PATIENCE));
	export_free(p.export);
	drain_free(p.drain);
	datapath_close(p.datapath);
	settlement_close(p.settlement);
	spool_close(p.spool);
	assert_int_equal(unlink(spool_path), 0);

	start(&p, f, 2, false);
	send_packets(f, 12);
	must(drain_run_at(p.drain, DRAIN_FINAL, &now));
	export_flush(p.export, now.mono_ns, true);
	must(spool_submit(p.spool, drain_seal(p.drain, p.counters)));
	must(spool_wait(p.spool, PATIENCE));
	{
		struct spool_frame out;
		struct frame frame;
		struct batch *b;

		while (spool_next(p.spool, 2, UINT64_MAX, &out) == 0) {
			assert_int_equal(frame_open(out.data, out.len, &frame), FRAME_OK);
			assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
			add_batch(&account, b);
			batch_free(b);
		}
	}
	assert_int_equal(account.packets, 12);
	export_free(p.export);
	drain_free(p.drain);
	datapath_close(p.datapath);
	settlement_close(p.settlement);
	spool_close(p.spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(killed_probes_lose_nothing),
		TEST(a_lost_spool_repeats_nothing),
	};
	int failed;

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    !mkdtemp(folder) || mount("none", folder, "bpf", 0, NULL) != 0) {
		perror("no bpffs for the test");
		return 1;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)umount(folder);
	(void)rmdir(folder);
	return failed;
}
