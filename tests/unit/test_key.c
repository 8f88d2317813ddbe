/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/key.h"
#include "common/private_file.h"
#include "proto/join.h"

struct fixture {
	char dir[32], path[64];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/weir-test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/key", f->dir);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* no temporary file is left */
	free(f);
	return 0;
}

static void test_text_comes_back(void **state)
{
	struct key_pair k;
	uint8_t again[KEY_BYTES];
	char text[KEY_TEXT_BYTES], fingerprint[KEY_FINGERPRINT_BYTES];

	(void)state;
	assert_int_equal(key_make(&k), 0);
	key_format(k.public_key, text);
	assert_int_equal(strlen(text), KEY_TEXT_BYTES - 1);
	assert_int_equal(key_parse(text, again), 0);
	assert_memory_equal(again, k.public_key, KEY_BYTES);
	key_fingerprint(k.public_key, fingerprint);
	assert_int_equal(strlen(fingerprint), KEY_FINGERPRINT_BYTES - 1);
	text[39] = '\0';
	assert_int_equal(key_parse(text, again), -EINVAL);
	text[39] = '~'; /* no letter of Z85 */
	assert_int_equal(key_parse(text, again), -EINVAL);
	memset(text, '#', 40); /* above 2^32 */
	assert_int_equal(key_parse(text, again), -EINVAL);
}

/* The keys and their texts are those of libzmq's CURVE. */
static void test_same_as_libzmq(void **state)
{
	char text[KEY_TEXT_BYTES], secret[KEY_TEXT_BYTES], theirs[KEY_TEXT_BYTES];
	uint8_t key[KEY_BYTES], read[KEY_BYTES];
	struct key_pair k;

	(void)state;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(key_make(&k), 0);
		key_format(k.public_key, text);
		key_format(k.secret_key, secret);
		assert_int_equal(zmq_curve_public(theirs, secret), 0);
		assert_string_equal(text, theirs);
		assert_non_null(zmq_z85_decode(key, text));
		assert_int_equal(key_parse(text, read), 0);
		assert_memory_equal(read, key, KEY_BYTES);
	}
	memset(key, 0xff, sizeof(key));
	key_format(key, text);
	assert_string_equal(zmq_z85_encode(theirs, key, KEY_BYTES), text);
	assert_int_equal(key_parse(text, read), 0);
	assert_memory_equal(read, key, KEY_BYTES);
}

static void test_made_once_then_loaded(void **state)
{
	struct fixture *f = *state;
	struct key_pair first, second;
	const char *why = NULL;
	struct stat st;
	bool made;

	assert_int_equal(key_load_or_make(f->path, &first, &made, &why), 0);
	assert_true(made);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(key_load_or_make(f->path, &second, &made, &why), 0);
	assert_false(made);
	assert_memory_equal(&first, &second, sizeof(first));
	assert_int_equal(key_save(f->path, &first, false, &why), -EEXIST);
	assert_int_equal(key_make(&second), 0);
	memcpy(second.id, first.id, sizeof(second.id)); /* a new key of the same owner */
	assert_int_equal(key_save(f->path, &second, true, &why), 0);
	assert_int_equal(key_load(f->path, &first, &why), 0);
	assert_memory_equal(&first, &second, sizeof(first));
}

static void test_files_that_others_may_touch_are_refused(void **state)
{
	static const mode_t loose[] = {0640, 0604, 0620, 0602, 0610, 0601, 0666};
	struct fixture *f = *state;
	struct key_pair k;
	const char *why = NULL;
	char target[64];
	bool made;

	assert_int_equal(key_load_or_make(f->path, &k, &made, &why), 0);
	for (size_t i = 0; i < sizeof(loose) / sizeof(loose[0]); i++) {
		assert_int_equal(chmod(f->path, loose[i]), 0);
		assert_int_equal(key_load(f->path, &k, &why), -EACCES);
		assert_non_null(strstr(why, "0600"));
	}
	assert_int_equal(chmod(f->path, 0400), 0);
	assert_int_equal(key_load(f->path, &k, &why), 0);
	if (geteuid() == 0) { /* else it cannot be given away */
		assert_int_equal(chown(f->path, 65534, 65534), 0);
		assert_int_equal(key_load(f->path, &k, &why), -EACCES);
		assert_string_equal(why, "belongs to another user");
		/* Root may use the key of a service in the service's folder. */
		assert_int_equal(chown(f->dir, 65534, 65534), 0);
		assert_int_equal(key_load(f->path, &k, &why), 0);
		assert_int_equal(key_save(f->path, &k, true, &why), 0);
		assert_int_equal(chown(f->dir, 0, 0), 0);
		assert_int_equal(key_load(f->path, &k, &why),
				 -EACCES); /* written as the service's */
		assert_int_equal(chown(f->path, 0, 0), 0);
	}
	(void)snprintf(target, sizeof(target), "%s/target", f->dir);
	assert_int_equal(rename(f->path, target), 0);
	assert_int_equal(symlink(target, f->path), 0);
	assert_int_equal(key_load(f->path, &k, &why), -ELOOP);
	assert_int_equal(unlink(target), 0);
}

/* Cut off anywhere, or a letter changed: refused, never another key. */
static void test_damaged_files_are_refused(void **state)
{
	struct fixture *f = *state;
	struct key_pair k, other;
	const char *why = NULL;
	char text[KEY_FILE_MAX], damaged[KEY_FILE_MAX];
	size_t len;
	bool made;

	assert_int_equal(key_load_or_make(f->path, &k, &made, &why), 0);
	assert_int_equal(private_file_read(f->path, text, sizeof(text), &len, &why), 0);
	for (size_t n = 0; n < len; n++) {
		memcpy(damaged, text, n);
		damaged[n] = '\0';
		if (key_file_parse(damaged, &other, &why) ==
		    0) /* the line of the id is not there */
			assert_memory_equal(other.public_key, k.public_key, KEY_BYTES);
		else
			assert_non_null(why);
		memcpy(damaged, text, len + 1);
		damaged[n] = damaged[n] == 'x' ? 'y' : 'x';
		if (key_file_parse(damaged, &other, &why) == 0)
			assert_memory_equal(other.public_key, k.public_key, KEY_BYTES);
	}
	memset(damaged, '#', sizeof(damaged) - 1);
	damaged[sizeof(damaged) - 1] = '\0';
	assert_int_equal(key_file_parse(damaged, &other, &why), -EBADMSG);
}

static void test_missing_and_too_long(void **state)
{
	struct fixture *f = *state;
	char small[16];
	const char *why = NULL;
	size_t len;

	assert_int_equal(private_file_read(f->path, small, sizeof(small), &len, &why), -ENOENT);
	assert_int_equal(private_file_write(f->path, "0123456789abcdef", 16, false, &why), 0);
	assert_int_equal(private_file_read(f->path, small, sizeof(small), &len, &why), -EFBIG);
	assert_int_equal(private_file_write("/nonexistent/key", "x", 1, false, &why), -ENOENT);
	assert_int_equal(private_file_read(f->dir, small, sizeof(small), &len, &why), -EACCES);
	assert_string_equal(why, "not a regular file");
}

/* --- join strings ------------------------------------------------------------------ */

static struct join sample_join(const char *host)
{
	struct join j = {.port = 7441, .enroll_port = 7442};

	for (size_t i = 0; i < sizeof(j.server_key); i++)
		j.server_key[i] = (uint8_t)(i * 37);
	memset(j.secret, 0xa5, sizeof(j.secret));
	(void)snprintf(j.host, sizeof(j.host), "%s", host);
	return j;
}

static void test_join_comes_back(void **state)
{
	static const char *const hosts[] = {"a", "10.0.0.1", "fd00::1", "fe80::1%eth0",
					    "weir.example.org"};
	char text[JOIN_TEXT_MAX], longest[JOIN_HOST_MAX + 1];
	const char *why = NULL;
	struct join j, again;

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		j = sample_join(hosts[i]);
		assert_int_equal(join_format(&j, text), 0);
		assert_int_equal(join_parse(text, &again, &why), 0);
		assert_memory_equal(&j, &again, sizeof(j));
	}
	memset(longest, 'h', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	j = sample_join(longest);
	assert_int_equal(join_format(&j, text), 0);
	assert_int_equal(join_parse(text, &again, &why), 0);
	assert_memory_equal(&j, &again, sizeof(j));
}

static void test_join_that_is_not_whole(void **state)
{
	char text[JOIN_TEXT_MAX], damaged[JOIN_TEXT_MAX];
	const char *why = NULL;
	struct join j = sample_join("10.0.0.1"), again;
	size_t len;

	(void)state;
	assert_int_equal(join_format(&j, text), 0);
	len = strlen(text);
	for (size_t n = 0; n < len; n++) {
		memcpy(damaged, text, n);
		damaged[n] = '\0';
		assert_int_equal(join_parse(damaged, &again, &why), -EINVAL);
		assert_non_null(why);
		memcpy(damaged, text, len + 1);
		damaged[n] = damaged[n] == 'B' ? 'C' : 'B';
		assert_int_equal(join_parse(damaged, &again, &why), -EINVAL);
		memmove(damaged + n, text + n + 1, len - n); /* one letter missing */
		assert_int_equal(join_parse(damaged, &again, &why), -EINVAL);
	}
}

static void test_join_for_no_host(void **state)
{
	static const char *const hosts[] = {"", "a b", "a/b", "a;b", "tcp://a", "a\n"};
	char text[JOIN_TEXT_MAX];
	struct join j;

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		j = sample_join(hosts[i]);
		assert_int_equal(join_format(&j, text), -EINVAL);
	}
	j = sample_join("a");
	j.port = 0;
	assert_int_equal(join_format(&j, text), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_comes_back),
		cmocka_unit_test(test_same_as_libzmq),
		TEST(test_made_once_then_loaded),
		TEST(test_files_that_others_may_touch_are_refused),
		TEST(test_damaged_files_are_refused),
		TEST(test_missing_and_too_long),
		cmocka_unit_test(test_join_comes_back),
		cmocka_unit_test(test_join_that_is_not_whole),
		cmocka_unit_test(test_join_for_no_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
