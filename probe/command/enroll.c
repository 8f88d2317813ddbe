// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/enroll.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "probe/uplink/identity.h"
#include "probe/uplink/keyring.h"
#include "probe/uplink/link.h"
#include "proto/enroll.h"
#include "proto/frame.h"

#define ANSWER_MS  3000	 /* for one attempt */
#define GIVE_UP_MS 15000 /* without any answer */
#define AGAIN_MS   2000	 /* between questions of a host that waits for approval */

struct enroll_settings {
	char *state_dir, *name;
	uint64_t wait_ms; /* 0: until it is decided */
	bool offline;
};

#define AT(field) .offset = offsetof(struct enroll_settings, field)

static const struct option_row state_rows[] = {
	{.name = "state-dir",
	 .type = OPTION_STRING,
	 AT(state_dir),
	 .arg = "FOLDER",
	 .fallback = KEYRING_DEFAULT,
	 .help = "where the key of this host is",
	 .cli_only = true},
	{.name = "name",
	 .type = OPTION_STRING,
	 AT(name),
	 .arg = "NAME",
	 .help = "what this host is called; default: the host name",
	 .cli_only = true},
};

static const struct option_row enroll_rows[] = {
	{.name = "wait",
	 .type = OPTION_DURATION_MS,
	 AT(wait_ms),
	 .arg = "TIME",
	 .fallback = "0",
	 .help = "how long to wait for an approval; 0: for ever",
	 .cli_only = true},
	{.name = "offline",
	 .type = OPTION_FLAG,
	 AT(offline),
	 .help = "do not ask: print what 'weir-collector enroll add' needs",
	 .cli_only = true},
};

const struct command enroll_command = {
	.name = "enroll",
	.args = "JOINSTRING",
	.summary = "make this host known to a collector",
	.examples =
		"On the collector 'weir-collector enroll token create' prints the join string.\n",
	.tables = {{state_rows, ARRAY_SIZE(state_rows)}, {enroll_rows, ARRAY_SIZE(enroll_rows)}},
};

const struct command key_command = {
	.name = "key",
	.args = "show | rotate",
	.summary = "the key of this host; rotate: put a new one in its place",
	.examples = "The host stays the same one to its collectors: the old key vouches for the "
		    "new one.\n",
	.tables = {{state_rows, ARRAY_SIZE(state_rows)}},
};

/* --- one question, one answer --------------------------------------------------------------- */

struct talk {
	void *zmq;
	struct link *link;
	int stop_fd;
};

static void talk_end(struct talk *t)
{
	link_close(t->link);
	if (t->zmq)
		(void)zmq_ctx_term(t->zmq); /* its socket is closed: does not wait */
}

static int talk_begin(struct talk *t, const char *url, const struct link_keys *keys)
{
	t->zmq = zmq_ctx_new();
	return t->zmq ? link_open(t->zmq, url, keys, &t->link) : -errno;
}

static bool stopped(const struct talk *t)
{
	struct pollfd fd = {.fd = t->stop_fd, .events = POLLIN};

	return poll(&fd, 1, 0) > 0;
}

/* -ETIMEDOUT, -EINTR when asked to stop, -EBADMSG, or an error of the socket. */
static int receive(struct talk *t, struct enroll_result *ret)
{
	uint64_t until_ns = clock_mono_ns() + ANSWER_MS * NS_PER_MS, now_ns;
	const char *why = "";
	struct frame f = {0};
	int err = -EAGAIN;

	while (err == -EAGAIN) {
		now_ns = clock_mono_ns();
		if (now_ns >= until_ns)
			return -ETIMEDOUT;
		err = link_wait(t->link, false, &t->stop_fd, 1,
				(int)((until_ns - now_ns) / NS_PER_MS) + 1);
		if (stopped(t))
			return -EINTR;
		if (!err)
			err = link_recv(t->link, &f, &why);
	}
	if (!err && f.type != FRAME_ENROLL_RESULT)
		err = -EBADMSG;
	return err ? err : enroll_result_unpack(f.body, f.body_len, ret, &why);
}

/* Asks until there is an answer; the question may come twice. */
static int ask(struct talk *t, const struct enroll *e, struct enroll_result *ret)
{
	uint64_t until_ns = clock_mono_ns() + GIVE_UP_MS * NS_PER_MS;
	int err;

	do {
		struct packed frame;

		err = enroll_pack(e, &frame);
		if (err)
			return err;
		err = link_send(t->link, frame.data, frame.len);
		free(frame.data);
		if (!err || err == -EAGAIN)
			err = receive(t, ret);
	} while (err == -ETIMEDOUT && clock_mono_ns() < until_ns);
	return err;
}

static int fail_talk(const char *url, int err)
{
	if (err == -EINTR)
		return EXIT_RUNTIME;
	if (err == -ETIMEDOUT)
		log_error("%s does not answer: is the collector there, is the port open, and is it "
			  "the collector of this join string?",
			  url);
	else
		log_error("%s: %s", url, err == -EBADMSG ? "not an answer" : link_error(err));
	return EXIT_UNREACHABLE;
}

/* --- enroll ---------------------------------------------------------------------------------- */

struct request {
	const struct enroll_settings *settings;
	struct identity id;
	struct known_collector collector;
	struct link_keys keys;
	struct enroll ask;
	char fingerprint[KEY_FINGERPRINT_BYTES];
};

static int fail(const char *why, int err)
{
	log_error("%s", why);
	return err == -EACCES || err == -EPERM ? EXIT_PERMISSION : EXIT_RUNTIME;
}

static void fill_collector(const struct join *j, struct known_collector *ret)
{
	const char *open = strchr(j->host, ':') ? "[" : "", *close = *open ? "]" : "";

	(void)snprintf(ret->url, sizeof(ret->url), "tcp://%s%s%s:%u", open, j->host, close,
		       j->port);
	(void)snprintf(ret->enroll_url, sizeof(ret->enroll_url), "tcp://%s%s%s:%u", open, j->host,
		       close, j->enroll_port);
	memcpy(ret->key, j->server_key, KEY_BYTES);
}

static int prepare(struct request *r, const char *join_text)
{
	char why_not[KEYRING_WHY_BYTES];
	const char *why = NULL;
	struct join join;
	int err;

	if (join_parse(join_text, &join, &why) != 0) {
		log_error("that is no join string: %s", why);
		return EXIT_USAGE;
	}
	err = identity_make(r->settings->name, &r->id);
	if (err)
		return fail("this host needs a name: --name", err);
	fill_collector(&join, &r->collector);
	err = keyring_own(r->settings->state_dir, &r->keys.own, why_not);
	if (err)
		return fail(why_not, err);
	memcpy(r->keys.server_key, join.server_key, KEY_BYTES);
	key_fingerprint(r->keys.own.public_key, r->fingerprint);
	memcpy(r->ask.secret, join.secret, sizeof(r->ask.secret));
	memcpy(r->ask.host_name, r->id.host_name, sizeof(r->ask.host_name));
	memcpy(r->ask.kernel, r->id.kernel, sizeof(r->ask.kernel));
	memcpy(r->ask.build, WEIR_VERSION, sizeof(WEIR_VERSION));
	r->ask.has_id = true;
	memcpy(r->ask.probe_id, r->keys.own.id, sizeof(r->ask.probe_id));
	return EXIT_OK;
}

static int keep(const struct request *r)
{
	char why[KEYRING_WHY_BYTES];
	int err = keyring_add(r->settings->state_dir, &r->collector, why);

	return err ? fail(why, err) : EXIT_OK;
}

static void say_pending(const struct request *r, const char *why)
{
	printf("%s\n\non the collector:\n\n\tweir-collector enroll approve %s\n\n", why,
	       r->fingerprint);
	(void)fflush(stdout); /* stdout that has gone is found at the end */
}

/* The answer, asked for again while somebody has to decide. */
static int wait_for_decision(struct request *r, struct talk *t, struct enroll_result *result)
{
	uint64_t wait_ms = r->settings->wait_ms, began_ns = clock_mono_ns();
	struct pollfd stop = {.fd = t->stop_fd, .events = POLLIN};
	bool said = false;
	int err, code;

	while (true) {
		err = ask(t, &r->ask, result);
		if (err)
			return fail_talk(r->collector.enroll_url, err);
		if (result->status == ENROLL_PENDING && !said) {
			code = keep(r);
			if (code)
				return code;
			say_pending(r, result->text);
			said = true;
		}
		if (result->status != ENROLL_PENDING && result->status != ENROLL_RETRY)
			return EXIT_OK;
		if (wait_ms && clock_mono_ns() - began_ns >= wait_ms * NS_PER_MS) {
			log_error("not decided yet: %s", result->text);
			return EXIT_RUNTIME;
		}
		if (poll(&stop, 1, AGAIN_MS) > 0)
			return EXIT_RUNTIME;
	}
}

static int enroll_online(struct request *r, int stop_fd)
{
	cleanup(talk_end) struct talk t = {.stop_fd = stop_fd};
	struct enroll_result result = {0};
	int err = talk_begin(&t, r->collector.enroll_url, &r->keys), code;

	if (err)
		return fail_talk(r->collector.enroll_url, err);
	code = wait_for_decision(r, &t, &result);
	if (code)
		return code;
	if (result.status != ENROLL_ADMITTED) {
		log_error("%s refuses this host: %s", r->collector.enroll_url, result.text);
		return EXIT_PERMISSION;
	}
	if (memcmp(result.probe_id, r->keys.own.id, KEY_ID_BYTES) != 0) {
		log_error("%s knows the key, or the identity, of this host as that of another one",
			  r->collector.enroll_url);
		return EXIT_RUNTIME;
	}
	code = keep(r);
	if (!code)
		printf("%s is enrolled at %s, key %s\n", r->id.host_name, r->collector.url,
		       r->fingerprint);
	return code;
}

static int enroll_offline(const struct request *r)
{
	char key[KEY_TEXT_BYTES];
	int code = keep(r);

	key_format(r->keys.own.public_key, key);
	if (!code)
		printf("%s %s\n", r->id.host_name, key);
	return code;
}

int enroll_main(int argc, char **argv, int stop_fd)
{
	cleanup(free_p) struct request *r = calloc(1, sizeof(*r));
	struct enroll_settings settings;
	int first, code, err;

	if (!r) {
		log_error("out of memory");
		return EXIT_RUNTIME;
	}
	err = options_parse(&enroll_command, "weir-probe", argc, argv, &settings, &first);
	if (err)
		return err > 0 ? EXIT_OK : EXIT_USAGE;
	r->settings = &settings;
	if (argc - first == 1) {
		code = prepare(r, argv[first]);
		if (!code)
			code = settings.offline ? enroll_offline(r) : enroll_online(r, stop_fd);
	} else {
		log_error("one join string is needed: 'weir-collector enroll token create' prints "
			  "it");
		code = EXIT_USAGE;
	}
	key_forget(&r->keys.own);
	options_free(enroll_command.tables, &settings);
	return code;
}

/* --- key ------------------------------------------------------------------------------------- */

static int show(const struct enroll_settings *s)
{
	char why[KEYRING_WHY_BYTES], text[KEY_TEXT_BYTES], fingerprint[KEY_FINGERPRINT_BYTES];
	struct key_pair own;
	int err = keyring_own(s->state_dir, &own, why);

	if (err)
		return fail(why, err);
	key_forget(&own);
	key_format(own.public_key, text);
	key_fingerprint(own.public_key, fingerprint);
	printf("public key   %s\nfingerprint  %s\n", text, fingerprint);
	return EXIT_OK;
}

/* Has one collector admit the new key, as the old one's successor. */
static int introduce(const struct keyring *k, const struct known_collector *c,
		     const struct enroll *question, int stop_fd)
{
	cleanup(talk_end) struct talk t = {.stop_fd = stop_fd};
	struct link_keys keys = {.own = k->own};
	struct enroll_result result = {0};
	int err;

	memcpy(keys.server_key, c->key, KEY_BYTES);
	err = talk_begin(&t, c->enroll_url, &keys);
	if (!err)
		err = ask(&t, question, &result);
	key_forget(&keys.own);
	if (err)
		return fail_talk(c->enroll_url, err);
	if (result.status == ENROLL_ADMITTED)
		return EXIT_OK;
	log_error("%s does not take the new key: %s", c->enroll_url, result.text);
	return EXIT_PERMISSION;
}

/* All collectors first: until one is used, the old key goes on being good everywhere. */
static int rotate(const struct enroll_settings *s, struct keyring *k, int stop_fd)
{
	char why[KEYRING_WHY_BYTES], fingerprint[KEY_FINGERPRINT_BYTES];
	struct enroll question = {.rotate = true};
	struct key_pair fresh;
	struct identity id;
	int code = EXIT_OK, err;

	err = identity_make(s->name, &id);
	if (!err)
		err = key_make(&fresh);
	if (err)
		return fail("no new key can be made", err);
	memcpy(fresh.id, k->own.id, sizeof(fresh.id));
	memcpy(question.new_key, fresh.public_key, sizeof(question.new_key));
	memcpy(question.host_name, id.host_name, sizeof(question.host_name));
	for (size_t i = 0; !code && i < k->n; i++)
		code = introduce(k, &k->collectors[i], &question, stop_fd);
	if (!code) {
		err = keyring_replace_own(s->state_dir, &fresh, why);
		code = err ? fail(why, err) : EXIT_OK;
	}
	key_fingerprint(fresh.public_key, fingerprint);
	key_forget(&fresh);
	if (!code)
		printf("the new key is %s; a probe that runs takes it at its next connection\n",
		       fingerprint);
	return code;
}

static int load_and_rotate(const struct enroll_settings *s, int stop_fd)
{
	cleanup(free_p) struct keyring *k = calloc(1, sizeof(*k));
	char why[KEYRING_WHY_BYTES];
	int code, err;

	if (!k)
		return fail("out of memory", -ENOMEM);
	err = keyring_load(s->state_dir, k, why);
	code = err ? fail(why, err) : rotate(s, k, stop_fd);
	keyring_forget(k);
	return code;
}

int key_main(int argc, char **argv, int stop_fd)
{
	struct enroll_settings settings;
	int first, code, err;

	err = options_parse(&key_command, "weir-probe", argc, argv, &settings, &first);
	if (err)
		return err > 0 ? EXIT_OK : EXIT_USAGE;
	if (argc - first == 1 && strcmp(argv[first], "show") == 0) {
		code = show(&settings);
	} else if (argc - first == 1 && strcmp(argv[first], "rotate") == 0) {
		code = load_and_rotate(&settings, stop_fd);
	} else {
		log_error("'weir-probe key show' or 'weir-probe key rotate'");
		code = EXIT_USAGE;
	}
	options_free(key_command.tables, &settings);
	return code;
}
