// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench-store/fill.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "proto/flow_columns.h"
#include "proto/flow_id.h"

#define N_OUTSIDE  200000 /* clients */
#define N_SCANNERS 20	  /* addresses outside that try what is there */
#define SCANS	   0.01	  /* share of their attempts */
#define N_NAMES	   2000	  /* that are asked for */
#define WHEEL	   128	  /* seconds ahead that a report can be due */
#define ACTIVE_S   60	  /* a flow that goes on is reported so often */
#define GRACE_S	   2	  /* from its end to its report */
#define NS_PER_MS  1000000ull
#define NS_PER_US  1000ull
#define US_PER_S   1000000ull

enum trade { WEB, APP, DATABASE, CACHE, NAMES, N_TRADES };

static const struct {
	double bytes, rev_bytes; /* medians */
	double seconds;		 /* median */
	double lasting;		 /* share that is kept open for minutes */
	double response_us;	 /* median */
	enum trade calls;	 /* what a server of this kind asks in turn */
	uint16_t port;
} trades[N_TRADES] = {
	[WEB] = {1800, 9000, 0.4, 0.08, 12000, APP, 443},
	[APP] = {900, 3500, 0.15, 0.10, 6000, DATABASE, 8080},
	[DATABASE] = {700, 4000, 0.05, 0.30, 900, NAMES, 5432},
	[CACHE] = {300, 900, 0.02, 0.25, 200, NAMES, 6379},
	[NAMES] = {78, 190, 0.002, 0, 700, NAMES, 53},
};

/* A conversation under way. */
struct flow {
	struct flow *next; /* due in the same second */
	uint8_t client[16], server[16];
	int client_host, server_host; /* -1: outside */
	uint16_t client_port, server_port;
	uint8_t proto;
	enum trade trade;
	uint64_t start_us, end_us, reported_us;
	double rate, rev_rate; /* bytes/s */
	uint64_t total[4];     /* packets, bytes, rev packets, rev bytes */
	uint32_t rtt_us, name, mss;
	bool first;
	bool scan; /* nobody answers */
};

struct host_rows {
	struct flow_record *rows;
	size_t n, max;
};

struct fill {
	struct fill_settings settings;
	uint64_t rng;
	uint64_t now_s; /* since the start */
	double owed;	/* flows that should have begun */
	struct flow *wheel[WHEEL];
	struct host_rows *hosts;
	unsigned at_host;
	size_t at_row;
};

/* --- chance -------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t draw(struct fill *f)
{
	return mix(f->rng++);
}

static double uniform(struct fill *f)
{
	return ((double)(draw(f) >> 11) + 0.5) / 9007199254740992.0;
}

static bool chance(struct fill *f, double p)
{
	return uniform(f) < p;
}

static double lognormal(struct fill *f, double median, double sigma)
{
	double normal = sqrt(-2 * log(uniform(f))) * cos(2 * M_PI * uniform(f));

	return median * exp(sigma * normal);
}

/* 0 to n - 1; the first ones are drawn most, as 1 / rank. */
static size_t zipf(struct fill *f, size_t n)
{
	return (size_t)(exp(uniform(f) * log((double)n)) - 1 + 1e-9);
}

/* --- who -------------------------------------------------------------------------- */

static void v4(uint8_t ret[16], uint32_t addr)
{
	memset(ret, 0, 10);
	ret[10] = ret[11] = 0xff;
	for (int i = 0; i < 4; i++)
		ret[12 + i] = (uint8_t)(addr >> (24 - 8 * i));
}

static enum trade trade_of(unsigned host)
{
	static const enum trade shares[] = {WEB,   APP, WEB, DATABASE, APP,
					    CACHE, WEB, APP, WEB,      NAMES};

	return shares[host % 10];
}

static const uint8_t documentation[] = {0x20, 0x01, 0x0d, 0xb8}; /* RFC 3849 */

void fill_host_addrs(unsigned host, uint8_t ret_v4[16], uint8_t ret_v6[16])
{
	v4(ret_v4, 0x0a010000u + (host / 10 << 8) + host % 10 + 10);
	memset(ret_v6, 0, 16);
	memcpy(ret_v6, documentation, sizeof(documentation));
	ret_v6[7] = 1;
	ret_v6[13] = (uint8_t)(host / 10);
	ret_v6[15] = (uint8_t)(host % 10 + 10);
}

/* The one of the family that its peer speaks. */
static void host_addr(unsigned host, bool is_v4, uint8_t ret[16])
{
	uint8_t other[16];

	if (is_v4)
		fill_host_addrs(host, ret, other);
	else
		fill_host_addrs(host, other, ret);
}

/* Every twelfth client has an IPv6 address. */
static void outside_addr(const struct fill *f, size_t n, uint8_t ret[16])
{
	uint64_t h = mix(f->settings.seed ^ n * 7919);

	if (n % 12) {
		v4(ret, (uint32_t)h | 0x20000000u);
		return;
	}
	memcpy(ret, documentation, sizeof(documentation));
	memcpy(ret + 4, &h, 8);
	memset(ret + 12, 0, 3);
	ret[15] = 1;
}

/* A host of that trade that is not except; -1 if the fleet has none. */
static int pick_host(struct fill *f, enum trade trade, int except)
{
	unsigned n = f->settings.hosts, from = (unsigned)(zipf(f, n));

	for (unsigned i = 0; i < n; i++)
		if (trade_of((from + i) % n) == trade && (int)((from + i) % n) != except)
			return (int)((from + i) % n);
	return -1;
}

static void set_ends(struct fill *f, struct flow *flow)
{
	unsigned n_hosts = f->settings.hosts ? f->settings.hosts : 1;
	double what = uniform(f);
	size_t outside;

	flow->scan = chance(f, SCANS);
	if (flow->scan) {
		flow->client_host = -1;
		flow->server_host = (int)(draw(f) % n_hosts);
		outside_addr(f, N_OUTSIDE + zipf(f, N_SCANNERS), flow->client);
		flow->rtt_us = 40000;
	} else if (what < 0.45) { /* a client outside asks a web server */
		outside = zipf(f, N_OUTSIDE);
		flow->client_host = -1;
		flow->server_host = pick_host(f, WEB, -1);
		outside_addr(f, outside, flow->client);
		flow->rtt_us = (uint32_t)(2000 + mix(outside) % 60000);
	} else {
		flow->client_host = (int)(draw(f) % n_hosts);
		flow->trade =
			what < 0.6 ? NAMES : trades[trade_of((unsigned)flow->client_host)].calls;
		if (what > 0.9)
			flow->trade = CACHE;
		flow->server_host = pick_host(f, flow->trade, flow->client_host);
		host_addr((unsigned)flow->client_host, true, flow->client);
		flow->rtt_us = 60 + (uint32_t)(mix((uint64_t)flow->client_host * 251 +
						   (uint64_t)flow->server_host) %
					       300);
	}
	if (flow->server_host < 0) { /* a small fleet: it asks outside */
		flow->trade = WEB;
		outside_addr(f, 12 * zipf(f, 500) + 500001, flow->server); /* has IPv4 */
		flow->rtt_us = 9000;
		if (flow->client_host < 0)
			flow->client_host = 0;
	} else {
		host_addr((unsigned)flow->server_host, addr_is_v4(flow->client), flow->server);
		flow->trade = trade_of((unsigned)flow->server_host);
	}
}

/* --- how much ------------------------------------------------------------------------ */

static void schedule(struct fill *f, struct flow *flow)
{
	uint64_t at = flow->end_us / US_PER_S + GRACE_S;
	uint64_t active = flow->reported_us / US_PER_S + ACTIVE_S;

	if (active < at)
		at = active;
	if (at <= f->now_s)
		at = f->now_s + 1;
	if (at >= f->now_s + WHEEL)
		at = f->now_s + WHEEL - 1;
	flow->next = f->wheel[at % WHEEL];
	f->wheel[at % WHEEL] = flow;
}

static void set_traffic(struct fill *f, struct flow *flow)
{
	double seconds, bytes, rev_bytes;

	if (flow->scan) { /* a SYN, and two more after 1 and 3 s */
		flow->proto = IPPROTO_TCP;
		flow->server_port = (uint16_t)(1 + zipf(f, 10000));
		flow->end_us = flow->start_us + 3 * US_PER_S;
		return;
	}
	seconds = lognormal(f, trades[flow->trade].seconds, 1.4);
	bytes = lognormal(f, trades[flow->trade].bytes, 0.9);
	rev_bytes = lognormal(f, trades[flow->trade].rev_bytes, 1.5);
	if (chance(f, trades[flow->trade].lasting)) {
		double more = lognormal(f, 90, 0.9);

		bytes *= 1 + more / 4;
		rev_bytes *= 1 + more / 4;
		seconds += more;
	}
	if (seconds > 3600)
		seconds = 3600;
	seconds += 3e-6 * flow->rtt_us;
	flow->rate = bytes / seconds;
	flow->rev_rate = rev_bytes / seconds;
	flow->end_us = flow->start_us + (uint64_t)(seconds * 1e6);
}

static int begin_flow(struct fill *f)
{
	struct flow *flow = calloc(1, sizeof(*flow));

	if (!flow)
		return -ENOMEM;
	set_ends(f, flow);
	flow->client_port = (uint16_t)(32768 + draw(f) % 28232);
	flow->server_port = trades[flow->trade].port;
	flow->proto = flow->trade == NAMES ? IPPROTO_UDP : IPPROTO_TCP;
	flow->mss = flow->client_host < 0 && chance(f, 0.2) ? 1400 : 1460;
	flow->name = (uint32_t)zipf(f, N_NAMES);
	flow->start_us = f->now_s * US_PER_S + draw(f) % US_PER_S;
	set_traffic(f, flow);
	flow->reported_us = flow->start_us;
	flow->first = true;
	schedule(f, flow);
	return 0;
}

/* --- what a host reports ------------------------------------------------------------------ */

static void add_rtt_sample(uint32_t us, uint32_t *samples, uint32_t *min, uint64_t *sum,
			   uint32_t *max, uint16_t hist[RTT_BUCKETS], uint32_t weight)
{
	unsigned log2 = us ? 31 - (unsigned)__builtin_clz(us) : 0;
	unsigned bucket = log2 < 5 ? 0 : log2 - 4 < RTT_BUCKETS ? log2 - 4 : RTT_BUCKETS - 1;

	if (*samples == 0 || us < *min)
		*min = us;
	if (us > *max)
		*max = us;
	*samples += weight;
	*sum += (uint64_t)us * weight;
	hist[bucket] = (uint16_t)(hist[bucket] + weight);
}

static void set_data_rtt(struct fill *f, double base_us, uint64_t packets, uint32_t *samples,
			 uint32_t *min, uint32_t *avg, uint32_t *max, uint16_t hist[RTT_BUCKETS])
{
	uint32_t wanted = (uint32_t)(packets / 4 < 40000 ? packets / 4 : 40000), drawn;
	uint64_t sum = 0;

	drawn = wanted < 12 ? wanted : 12;
	for (uint32_t i = 0; i < drawn; i++) {
		uint32_t weight = i + 1 < drawn ? wanted / drawn : wanted - *samples;

		add_rtt_sample((uint32_t)(base_us * (1 + lognormal(f, 0.08, 1))), samples, min,
			       &sum, max, hist, weight);
	}
	if (*samples)
		*avg = (uint32_t)(sum / *samples);
}

static void set_tcp(struct fill *f, const struct flow *flow, bool at_server, bool ended,
		    struct flow_record *r)
{
	double here = 15 + (double)(flow->rtt_us % 25), there = flow->rtt_us;

	if (flow->scan) {
		r->tcp_flags = 0x02;
		r->verdict = FLOW_VERDICT_SYN_UNANSWERED;
		return;
	}
	r->tcp_flags = ended ? 0x1b : 0x1a;
	r->rev_tcp_flags = r->tcp_flags;
	r->verdict = ended ? FLOW_VERDICT_CLOSED : FLOW_VERDICT_ESTABLISHED;
	r->mss = (uint16_t)flow->mss;
	r->rev_mss = 1460;
	if (flow->first) {
		double server = at_server ? here : there, client = at_server ? there : here;

		r->rtt_server_us = (uint32_t)(server * (1 + lognormal(f, 0.06, 1)));
		r->rtt_client_us = (uint32_t)(client * (1 + lognormal(f, 0.06, 1)));
		r->rtt_us = r->rtt_server_us + r->rtt_client_us;
	}
	set_data_rtt(f, at_server ? here : there, r->packets, &r->data_rtt_samples,
		     &r->data_rtt_min_us, &r->data_rtt_avg_us, &r->data_rtt_max_us,
		     r->data_rtt_hist);
	set_data_rtt(f, at_server ? there : here, r->rev_packets, &r->rev_data_rtt_samples,
		     &r->rev_data_rtt_min_us, &r->rev_data_rtt_avg_us, &r->rev_data_rtt_max_us,
		     r->rev_data_rtt_hist);
	if (chance(f, flow->client_host < 0 ? 0.06 : 0.004)) {
		r->rev_retrans_pkts = 1 + draw(f) % 4;
		r->rev_retrans_bytes = r->rev_retrans_pkts * 1448;
		r->dup_acks = (uint32_t)(draw(f) % 6);
	}
	if (chance(f, 0.01))
		r->ooo_pkts = 1 + (uint32_t)(draw(f) % 3);
}

static void set_service(struct fill *f, const struct flow *flow, struct flow_record *r)
{
	r->responses = 1 + (uint32_t)(r->rev_packets / 8);
	r->response_avg_us = (uint32_t)lognormal(f, trades[flow->trade].response_us, 0.8);
	r->response_max_us = r->response_avg_us;
	if (r->responses > 1)
		r->response_max_us += (uint32_t)lognormal(f, r->response_avg_us, 0.5);
	if (flow->trade == WEB) {
		(void)snprintf(r->tls_sni, sizeof(r->tls_sni), "www%u.example.net",
			       flow->name % 60);
		(void)strcpy(r->tls_alpn, "h2,http/1.1");
	}
	if (flow->trade == NAMES) {
		(void)snprintf(r->dns_qname, sizeof(r->dns_qname), "srv-%u.%s.example.net",
			       flow->name, flow->name % 3 ? "prod" : "backup");
		r->dns_qtype = flow->name % 4 ? 1 : 28;
		r->dns_rcode = flow->name % 17 == 5 ? 3 : 0;
		r->dns_latency_us = r->response_avg_us;
		r->dns_queries = 1;
	}
}

static uint64_t packets_of(uint64_t bytes, uint64_t other_bytes)
{
	return 1 + bytes / 1300 + other_bytes / 2900;
}

/* What has passed since the report before; the same for both hosts. */
struct step {
	uint64_t packets, bytes, rev_packets, rev_bytes, end_us;
	bool ended;
};

static struct step advance(struct flow *flow, uint64_t now_s)
{
	uint64_t now_us = now_s * US_PER_S;
	struct step s = {.ended = flow->end_us < now_us};
	double seconds;
	uint64_t payload, rev_payload;

	s.end_us = s.ended ? flow->end_us : now_us - flow->rtt_us % 50000;
	if (s.end_us < flow->reported_us)
		s.end_us = flow->reported_us;
	if (flow->scan) {
		s.packets = 3;
		s.bytes = 3 * 74;
		flow->total[0] = s.packets;
		flow->total[1] = s.bytes;
		return s;
	}
	seconds = (double)(s.end_us - flow->reported_us) / 1e6;
	payload = (uint64_t)(flow->rate * seconds);
	rev_payload = (uint64_t)(flow->rev_rate * seconds);
	s.packets = packets_of(payload, rev_payload);
	s.rev_packets = packets_of(rev_payload, payload);
	if (flow->proto == IPPROTO_TCP && flow->first) {
		s.packets += 3;
		s.rev_packets += 2;
	}
	s.bytes = payload + s.packets * 66;
	s.rev_bytes = rev_payload + s.rev_packets * 66;
	flow->total[0] += s.packets;
	flow->total[1] += s.bytes;
	flow->total[2] += s.rev_packets;
	flow->total[3] += s.rev_bytes;
	flow->reported_us = s.end_us;
	return s;
}

static int add_row(struct host_rows *h, const struct flow_record *r)
{
	if (h->n == h->max) {
		size_t max = h->max ? h->max * 2 : 64;
		struct flow_record *rows = realloc(h->rows, max * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		h->rows = rows;
		h->max = max;
	}
	h->rows[h->n++] = *r;
	return 0;
}

static int report(struct fill *f, const struct flow *flow, const struct step *s, int host,
		  bool at_server)
{
	uint64_t skew_us = at_server ? flow->rtt_us / 2 : 0;
	uint64_t start_ms = f->settings.start_ms * 1000 + flow->start_us + skew_us;
	struct flow_record r = {
		.start_ns = (f->settings.start_ms * 1000 + flow->start_us + skew_us) * NS_PER_US,
		.end_ns = (f->settings.start_ms * 1000 + s->end_us + skew_us) * NS_PER_US,
		.src_port = flow->client_port,
		.dst_port = flow->server_port,
		.proto = flow->proto,
		.iface = "eth0",
		.direction = at_server ? FLOW_DIRECTION_INGRESS : FLOW_DIRECTION_EGRESS,
		.role = at_server ? FLOW_ROLE_SERVER : FLOW_ROLE_CLIENT,
		.end_reason = !s->ended					  ? FLOW_END_ACTIVE
			      : flow->proto == IPPROTO_TCP && !flow->scan ? FLOW_END_DETECTED
									  : FLOW_END_IDLE,
		.packets = s->packets,
		.bytes = s->bytes,
		.rev_packets = s->rev_packets,
		.rev_bytes = s->rev_bytes,
		.total_packets = flow->total[0],
		.total_bytes = flow->total[1],
		.rev_total_packets = flow->total[2],
		.rev_total_bytes = flow->total[3],
	};

	memcpy(r.src_addr, flow->client, 16);
	memcpy(r.dst_addr, flow->server, 16);
	r.flow_id = flow_id_of(flow_id_end(flow_id_addr(r.src_addr), r.src_port),
			       flow_id_end(flow_id_addr(r.dst_addr), r.dst_port), r.proto, 0, 0, 0,
			       start_ms / 1000);
	if (flow->proto == IPPROTO_TCP)
		set_tcp(f, flow, at_server, s->ended, &r);
	if (!flow->scan)
		set_service(f, flow, &r);
	return add_row(&f->hosts[host], &r);
}

/* Everything that is due in this second. */
static int report_due(struct fill *f)
{
	struct flow *flow = f->wheel[f->now_s % WHEEL];
	int err = 0;

	f->wheel[f->now_s % WHEEL] = NULL;
	while (flow) {
		struct flow *next = flow->next;
		struct step s = advance(flow, f->now_s);

		if (!err && flow->client_host >= 0)
			err = report(f, flow, &s, flow->client_host, false);
		if (!err && flow->server_host >= 0)
			err = report(f, flow, &s, flow->server_host, true);
		flow->first = false;
		if (s.ended)
			free(flow);
		else
			schedule(f, flow);
		flow = next;
	}
	return err;
}

/* The load at noon is three times that at midnight. */
static double load_now(const struct fill *f)
{
	double hour = ((double)f->settings.start_ms / 1000 + (double)f->now_s) / 3600;

	return f->settings.flows_per_s * (1 - 0.5 * cos(2 * M_PI * hour / 24));
}

static int next_second(struct fill *f)
{
	int err = 0;

	for (unsigned h = 0; h < f->settings.hosts; h++)
		f->hosts[h].n = 0;
	f->at_host = 0;
	f->at_row = 0;
	f->now_s++;
	for (f->owed += load_now(f); !err && f->owed >= 1; f->owed -= 1)
		err = begin_flow(f);
	return err ? err : report_due(f);
}

int fill_next(struct fill *f, size_t max_rows, struct fill_batch *ret)
{
	const struct host_rows *h;
	int err;

	while (f->at_host == f->settings.hosts || f->at_row == f->hosts[f->at_host].n) {
		if (f->at_host < f->settings.hosts) {
			f->at_host++;
			f->at_row = 0;
			continue;
		}
		err = next_second(f);
		if (err)
			return err;
	}
	h = &f->hosts[f->at_host];
	*ret = (struct fill_batch){
		.host = f->at_host, .n = h->n - f->at_row, .rows = h->rows + f->at_row};
	if (ret->n > max_rows)
		ret->n = max_rows;
	f->at_row += ret->n;
	return 0;
}

bool fill_second_is_over(const struct fill *f)
{
	size_t taken = f->at_row;

	for (unsigned h = f->at_host; h < f->settings.hosts; h++, taken = 0)
		if (f->hosts[h].n > taken)
			return false;
	return true;
}

uint64_t fill_now_ms(const struct fill *f)
{
	return f->settings.start_ms + f->now_s * 1000;
}

int fill_new(const struct fill_settings *settings, struct fill **ret)
{
	struct fill *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->settings = *settings;
	f->rng = mix(settings->seed);
	f->at_host = settings->hosts;
	f->hosts = calloc(settings->hosts, sizeof(*f->hosts));
	if (!f->hosts) {
		free(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

void fill_free(struct fill *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < WHEEL; i++) {
		for (struct flow *flow = f->wheel[i], *next; flow; flow = next) {
			next = flow->next;
			free(flow);
		}
	}
	for (unsigned h = 0; h < f->settings.hosts; h++)
		free(f->hosts[h].rows);
	free(f->hosts);
	free(f);
}
