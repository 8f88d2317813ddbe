/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The whole collector in a child process, so that it can be killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "collector/serve/serve.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/options.h"
#include "tests/unit/dealer.h"
#include "tests/unit/sample_jobs.h"

#define WINDOW 8 /* batches on their way */
#define ROWS   50
#define ROUNDS 6

struct fixture {
	struct sample_dir dir;
	char endpoint[40];
	struct serve_settings settings;
	pid_t pid; /* 0: not running */
};

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	close(fd);
	return ntohs(addr.sin_port);
}

/* The collector's key is the one that dealers know, and host 1 is admitted. */
static void admit(const struct sample_dir *dir)
{
	const struct key_pair server = sample_key(SAMPLE_SERVER), host = sample_key(1);
	const char *why = NULL;
	struct store *store;
	char path[80];
	sqlite3 *db;
	char *sql;

	(void)snprintf(path, sizeof(path), "%s-key", dir->path);
	assert_int_equal(key_save(path, &server, false, &why), 0);
	assert_int_equal(store_open(dir->path, &store, &why), 0);
	store_close(store);
	assert_int_equal(sqlite3_open(dir->path, &db), SQLITE_OK);
	sql = sqlite3_mprintf("INSERT INTO host_key VALUES (?, x'01%030d', 'admitted', NULL,"
			      " 'host1', '', '', NULL, 0, 0)",
			      0);
	assert_non_null(sql);
	sqlite3_stmt *st = NULL;
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	(void)sqlite3_bind_blob(st, 1, host.public_key, KEY_BYTES, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_free(sql);
	sqlite3_close(db);
}

static int setup(void **state)
{
	char name[] = "serve";
	char *argv[] = {name, NULL};
	struct fixture *f = calloc(1, sizeof(*f));
	int first;

	assert_non_null(f);
	*state = f;
	sample_dir_make(&f->dir);
	(void)snprintf(f->endpoint, sizeof(f->endpoint), "tcp://127.0.0.1:%u", free_port());
	assert_int_equal(
		options_parse(&serve_command.command, "test", 1, argv, &f->settings, &first), 0);
	assert_int_equal(options_set(serve_command.command.tables, "db", f->dir.path, &f->settings),
			 0);
	assert_int_equal(
		options_set(serve_command.command.tables, "listen", f->endpoint, &f->settings), 0);
	/* The next port may be anybody's. */
	assert_int_equal(options_set(serve_command.command.tables, "enroll-listen",
				     "tcp://127.0.0.1:*", &f->settings),
			 0);
	f->settings.log_level = LOG_LEVEL_ERROR;
	f->settings.commit_interval_ms = 5;
	admit(&f->dir);
	return 0;
}

static int end(struct fixture *f, int sig)
{
	int status;

	assert_int_equal(kill(f->pid, sig), 0);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->pid)
		(void)end(f, SIGKILL);
	options_free(serve_command.command.tables, &f->settings);
	sample_dir_remove(&f->dir);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a test fails */
		_exit(serve_run(&f->settings));
	}
}

/* What serve_run() gives when it cannot start. */
static int exit_code(struct fixture *f)
{
	int status;

	start(f);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void send_batch(struct dealer *d, uint64_t seq)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000000);

	r.flow_id = seq;
	dealer_send_batch(d, sample_batch(1, seq, &r, ROWS));
}

/*
 * Sends batches and reads answers until max of them are acknowledged. Returns
 * the last acknowledged seq, however the connection ends.
 */
static uint64_t feed(struct dealer *d, uint64_t acked, uint64_t max)
{
	uint64_t sent = acked, until = acked + max;
	uint8_t buf[4096];
	struct frame frame = {0};
	struct ack ack;

	while (acked < until) {
		while (sent < acked + WINDOW)
			send_batch(d, ++sent);
		assert_int_equal(dealer_receive(d, buf, &frame), FRAME_ACK);
		assert_int_equal(ack_unpack(frame.body, frame.body_len, &ack, NULL), 0);
		assert_true(ack.up_to_seq > acked);
		acked = ack.up_to_seq;
	}
	return acked;
}

/* Killed with batches on the way, again and again: all that was acknowledged is there, once. */
static void test_kill_loses_nothing_that_was_acknowledged(void **state)
{
	struct fixture *f = *state;
	uint64_t acked = 0, last = 0;
	struct dealer d;
	sqlite3 *db;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		start(f);
		dealer_open(&d, f->endpoint);
		last = dealer_greet(&d, 1, 1);
		assert_in_range(last, acked, acked + WINDOW);
		acked = feed(&d, last, 7 * round);
		assert_int_equal(end(f, SIGKILL), -SIGKILL);
		dealer_close(&d);
	}
	start(f);
	dealer_open(&d, f->endpoint);
	last = dealer_greet(&d, 1, 1);
	assert_in_range(last, acked, acked + WINDOW);
	assert_int_equal(end(f, SIGTERM), EXIT_OK);
	dealer_close(&d);
	db = sample_reader(f->dir.path);
	sample_assert_text(db, "PRAGMA integrity_check", "ok");
	assert_int_equal(sample_int(db, "SELECT count(DISTINCT flow_id) FROM flows"), last);
	assert_int_equal(sample_int(db, "SELECT max(flow_id) FROM flows"), last);
	assert_int_equal(sample_int(db, "SELECT count(*) FROM flows"), ROWS * last);
	assert_int_equal(sample_int(db, "SELECT max(n) - min(n) FROM (SELECT count(*) AS n"
					" FROM flows GROUP BY flow_id)"),
			 0);
	sqlite3_close(db);
}

static void test_sigterm_and_sigint_end_it_well(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT};
	struct fixture *f = *state;
	struct dealer d;

	for (size_t i = 0; i < 2; i++) {
		start(f);
		dealer_open(&d, f->endpoint);
		dealer_greet(&d, 1, 1);
		assert_int_equal(end(f, signals[i]), EXIT_OK);
		dealer_close(&d);
	}
}

static void test_exit_codes(void **state)
{
	struct fixture *f = *state;
	struct fixture second = *f;
	struct dealer d;
	sqlite3 *db;

	start(f);
	dealer_open(&d, f->endpoint);
	dealer_greet(&d, 1, 1);
	second.settings.db = (char[]){"/tmp/weir-test-is-never-made.db"};
	assert_int_equal(exit_code(&second), EXIT_UNREACHABLE); /* port taken */
	assert_int_not_equal(access(second.settings.db, F_OK), 0);
	second.settings.db = f->settings.db;
	second.settings.listen = (char[]){"tcp://127.0.0.1:*"};
	assert_int_equal(exit_code(&second), EXIT_RUNTIME); /* another one serves it */
	dealer_close(&d);
	assert_int_equal(end(f, SIGTERM), EXIT_OK);
	second.settings.listen = (char[]){"udp://nonsense"};
	assert_int_equal(exit_code(&second), EXIT_USAGE);
	second.settings.listen = (char[]){"tcp://127.0.0.1:*"};
	db = sample_reader(f->dir.path);
	assert_int_equal(sqlite3_exec(db, "PRAGMA application_id = 1", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(exit_code(&second), EXIT_NOT_OURS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kill_loses_nothing_that_was_acknowledged),
		TEST(test_sigterm_and_sigint_end_it_well),
		TEST(test_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
