// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/access/gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "collector/access/allow_list.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

/* In libzmq since 4.3.0, though zmq.h calls it a draft and does not declare it. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

#define ENDPOINT    "inproc://zeromq.zap.01"
#define BEAT_MS	    200
#define BEAT_MAX_MS 10000 /* of silence, before the guard counts as hanging */

/* Frames of a request after its delimiter (which REP takes away). */
enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS, N_FRAMES };
#define FRAME_MAX 256

static const char *const domains[] = {[GATE_DATA] = "weir", [GATE_ENROLL] = "weir-enroll"};

struct gate {
	void *ctx;
	void *zap; /* REP; the guard's while it runs */
	struct key_pair key;
	struct allow_list *allow;
	pthread_t guard;
	bool running;
	_Atomic bool stop;
	_Atomic uint64_t beat_ns;
	pthread_mutex_t lock; /* of the two below */
	size_t n_away;
	struct sent_away away[GATE_SENT_AWAY_MAX];
};

DEFINE_CLEANUP(struct gate *, gate_close)

struct request {
	size_t n, len[N_FRAMES];
	char frames[N_FRAMES][FRAME_MAX + 1]; /* NUL-terminated */
};

/* Returns false when there is none. Frames beyond the last one are dropped. */
static bool receive(void *socket, struct request *ret)
{
	int more = 1, flags = ZMQ_DONTWAIT;
	size_t size = sizeof(more);

	for (ret->n = 0; more; flags = 0) {
		char beyond[FRAME_MAX + 1], *to = ret->n < N_FRAMES ? ret->frames[ret->n] : beyond;
		int len = zmq_recv(socket, to, FRAME_MAX, flags);

		if (len < 0)
			return false;
		if (ret->n < N_FRAMES) {
			to[len < FRAME_MAX ? len : FRAME_MAX] = '\0';
			ret->len[ret->n++] = (size_t)len;
		}
		if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0)
			return false;
	}
	return true;
}

/*
 * "400" is told to the client, which then gives up; after "300" it is cut off
 * and comes again: while the collector starts.
 */
static const char *decide(const struct gate *g, const struct request *r)
{
	if (r->n != N_FRAMES || strcmp(r->frames[VERSION], "1.0") != 0 ||
	    strcmp(r->frames[MECHANISM], "CURVE") != 0 || r->len[CREDENTIALS] != KEY_BYTES)
		return "400";
	if (strcmp(r->frames[DOMAIN], domains[GATE_ENROLL]) == 0)
		return "200";
	if (strcmp(r->frames[DOMAIN], domains[GATE_DATA]) != 0)
		return "400";
	if (allow_list_find(g->allow, (const uint8_t *)r->frames[CREDENTIALS], NULL))
		return "200";
	return allow_list_filled(g->allow) ? "400" : "300";
}

static void count_away(struct gate *g, const struct request *r)
{
	char address[ADDR_TEXT_MAX] = "";
	uint8_t addr[16];
	size_t i = 0;

	if (r->n > ADDRESS && addr_parse(r->frames[ADDRESS], addr) == 0)
		(void)addr_format(addr, address);
	(void)pthread_mutex_lock(&g->lock); /* cannot fail: ours and not held */
	while (i < g->n_away && strcmp(g->away[i].address, address) != 0)
		i++;
	if (i == GATE_SENT_AWAY_MAX) {
		i--; /* the last one is all the others' */
		g->away[i].address[0] = '\0';
	} else if (i == g->n_away) {
		g->n_away++;
		memcpy(g->away[i].address, address, sizeof(address));
		g->away[i].n = 0;
	}
	g->away[i].n++;
	(void)pthread_mutex_unlock(&g->lock);
}

size_t gate_sent_away(struct gate *g, struct sent_away ret[GATE_SENT_AWAY_MAX])
{
	size_t n;

	(void)pthread_mutex_lock(&g->lock); /* likewise */
	n = g->n_away;
	memcpy(ret, g->away, n * sizeof(*ret));
	g->n_away = 0;
	(void)pthread_mutex_unlock(&g->lock);
	return n;
}

static void answer(struct gate *g, const struct request *r)
{
	const char *status = decide(g, r);
	bool good = strcmp(status, "200") == 0;
	char user[KEY_TEXT_BYTES] = "";
	const char *const frames[] = {"1.0", NULL, status, good ? "" : "not admitted", user, ""};

	if (*status == '4')
		count_away(g, r);
	if (good)
		key_format((const uint8_t *)r->frames[CREDENTIALS], user);
	for (size_t i = 0; i < 6; i++) {
		const char *frame = i == REQUEST_ID ? r->frames[REQUEST_ID] : frames[i];
		size_t len =
			i == REQUEST_ID && r->n > REQUEST_ID ? r->len[REQUEST_ID] : strlen(frame);

		if (zmq_send(g->zap, frame, len, i < 5 ? ZMQ_SNDMORE : 0) < 0) {
			log_debug("ZAP: %s", zmq_strerror(zmq_errno()));
			return; /* that one stays outside */
		}
	}
}

static void *guard(void *arg)
{
	struct gate *g = arg;
	zmq_pollitem_t item = {.socket = g->zap, .events = ZMQ_POLLIN};
	struct request request;

	while (!g->stop) {
		g->beat_ns = clock_mono_ns();
		if (zmq_poll(&item, 1, BEAT_MS) < 0 && zmq_errno() != EINTR) {
			log_error("the guard gives up, nobody can come in: %s",
				  zmq_strerror(zmq_errno()));
			break;
		}
		while (!g->stop && receive(g->zap, &request))
			answer(g, &request);
	}
	g->beat_ns = 0;
	return NULL;
}

int gate_open(const struct key_pair *key, struct allow_list *allow, struct gate **ret)
{
	cleanup(gate_close_p) struct gate *g = calloc(1, sizeof(*g));
	const int linger = 0;
	int err;

	if (!g)
		return -ENOMEM;
	(void)pthread_mutex_init(&g->lock, NULL); /* cannot fail with default attributes */
	g->key = *key;
	g->allow = allow;
	if (!zmq_has("curve"))
		return -ENOTSUP;
	g->ctx = zmq_ctx_new();
	if (g->ctx)
		g->zap = zmq_socket(g->ctx, ZMQ_REP);
	if (!g->zap || zmq_setsockopt(g->zap, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
	    zmq_bind(g->zap, ENDPOINT) != 0)
		return -zmq_errno();
	g->beat_ns = clock_mono_ns();
	err = pthread_create(&g->guard, NULL, guard, g);
	if (err)
		return -err;
	(void)pthread_setname_np(g->guard, "weir-guard"); /* for people: ps -L */
	g->running = true;
	*ret = take_ptr(g);
	return 0;
}

void gate_dismiss(struct gate *g)
{
	if (g->running) {
		g->stop = true;
		(void)pthread_join(g->guard, NULL); /* ours and joinable */
		g->running = false;
	}
	if (g->zap)
		(void)zmq_close(g->zap); /* fails only for what is no socket */
	g->zap = NULL;
}

void gate_close(struct gate *g)
{
	if (!g)
		return;
	gate_dismiss(g);
	if (g->ctx)
		(void)zmq_ctx_term(g->ctx); /* signals are blocked, so it is not interrupted */
	key_forget(&g->key);
	(void)pthread_mutex_destroy(&g->lock); /* nobody holds it */
	free(g);
}

void *gate_context(struct gate *g)
{
	return g->ctx;
}

/* Sets an option and reads it back: what is read is size bytes, in a buffer of the size that
 * libzmq wants for it. */
static int set(void *socket, int option, const void *value, size_t size, size_t buffer_size)
{
	char got[KEY_BYTES];
	size_t got_size = buffer_size;

	if (zmq_setsockopt(socket, option, value, size) != 0 ||
	    zmq_getsockopt(socket, option, got, &got_size) != 0)
		return -zmq_errno();
	return got_size >= size && memcmp(got, value, size) == 0 ? 0 : -ENOTSUP;
}

int gate_guard(struct gate *g, void *socket, enum gate_domain domain)
{
	const int on = 1;
	int err;

	err = set(socket, ZMQ_CURVE_SERVER, &on, sizeof(on), sizeof(on));
	if (!err)
		err = set(socket, ZMQ_CURVE_SECRETKEY, g->key.secret_key, KEY_BYTES, KEY_BYTES);
	if (!err)
		err = set(socket, ZMQ_ZAP_DOMAIN, domains[domain], strlen(domains[domain]),
			  KEY_BYTES);
	if (!err)
		err = set(socket, ZMQ_ZAP_ENFORCE_DOMAIN, &on, sizeof(on), sizeof(on));
	return err;
}

bool gate_answers(const struct gate *g)
{
	uint64_t beat_ns = g->beat_ns, now_ns = clock_mono_ns();

	return beat_ns && (now_ns < beat_ns || now_ns - beat_ns < BEAT_MAX_MS * NS_PER_MS);
}
