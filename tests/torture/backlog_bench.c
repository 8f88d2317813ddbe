// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * backlog_bench.c - how long what happens now takes while a backlog drains.
 *
 *	backlog-bench URL STATE_DIR SPOOL BATCHES
 *
 * The spool and the sender of weir-probe, without the kernel: BATCHES batches
 * are spooled, as if the collector had been away; then the sender starts, and
 * ten more batches a second come until the backlog is delivered. Prints one JSON
 * object: how many came live, after how long they were acknowledged (ms), and
 * how many did not get past the backlog, because they came before the sender
 * could ask for a new epoch.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe/spool/spool.h"
#include "probe/uplink/identity.h"
#include "probe/uplink/keyring.h"
#include "probe/uplink/sender.h"
#include "proto/frame.h"
#include "proto/message.h"

#define SPOOL_BYTES (16ull << 30)
#define GROUP	    4000 /* batches of a commit while the backlog is made */
#define LIVE_MS	    100	 /* between two live batches */
#define POLL_US	    5000
#define WAIT_MS	    600000
#define LIVE_MAX    100000

struct live {
	uint64_t epoch, seq, pushed_ns, acked_ns;
};

struct bench {
	struct spool *spool;
	struct hello hello;
	uint64_t first_epoch, epoch, seq, group;
	size_t n;
	struct live live[LIVE_MAX];
};

static void die(const char *what, int err)
{
	(void)fprintf(stderr, "backlog-bench: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void check(const char *what, int err)
{
	if (err)
		die(what, err);
}

static void push(struct bench *b)
{
	struct flow_record row = {
		.flow_id = ++b->seq,
		.start_ns = clock_real_ns() - NS_PER_SEC,
		.end_ns = clock_real_ns(),
		.proto = 6,
		.src_port = 40000,
		.dst_port = 443,
		.iface = "eth0",
		.end_reason = FLOW_END_DETECTED,
		.packets = 10,
		.bytes = 1000,
		.rev_packets = 9,
		.rev_bytes = 9000,
		.total_packets = 10,
		.total_bytes = 1000,
		.rev_total_packets = 9,
		.rev_total_bytes = 9000,
	};
	struct batch batch = {
		.epoch = b->epoch,
		.run = b->first_epoch,
		.first_seq = b->seq,
		.seq = b->seq,
		.n_rows = 1,
		.rows = &row,
	};
	const struct spool_load load = {1, 19, 10000, row.end_ns, row.end_ns};
	struct packed frame;

	check("address", addr_parse("10.0.0.1", row.src_addr));
	check("address", addr_parse("10.0.0.2", row.dst_addr));
	memcpy(batch.probe_id, b->hello.probe_id, sizeof(batch.probe_id));
	check("cannot pack", batch_pack(&batch, &frame));
	check("cannot spool", spool_push(b->spool, b->seq, &frame, &load));
}

static void commit(struct bench *b)
{
	check("cannot submit", spool_submit(b->spool, ++b->group));
	check("the disk", spool_wait(b->spool, WAIT_MS));
}

static void make_backlog(struct bench *b, uint64_t n)
{
	while (b->seq < n) {
		push(b);
		if (b->seq % GROUP == 0 || b->seq == n)
			commit(b);
	}
}

/* As the exporter does. */
static void push_live(struct bench *b)
{
	if (spool_epoch_asked(b->spool)) {
		check("no randomness", identity_new_epoch(&b->epoch));
		check("no new epoch", spool_begin(b->spool, b->epoch));
		b->seq = 0;
	}
	if (b->n == LIVE_MAX)
		return;
	push(b);
	b->live[b->n++] = (struct live){b->epoch, b->seq, clock_mono_ns(), 0};
	commit(b);
}

/* Notes what is acknowledged. Returns how many batches wait of the first epoch. */
static uint64_t look(struct bench *b)
{
	struct spool_backlog epochs[SPOOL_MAX_EPOCHS];
	size_t n = spool_epochs(b->spool, epochs);
	uint64_t now_ns = clock_mono_ns();

	for (size_t i = 0; i < b->n; i++) {
		struct live *l = &b->live[i];
		bool waits = false;

		for (size_t j = 0; j < n && !l->acked_ns; j++)
			waits |= epochs[j].epoch == l->epoch && epochs[j].oldest_seq <= l->seq;
		if (!l->acked_ns && !waits)
			l->acked_ns = now_ns;
	}
	return epochs[0].epoch == b->first_epoch ? epochs[0].batches : 0;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void report(struct bench *b, uint64_t backlog, double seconds)
{
	uint64_t *delays = calloc(b->n + 1, sizeof(*delays));
	size_t n = 0, before = 0;

	if (!delays)
		die("report", -ENOMEM);
	for (size_t i = 0; i < b->n; i++) {
		if (b->live[i].epoch == b->first_epoch)
			before++;
		else
			delays[n++] = (b->live[i].acked_ns - b->live[i].pushed_ns) / NS_PER_MS;
	}
	qsort(delays, n, sizeof(*delays), compare);
	printf("{\"backlog_batches\": %" PRIu64 ", \"drain_s\": %.1f, \"live_batches\": %zu,"
	       " \"live_behind_backlog\": %zu, \"live_p50_ms\": %" PRIu64
	       ", \"live_p99_ms\": %" PRIu64 ", \"live_max_ms\": %" PRIu64 "}\n",
	       backlog, seconds, n, before, n ? delays[n / 2] : 0, n ? delays[n * 99 / 100] : 0,
	       n ? delays[n - 1] : 0);
	free(delays);
}

static void drain(struct bench *b)
{
	uint64_t next_ns = clock_mono_ns();

	while (look(b) > 0) {
		if (clock_mono_ns() >= next_ns) {
			push_live(b);
			next_ns += LIVE_MS * NS_PER_MS;
		}
		usleep(POLL_US);
	}
	for (int i = 0; i < WAIT_MS / 5 && b->n > 0 && !b->live[b->n - 1].acked_ns; i++) {
		(void)look(b);
		usleep(POLL_US);
	}
}

int main(int argc, char **argv)
{
	static struct bench b;
	char why[KEYRING_WHY_BYTES];
	struct spool_settings spool = {.max_bytes = SPOOL_BYTES};
	struct sender_settings settings = {.n = 1};
	const char *urls[1];
	struct sender *sender;
	struct key_pair own;
	uint64_t began_ns, backlog;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: backlog-bench URL STATE_DIR SPOOL BATCHES\n");
		return 2;
	}
	urls[0] = argv[1];
	settings.urls = urls;
	settings.state_dir = argv[2];
	spool.path = argv[3];
	backlog = strtoull(argv[4], NULL, 10);
	log_set_level(LOG_LEVEL_WARN);
	check(why, keyring_own(argv[2], &own, why));
	check("no randomness", identity_new_epoch(&b.first_epoch));
	b.epoch = spool.epoch = b.first_epoch;
	memcpy(spool.probe_id, own.id, sizeof(spool.probe_id));
	b.hello = (struct hello){
		.version_major = PROTO_VERSION_MAJOR,
		.version_minor = PROTO_VERSION_MINOR,
		.epoch = b.first_epoch,
		.host_name = "backlog",
	};
	memcpy(b.hello.probe_id, own.id, sizeof(b.hello.probe_id));
	check("cannot open the spool", spool_open(&spool, &b.spool));
	check("cannot start the spool", spool_start(b.spool, 1, 0));
	make_backlog(&b, backlog);
	began_ns = clock_mono_ns();
	check("cannot start", sender_start(&settings, &b.hello, b.spool, &sender));
	drain(&b);
	report(&b, backlog, (double)(clock_mono_ns() - began_ns) / (double)NS_PER_SEC);
	sender_stop(sender, 0);
	spool_close(b.spool);
	return 0;
}
