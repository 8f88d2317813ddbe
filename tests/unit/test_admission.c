/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who is let in, decided on a real database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdbool.h>

#include "collector/access/admission.h"
#include "collector/serve/admin.h"
#include "common/exit_code.h"
#include "tests/unit/sample_jobs.h"
#include "tests/unit/sample_keys.h"

#define HOUR_MS 3600000

struct fixture {
	struct sample_dir dir;
	struct store *store;
	struct allow_list *allow;
	sqlite3 *outside;
	int64_t now_ms;
	const struct key_pair *claim; /* whose identity the next one claims; NULL: none */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = NULL;

	assert_non_null(f);
	*state = f;
	f->now_ms = 1000000000000;
	sample_dir_make(&f->dir);
	assert_int_equal(store_open(f->dir.path, &f->store, &why), 0);
	assert_int_equal(allow_list_new(&f->allow), 0);
	assert_int_equal(store_share(f->store, f->allow), 0);
	assert_int_equal(sqlite3_open(f->dir.path, &f->outside), SQLITE_OK);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sqlite3_close(f->outside);
	store_close(f->store);
	allow_list_free(f->allow);
	sample_dir_remove(&f->dir);
	free(f);
	return 0;
}

static struct admin_reply command(struct fixture *f, const char *a, const char *b, const char *c,
				  const char *d)
{
	const char *const words[] = {a, b, c, d};
	struct admin_reply reply;
	size_t n = 0;

	while (n < 4 && words[n])
		n++;
	assert_int_equal(store_command(f->store, n, words, f->now_ms, &reply), 0);
	return reply;
}

/* A token good for uses hosts and an hour. */
static void make_token(struct fixture *f, const char *uses, const char *manual,
		       uint8_t secret[JOIN_SECRET_BYTES])
{
	const struct admin_reply r = command(f, "token-create", "3600000", uses, manual);

	assert_int_equal(r.exit_code, EXIT_OK);
	assert_int_equal(
		sodium_hex2bin(secret, JOIN_SECRET_BYTES, r.text, strlen(r.text), NULL, NULL, NULL),
		0);
}

/* Host n asks, as JOB_ENROLL; gives the status. */
static enum enroll_status ask(struct fixture *f, uint8_t n, const char *name, const uint8_t *secret,
			      const struct key_pair *new_key)
{
	struct enrollment *e = calloc(1, sizeof(*e));
	const struct key_pair key = sample_key(n);
	enum enroll_status status;
	struct job *job;

	assert_non_null(e);
	memcpy(e->key, key.public_key, KEY_BYTES);
	(void)snprintf(e->ask.host_name, sizeof(e->ask.host_name), "%s", name);
	if (secret)
		memcpy(e->ask.secret, secret, JOIN_SECRET_BYTES);
	e->ask.rotate = new_key != NULL;
	e->ask.has_id = f->claim != NULL;
	if (f->claim)
		memcpy(e->ask.probe_id, f->claim->id, KEY_ID_BYTES);
	if (new_key)
		memcpy(e->ask.new_key, new_key->public_key, KEY_BYTES);
	assert_int_equal(job_new(JOB_ENROLL, e, 0, 0, &job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, f->now_ms), 0);
	assert_int_equal(store_commit(f->store), 0);
	status = e->result.status;
	job_free(job);
	return status;
}

static bool may_speak(struct fixture *f, const struct key_pair *key, const uint8_t *id)
{
	uint8_t found[KEY_ID_BYTES];

	if (!allow_list_find(f->allow, key->public_key, found))
		return false;
	assert_memory_equal(found, id, KEY_ID_BYTES);
	return true;
}

static bool host_may_speak(struct fixture *f, uint8_t n)
{
	const struct key_pair key = sample_key(n);

	return may_speak(f, &key, key.id);
}

static void test_a_token_lets_in_so_many(void **state)
{
	struct fixture *f = *state;
	uint8_t secret[JOIN_SECRET_BYTES], wrong[JOIN_SECRET_BYTES] = {1};

	make_token(f, "2", "0", secret);
	assert_int_equal(ask(f, 1, "a", wrong, NULL), ENROLL_REFUSED);
	assert_int_equal(ask(f, 1, "a", NULL, NULL), ENROLL_REFUSED);
	assert_false(host_may_speak(f, 1));
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_ADMITTED);
	assert_true(host_may_speak(f, 1));
	assert_int_equal(ask(f, 1, "a", NULL, NULL), ENROLL_ADMITTED); /* again: no use of it */
	assert_int_equal(ask(f, 2, "b", secret, NULL), ENROLL_ADMITTED);
	assert_int_equal(ask(f, 3, "c", secret, NULL), ENROLL_REFUSED);
	assert_int_equal(sample_int(f->outside, "SELECT uses FROM token"), 2);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host_key"), 2);
	/* The secret itself is nowhere. */
	assert_int_equal(sample_int(f->outside, "SELECT length(secret_hash) FROM token"), 32);
}

static void test_a_token_ends(void **state)
{
	struct fixture *f = *state;
	uint8_t expiring[JOIN_SECRET_BYTES], revoked[JOIN_SECRET_BYTES];

	make_token(f, "9", "0", expiring);
	make_token(f, "9", "0", revoked);
	assert_int_equal(command(f, "token-revoke", "2", NULL, NULL).exit_code, EXIT_OK);
	assert_int_equal(command(f, "token-revoke", "2", NULL, NULL).exit_code, EXIT_USAGE);
	assert_int_equal(command(f, "token-revoke", "two", NULL, NULL).exit_code, EXIT_USAGE);
	assert_int_equal(ask(f, 1, "a", revoked, NULL), ENROLL_REFUSED);
	f->now_ms += HOUR_MS;
	assert_int_equal(ask(f, 1, "a", expiring, NULL), ENROLL_REFUSED);
	f->now_ms -= 1;
	assert_int_equal(ask(f, 1, "a", expiring, NULL), ENROLL_ADMITTED);
}

static void test_approval(void **state)
{
	struct fixture *f = *state;
	uint8_t secret[JOIN_SECRET_BYTES];

	make_token(f, "9", "1", secret);
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_PENDING);
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_PENDING);
	assert_int_equal(ask(f, 2, "b", secret, NULL), ENROLL_PENDING);
	assert_false(host_may_speak(f, 1));
	assert_int_equal(command(f, "approve", "nobody", NULL, NULL).exit_code, EXIT_USAGE);
	assert_int_equal(command(f, "approve", "a", NULL, NULL).exit_code, EXIT_OK);
	assert_true(host_may_speak(f, 1));
	assert_int_equal(command(f, "reject", "b", NULL, NULL).exit_code, EXIT_OK);
	assert_int_equal(ask(f, 2, "b", secret, NULL), ENROLL_REFUSED); /* for good */
	assert_false(host_may_speak(f, 2));
}

/* Nobody comes in under the name of another without being looked at. */
static void test_a_name_that_is_taken_waits(void **state)
{
	struct fixture *f = *state;
	uint8_t secret[JOIN_SECRET_BYTES];

	make_token(f, "9", "0", secret);
	assert_int_equal(ask(f, 1, "web01", secret, NULL), ENROLL_ADMITTED);
	assert_int_equal(ask(f, 2, "web01", secret, NULL), ENROLL_PENDING);
	assert_false(host_may_speak(f, 2));
	/* A name that is several hosts' names none; the fingerprint does. */
	assert_int_equal(command(f, "approve", "web01", NULL, NULL).exit_code, EXIT_OK);
	assert_true(host_may_speak(f, 2));
	assert_int_equal(command(f, "revoke", "web01", NULL, NULL).exit_code, EXIT_USAGE);
	assert_true(host_may_speak(f, 1) && host_may_speak(f, 2));
	{
		const struct key_pair key = sample_key(2);
		char fingerprint[KEY_FINGERPRINT_BYTES];

		key_fingerprint(key.public_key, fingerprint);
		fingerprint[9] = '\0'; /* its beginning is enough */
		assert_int_equal(command(f, "revoke", fingerprint, NULL, NULL).exit_code, EXIT_OK);
	}
	assert_true(host_may_speak(f, 1));
	assert_false(host_may_speak(f, 2));
}

static void test_revoked_is_out_until_admitted(void **state)
{
	struct fixture *f = *state;
	uint8_t secret[JOIN_SECRET_BYTES];

	make_token(f, "9", "0", secret);
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_ADMITTED);
	assert_int_equal(command(f, "revoke", "a", NULL, NULL).exit_code, EXIT_OK);
	assert_false(host_may_speak(f, 1));
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_REFUSED); /* no token helps */
	assert_int_equal(command(f, "admit", "a", NULL, NULL).exit_code, EXIT_OK);
	assert_true(host_may_speak(f, 1));
	assert_int_equal(
		sample_int(f->outside, "SELECT count(*) FROM admission_log WHERE what <> ''"), 4);
}

static void use(struct fixture *f, const struct key_pair *key)
{
	struct hello *h = malloc(sizeof(*h));
	struct job *job;

	assert_non_null(h);
	*h = sample_hello(1, 1);
	memcpy(h->probe_id, key->id, sizeof(h->probe_id));
	assert_int_equal(job_new(JOB_HELLO, h, 0, 0, &job), 0);
	memcpy(job->key, key->public_key, KEY_BYTES);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, f->now_ms), 0);
	assert_int_equal(store_commit(f->store), 0);
	job_free(job);
}

/* The old key vouches for the new one, and is good until that is used. */
static void test_rotation_keeps_the_identity(void **state)
{
	struct key_pair first = sample_key(1), second = sample_key(101), third = sample_key(102);
	struct fixture *f = *state;
	uint8_t secret[JOIN_SECRET_BYTES];

	make_token(f, "9", "0", secret);
	memcpy(second.id, first.id, sizeof(second.id));
	memcpy(third.id, first.id, sizeof(third.id));
	assert_int_equal(ask(f, 1, "a", NULL, &second), ENROLL_REFUSED); /* not admitted itself */
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_ADMITTED);
	assert_int_equal(ask(f, 1, "a", NULL, &second), ENROLL_ADMITTED);
	assert_int_equal(ask(f, 1, "a", NULL, &third), ENROLL_ADMITTED); /* another try */
	assert_false(allow_list_find(f->allow, second.public_key, NULL));
	assert_true(may_speak(f, &first, first.id) && may_speak(f, &third, first.id));
	use(f, &first);
	assert_true(may_speak(f, &first, first.id));
	use(f, &third);
	assert_false(may_speak(f, &first, first.id));
	assert_true(may_speak(f, &third, first.id));
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host"), 1);
	assert_int_equal(command(f, "revoke", "host1", NULL, NULL).exit_code, EXIT_OK);
	assert_false(may_speak(f, &third, first.id));
}

/* After a rotation a second collector learns who the host is, unless it is somebody else there. */
static void test_an_identity_is_brought_along_once(void **state)
{
	struct fixture *f = *state;
	const struct key_pair old = sample_key(101), one = sample_key(1), two = sample_key(2);
	uint8_t secret[JOIN_SECRET_BYTES];

	make_token(f, "9", "0", secret);
	f->claim = &old;
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_ADMITTED);
	assert_true(may_speak(f, &one, old.id));
	assert_int_equal(ask(f, 2, "b", secret, NULL), ENROLL_ADMITTED);
	assert_true(may_speak(f, &two, two.id)); /* not who it said */
}

static void test_a_key_of_another_cannot_be_taken(void **state)
{
	struct fixture *f = *state;
	uint8_t secret[JOIN_SECRET_BYTES];
	struct key_pair other = sample_key(2);

	make_token(f, "9", "0", secret);
	assert_int_equal(ask(f, 1, "a", secret, NULL), ENROLL_ADMITTED);
	assert_int_equal(ask(f, 2, "b", secret, NULL), ENROLL_ADMITTED);
	assert_int_equal(ask(f, 1, "a", NULL, &other), ENROLL_REFUSED);
	assert_true(host_may_speak(f, 2));
}

static void test_bad_requests_of_an_administrator(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(command(f, "dance", NULL, NULL, NULL).exit_code, EXIT_USAGE);
	assert_int_equal(command(f, "revoke", NULL, NULL, NULL).exit_code, EXIT_USAGE);
	assert_int_equal(command(f, "revoke", "a", "b", NULL).exit_code, EXIT_USAGE);
	assert_int_equal(command(f, "add", "a", "no key", NULL).exit_code, EXIT_USAGE);
	assert_int_equal(command(f, "init-key", "no key", NULL, NULL).exit_code, EXIT_USAGE);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host_key"), 0);
}

static void test_added_by_hand(void **state)
{
	const struct key_pair key = sample_key(9);
	struct fixture *f = *state;
	char text[KEY_TEXT_BYTES];

	key_format(key.public_key, text);
	assert_int_equal(command(f, "add", "a", text, NULL).exit_code, EXIT_OK);
	assert_true(host_may_speak(f, 9));
	assert_int_equal(command(f, "add", "a", text, NULL).exit_code, EXIT_OK);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host_key"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_token_lets_in_so_many),
		TEST(test_a_token_ends),
		TEST(test_approval),
		TEST(test_a_name_that_is_taken_waits),
		TEST(test_revoked_is_out_until_admitted),
		TEST(test_rotation_keeps_the_identity),
		TEST(test_an_identity_is_brought_along_once),
		TEST(test_a_key_of_another_cannot_be_taken),
		TEST(test_bad_requests_of_an_administrator),
		TEST(test_added_by_hand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
