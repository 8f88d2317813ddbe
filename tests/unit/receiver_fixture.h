/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* receiver_fixture.h - a receiver with real sockets on loopback, a real store behind the writer. */
#ifndef WEIR_TESTS_UNIT_RECEIVER_FIXTURE_H
#define WEIR_TESTS_UNIT_RECEIVER_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>

#include "collector/serve/credit.h"
#include "collector/serve/receiver.h"
#include "collector/serve/writer.h"
#include "common/queue.h"
#include "tests/unit/dealer.h"
#include "tests/unit/sample_jobs.h"

#define MAX_WAITING 16
#define MAX_PEERS   3
#define MAX_JOBS    4

struct fixture {
	struct sample_dir dir;
	struct queue *jobs, *replies;
	struct store *store;
	struct allow_list *allow;
	struct receiver *receiver;
	int stop_fd, receiver_err;
	bool writing, stopped;
	pthread_t receiver_thread, writer_thread;
	sqlite3 *outside;
	struct dealer dealer; /* one that is connected */
};

static const struct writer_settings writer_settings = {.commit_interval_ms = 5};

static inline void *run_receiver(void *arg)
{
	struct fixture *f = arg;

	f->receiver_err = receiver_run(f->receiver, f->stop_fd);
	return NULL;
}

static inline void *run_writer(void *arg)
{
	struct fixture *f = arg;

	writer_run(f->store, &writer_settings, f->jobs, f->replies);
	return NULL;
}

static inline void start_writer(struct fixture *f)
{
	assert_int_equal(pthread_create(&f->writer_thread, NULL, run_writer, f), 0);
	f->writing = true;
}

/* Everything but the writer. */
static inline int setup_with(void **state, uint64_t silent_ms)
{
	const struct key_pair key = sample_key(SAMPLE_SERVER);
	struct receiver_settings settings = {
		.endpoint = "tcp://127.0.0.1:*",
		.enroll_endpoint = "tcp://127.0.0.1:*",
		.key = &key,
		.max_waiting = MAX_WAITING,
		.max_peers = MAX_PEERS,
		.silent_ms = silent_ms,
		.credit_bytes = 3 * CREDIT_MAX_BYTES,
	};
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = NULL;

	assert_non_null(f);
	*state = f;
	settings.allow = f->allow = sample_allow_list();
	sample_dir_make(&f->dir);
	f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(f->stop_fd >= 0);
	assert_int_equal(queue_new(MAX_JOBS, SIZE_MAX, job_free, &f->jobs), 0);
	assert_int_equal(queue_new(64, SIZE_MAX, job_free, &f->replies), 0);
	assert_int_equal(store_open(f->dir.path, &f->store, &why), 0);
	assert_int_equal(receiver_new(&settings, f->jobs, f->replies, &f->receiver), 0);
	assert_int_equal(pthread_create(&f->receiver_thread, NULL, run_receiver, f), 0);
	f->outside = sample_reader(f->dir.path);
	dealer_open(&f->dealer, receiver_endpoint(f->receiver));
	return 0;
}

/* On a slow machine a peer of these tests may be silent for long. */
static inline int setup_idle(void **state)
{
	return setup_with(state, 10 * DEALER_WAIT_MS);
}

static inline int setup(void **state)
{
	(void)setup_idle(state);
	start_writer(*state);
	return 0;
}

static inline void stop(struct fixture *f)
{
	if (f->stopped)
		return;
	f->stopped = true;
	if (!f->writing)
		queue_close(f->replies);
	assert_int_equal(eventfd_write(f->stop_fd, 1), 0);
	assert_int_equal(pthread_join(f->receiver_thread, NULL), 0);
	if (f->writing)
		assert_int_equal(pthread_join(f->writer_thread, NULL), 0);
	assert_int_equal(f->receiver_err, 0);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	dealer_close(&f->dealer);
	receiver_free(f->receiver);
	allow_list_free(f->allow);
	sqlite3_close(f->outside);
	store_close(f->store);
	queue_free(f->jobs);
	queue_free(f->replies);
	close(f->stop_fd);
	sample_dir_remove(&f->dir);
	free(f);
	return 0;
}

static inline struct batch *batch_of(uint8_t host, uint64_t seq)
{
	const struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);

	return sample_batch(host, seq, &r, 3);
}

static inline int64_t count_flows(struct fixture *f)
{
	return sample_int(f->outside, "SELECT count(*) FROM flows");
}

/* How many messages of peer were refused for reason, once the receiver has stopped. */
static inline int64_t refused(struct fixture *f, const char *peer, const char *reason)
{
	char *sql = sqlite3_mprintf("SELECT coalesce(sum(count), 0) FROM refusal WHERE peer = %Q"
				    " AND reason LIKE %Q",
				    peer, reason);
	int64_t n;

	stop(f);
	n = sample_int(f->outside, sql);
	sqlite3_free(sql);
	return n;
}

/* Whether all that was sent before has been looked at; a NACK to it goes to *ret. */
static inline bool sync_and_nack(struct fixture *f, struct nack *ret)
{
	struct packed frame = {0};
	struct frame got = {0};
	bool nacked = false;
	uint8_t buf[4096];
	int err = ping_pack(FRAME_PING, 1, &frame);

	dealer_send_packed(&f->dealer, err, &frame);
	while (dealer_receive(&f->dealer, buf, &got) == FRAME_NACK) {
		assert_int_equal(nack_unpack(got.body, got.body_len, ret, NULL), 0);
		nacked = true;
	}
	assert_int_equal(got.type, FRAME_PONG);
	return nacked;
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_IDLE(name) cmocka_unit_test_setup_teardown(name, setup_idle, teardown)

#endif /* WEIR_TESTS_UNIT_RECEIVER_FIXTURE_H */
