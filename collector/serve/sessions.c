// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/sessions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

struct sessions {
	struct credit_pool *pool;
	size_t max, n;
	size_t n_buckets; /* a power of two, at least max */
	struct session *buckets[];
};

int sessions_new(size_t max, struct credit_pool *pool, struct sessions **ret)
{
	struct sessions *t;
	size_t n_buckets = 1;

	while (n_buckets < max)
		n_buckets *= 2;
	t = calloc(1, sizeof(*t) + n_buckets * sizeof(struct session *));
	if (!t)
		return -ENOMEM;
	t->pool = pool;
	t->max = max;
	t->n_buckets = n_buckets;
	*ret = t;
	return 0;
}

void sessions_free(struct sessions *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_buckets; i++) {
		while (t->buckets[i])
			sessions_remove(t, t->buckets[i]);
	}
	free(t);
}

/* FNV-1a. Peers choose their id only to fall into a bucket of at most max sessions. */
static struct session **bucket(struct sessions *t, const struct peer_id *peer)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < peer->len; i++)
		hash = (hash ^ peer->bytes[i]) * 0x100000001b3ull;
	return &t->buckets[(hash ^ hash >> 32) & (t->n_buckets - 1)];
}

static bool same_peer(const struct peer_id *a, const struct peer_id *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

struct session *sessions_find(struct sessions *t, const struct peer_id *peer)
{
	struct session *s = *bucket(t, peer);

	while (s && !same_peer(&s->peer, peer))
		s = s->next;
	return s;
}

bool session_has_probe(const struct session *s, const uint8_t *probe_id)
{
	for (size_t i = 0; i < s->n_probes; i++)
		if (memcmp(s->probe_ids[i], probe_id, PROBE_ID_BYTES) == 0)
			return true;
	return false;
}

void session_add_probe(struct session *s, const uint8_t *probe_id)
{
	if (session_has_probe(s, probe_id))
		return;
	memmove(s->probe_ids[1], s->probe_ids[0], (SESSION_MAX_PROBES - 1) * PROBE_ID_BYTES);
	memcpy(s->probe_ids[0], probe_id, PROBE_ID_BYTES);
	if (s->n_probes < SESSION_MAX_PROBES)
		s->n_probes++;
}

struct session *sessions_find_probe(struct sessions *t, const uint8_t *probe_id)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct session *s = t->buckets[i]; s; s = s->next) {
			if (session_has_probe(s, probe_id))
				return s;
		}
	}
	return NULL;
}

int sessions_add(struct sessions *t, const struct peer_id *peer, struct session **ret)
{
	struct session **head = bucket(t, peer);
	struct session *s;

	if (t->n == t->max)
		return -ENOSPC;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->peer = *peer;
	s->next = *head;
	*head = s;
	t->n++;
	credit_join(t->pool, &s->credit, clock_mono_ns());
	*ret = s;
	return 0;
}

void sessions_remove(struct sessions *t, struct session *s)
{
	struct session **at = bucket(t, &s->peer);

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	credit_leave(t->pool, &s->credit);
	free(s);
	t->n--;
}

void sessions_expire(struct sessions *t, uint64_t before_ns, void (*give)(const struct session *))
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct session *next;

		for (struct session *s = t->buckets[i]; s; s = next) {
			next = s->next;
			if (s->heard_ns >= before_ns)
				continue;
			give(s);
			sessions_remove(t, s);
		}
	}
}

void sessions_each(struct sessions *t, void (*each)(struct session *s, void *arg), void *arg)
{
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct session *s = t->buckets[i]; s; s = s->next)
			each(s, arg);
}

int sessions_seen(struct sessions *t, int64_t at_ms, struct seen_host **ret)
{
	struct seen_host *seen;
	int n = 0;

	if (t->n == 0)
		return 0;
	seen = calloc(t->n * SESSION_MAX_PROBES, sizeof(*seen));
	if (!seen)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct session *s = t->buckets[i]; s; s = s->next) {
			if (!s->heard)
				continue;
			s->heard = false;
			for (size_t j = 0; j < s->n_probes; j++) {
				seen[n].at_ms = at_ms;
				memcpy(seen[n++].probe_id, s->probe_ids[j], PROBE_ID_BYTES);
			}
		}
	}
	if (n == 0)
		free(seen);
	else
		*ret = seen;
	return n;
}
