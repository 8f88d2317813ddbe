// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/dns_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "probe/names/dns.h"

#define RCODE_NOERROR  0
#define RCODE_NXDOMAIN 3

/* How bad: these, then the latency. */
enum tier { TIER_WAITING = 1, TIER_ANSWERED, TIER_FAILED, TIER_UNANSWERED };

struct dns_query {
	struct dns_query *next; /* of the flow's, or of the free ones */
	struct dns_flow *flow;	/* NULL: free */
	uint64_t sent_ns;
	uint16_t id;
	uint16_t qtype;
	uint8_t dir; /* who asked */
	char qname[DNS_NAME_MAX];
};

struct dns_log {
	uint64_t *counters;
	struct dns_query *queries; /* DNS_WAITING_MAX of them */
	uint32_t n_used;	   /* those from here on have never been used */
	struct dns_query *free;
};

int dns_log_new(uint64_t *counters, struct dns_log **ret)
{
	struct dns_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	log->counters = counters;
	log->queries = calloc(DNS_WAITING_MAX, sizeof(*log->queries));
	if (!log->queries) {
		free(log);
		return -ENOMEM;
	}
	*ret = log;
	return 0;
}

void dns_log_free(struct dns_log *log)
{
	if (!log)
		return;
	free(log->queries);
	free(log);
}

/* --- queries that wait ------------------------------------------------------------ */

static struct dns_query *take_free(struct dns_log *log)
{
	struct dns_query *q = log->free;

	if (q)
		log->free = q->next;
	else if (log->n_used < DNS_WAITING_MAX)
		q = &log->queries[log->n_used++];
	return q;
}

static void wait_for_answer(struct dns_log *log, struct dns_flow *f, unsigned dir, uint64_t now_ns,
			    const struct dns_message *m)
{
	struct dns_query *q = f->n_waiting < DNS_FLOW_WAITING_MAX ? take_free(log) : NULL;

	if (!q) {
		log->counters[NAMES_DNS_UNTRACKED]++;
		return;
	}
	q->next = f->waiting;
	q->flow = f;
	q->sent_ns = now_ns;
	q->id = m->id;
	q->qtype = m->qtype;
	q->dir = (uint8_t)dir;
	memcpy(q->qname, m->qname, sizeof(q->qname));
	f->waiting = q;
	f->n_waiting++;
}

static bool timed_out(const struct dns_query *q, uint64_t now_ns)
{
	return now_ns > q->sent_ns && now_ns - q->sent_ns >= DNS_TIMEOUT_NS;
}

static void drop(struct dns_log *log, struct dns_flow *f, struct dns_query *q)
{
	struct dns_query **at = &f->waiting;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	f->n_waiting--;
	q->flow = NULL;
	q->next = log->free;
	log->free = q;
}

/* Responses to what is no question at all (FORMERR) may repeat none. */
static bool same_question(const struct dns_query *q, const struct dns_message *m)
{
	return (m->response && (!m->qname[0] || strcmp(q->qname, DNS_NAME_UNREAD) == 0)) ||
	       (q->qtype == m->qtype && strcmp(q->qname, m->qname) == 0);
}

/* --- the one query that is told of ------------------------------------------------- */

static void tell(struct dns_flow *f, enum tier tier, const char *qname, uint16_t qtype,
		 uint8_t rcode, uint32_t latency_us)
{
	uint64_t rank = (uint64_t)tier << 32 | latency_us;

	if (rank <= f->rank)
		return;
	f->rank = rank;
	f->latency_us = latency_us;
	f->qtype = qtype;
	f->rcode = rcode;
	memcpy(f->qname, qname, sizeof(f->qname));
}

static void give_up(struct dns_log *log, struct dns_flow *f, struct dns_query *q)
{
	f->unanswered++;
	tell(f, TIER_UNANSWERED, q->qname, q->qtype, DNS_RCODE_NONE, 0);
	drop(log, f, q);
}

/* The query of end dir with that id, if it still waits. */
static struct dns_query *find(struct dns_log *log, struct dns_flow *f, unsigned dir,
			      uint64_t now_ns, uint16_t id)
{
	struct dns_query *q = f->waiting;

	while (q && (q->id != id || q->dir != dir))
		q = q->next;
	if (!q || !timed_out(q, now_ns))
		return q;
	give_up(log, f, q);
	return NULL;
}

static void on_query(struct dns_log *log, struct dns_flow *f, unsigned dir, uint64_t now_ns,
		     const struct dns_message *m)
{
	struct dns_query *q = find(log, f, dir, now_ns, m->id);

	f->queries++;
	if (q && same_question(q, m))
		return;
	if (q)
		give_up(log, f, q);
	wait_for_answer(log, f, dir, now_ns, m);
}

/* A measured time under 1 us is given as 1; 0 is for none. */
static uint32_t latency_us(uint64_t sent_ns, uint64_t now_ns)
{
	uint64_t us = now_ns > sent_ns ? (now_ns - sent_ns) / NS_PER_US : 0;

	if (us > UINT32_MAX)
		return UINT32_MAX;
	return us ? (uint32_t)us : 1;
}

static void on_response(struct dns_log *log, struct dns_flow *f, unsigned dir, uint64_t now_ns,
			const struct dns_message *m)
{
	bool failed = m->rcode != RCODE_NOERROR && m->rcode != RCODE_NXDOMAIN;
	struct dns_query *q = find(log, f, !dir, now_ns, m->id);
	enum tier tier = failed ? TIER_FAILED : TIER_ANSWERED;

	if (!q || !same_question(q, m)) {
		if (m->qname[0])
			tell(f, tier, m->qname, m->qtype, m->rcode, 0);
		return;
	}
	tell(f, tier, q->qname, q->qtype, m->rcode, latency_us(q->sent_ns, now_ns));
	drop(log, f, q);
}

void dns_log_message(struct dns_log *log, struct dns_flow *f, unsigned dir, uint64_t now_ns,
		     const struct dns_message *m)
{
	if (m->cut)
		log->counters[NAMES_TEXT_CUT]++;
	if (m->response)
		on_response(log, f, dir, now_ns, m);
	else
		on_query(log, f, dir, now_ns, m);
}

void dns_log_expire(struct dns_log *log, uint64_t now_ns)
{
	for (uint32_t i = 0; i < log->n_used; i++) {
		struct dns_query *q = &log->queries[i];

		if (q->flow && timed_out(q, now_ns))
			give_up(log, q->flow, q);
	}
}

void dns_log_give_up(struct dns_log *log, struct dns_flow *f)
{
	while (f->waiting)
		give_up(log, f, f->waiting);
}

void dns_log_take(struct dns_flow *f, struct flow_record *r)
{
	if (f->waiting)
		tell(f, TIER_WAITING, f->waiting->qname, f->waiting->qtype, DNS_RCODE_NONE, 0);
	r->dns_queries = f->queries;
	r->dns_unanswered = f->unanswered;
	if (f->rank) {
		memcpy(r->dns_qname, f->qname, sizeof(r->dns_qname));
		r->dns_qtype = f->qtype;
		r->dns_rcode = f->rcode;
		r->dns_latency_us = f->latency_us;
	}
	f->queries = f->unanswered = 0;
	f->rank = 0;
}

void dns_log_forget(struct dns_log *log, struct dns_flow *f)
{
	while (f->waiting)
		drop(log, f, f->waiting);
}
