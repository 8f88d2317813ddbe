// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * weir_bench.c - a fleet of simulated probes in one process, for the proofs of
 * this folder and for whoever wants to know what a collector takes.
 *
 *	weir-bench --connect tcp://127.0.0.1:7441 --probes 500 --seconds 60
 *
 * Prints flows a second, the delay of acknowledgements and what was refused;
 * --out writes the same as JSON, with what each probe has sent and what of it
 * was acknowledged.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/exit_code.h"
#include "common/key.h"
#include "tests/torture/sim_batch.h"
#include "tests/torture/sim_probe.h"

#define POLL_MS	  5
#define SETTLE_NS (30 * NS_PER_SEC)

static const char usage[] =
	"usage: weir-bench [OPTION...]\n"
	"  --connect URL     tcp://HOST:PORT of the collector (tcp://127.0.0.1:7441)\n"
	"  --server-key KEY  its public key (Z85): CURVE; without it, in the clear\n"
	"  --keys FILE       keys of the probes, one a line: public secret id; else new ones\n"
	"  --make-keys N     print as many, as --keys wants them, and end\n"
	"  --probes N        simulated probes (10), numbered from --first N (0)\n"
	"  --rows N          flows of a batch (512)\n"
	"  --rate N          flows a second of all together; 0: all that is taken (0)\n"
	"  --window N        batches of one probe that wait for an answer (8)\n"
	"  --seconds N       how long (10), and --warm-up N before it is measured (2)\n"
	"  --conduct WORD    honest, spoof, foreign, replay\n"
	"  --victim ID       probe id, 32 hexadecimal digits, of spoof and foreign\n"
	"  --live            say four times a second how much is acknowledged\n"
	"  --no-settle       do not wait for the last acknowledgements\n"
	"  --seed N          of the flows (1)\n"
	"  --out FILE        the account, as JSON\n"
	"SIGTERM: nothing new is sent, and it ends when all is acknowledged.\n";

struct bench {
	struct sim_settings settings;
	struct delays delays;
	struct sim_probe probes[SIM_PROBES_MAX];
	zmq_pollitem_t items[SIM_PROBES_MAX];
	unsigned n, first, seconds, warm_up, seed;
	double rate;
	bool no_settle, live;
	uint64_t told_ns; /* when --live last said something */
	const char *out, *keys;
	uint8_t victim_id[PROBE_ID_BYTES];
	uint64_t start_ns, measured_ns;
};

static volatile sig_atomic_t stopped, enough;

static void stop(int signal)
{
	stopped = signal == SIGINT;
	enough = 1;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "weir-bench: %s: %s\n", what, why);
	exit(EXIT_RUNTIME);
}

static int parse_id(const char *text, uint8_t ret[PROBE_ID_BYTES])
{
	for (int i = 0; i < PROBE_ID_BYTES; i++)
		if (sscanf(text + 2 * i, "%2hhx", &ret[i]) != 1)
			return -EINVAL;
	return text[2 * PROBE_ID_BYTES] == '\0' ? 0 : -EINVAL;
}

static enum sim_conduct parse_conduct(const char *word)
{
	static const char *const words[] = {"honest", "spoof", "foreign", "replay"};

	for (int i = 0; i < 4; i++)
		if (strcmp(word, words[i]) == 0)
			return (enum sim_conduct)i;
	die("--conduct", "honest, spoof, foreign or replay");
	return SIM_HONEST;
}

static void make_identity(struct sim_probe *p)
{
	struct key_pair key;
	int err = key_make(&key);

	if (err)
		die("a key", strerror(-err));
	key_format(key.public_key, p->public_key);
	key_format(key.secret_key, p->secret_key);
	memcpy(p->probe_id, key.id, sizeof(p->probe_id));
	key_forget(&key);
}

static void print_id(FILE *f, const uint8_t id[PROBE_ID_BYTES])
{
	for (int i = 0; i < PROBE_ID_BYTES; i++)
		fprintf(f, "%02x", id[i]);
}

static void make_keys(unsigned n)
{
	struct sim_probe p = {0};

	for (unsigned i = 0; i < n; i++) {
		make_identity(&p);
		printf("%s %s ", p.public_key, p.secret_key);
		print_id(stdout, p.probe_id);
		putchar('\n');
	}
	exit(EXIT_OK);
}

enum option_number {
	OPT_CONNECT = 256,
	OPT_SERVER_KEY,
	OPT_KEYS,
	OPT_MAKE_KEYS,
	OPT_PROBES,
	OPT_FIRST,
	OPT_ROWS,
	OPT_RATE,
	OPT_WINDOW,
	OPT_SECONDS,
	OPT_WARM_UP,
	OPT_CONDUCT,
	OPT_VICTIM,
	OPT_LIVE,
	OPT_NO_SETTLE,
	OPT_SEED,
	OPT_OUT,
	OPT_HELP,
};

static const struct option options[] = {
	{"connect", 1, NULL, OPT_CONNECT},
	{"server-key", 1, NULL, OPT_SERVER_KEY},
	{"keys", 1, NULL, OPT_KEYS},
	{"make-keys", 1, NULL, OPT_MAKE_KEYS},
	{"probes", 1, NULL, OPT_PROBES},
	{"first", 1, NULL, OPT_FIRST},
	{"rows", 1, NULL, OPT_ROWS},
	{"rate", 1, NULL, OPT_RATE},
	{"window", 1, NULL, OPT_WINDOW},
	{"seconds", 1, NULL, OPT_SECONDS},
	{"warm-up", 1, NULL, OPT_WARM_UP},
	{"conduct", 1, NULL, OPT_CONDUCT},
	{"victim", 1, NULL, OPT_VICTIM},
	{"live", 0, NULL, OPT_LIVE},
	{"no-settle", 0, NULL, OPT_NO_SETTLE},
	{"seed", 1, NULL, OPT_SEED},
	{"out", 1, NULL, OPT_OUT},
	{"help", 0, NULL, OPT_HELP},
	{0},
};

static unsigned number(const char *text, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value < min || value > max)
		die(text, "not a number that is possible here");
	return (unsigned)value;
}

static void take_option(struct bench *b, int option, const char *arg)
{
	struct sim_settings *s = &b->settings;

	switch (option) {
	case OPT_CONNECT:
		s->endpoint = arg;
		break;
	case OPT_SERVER_KEY:
		s->server_key = arg;
		break;
	case OPT_KEYS:
		b->keys = arg;
		break;
	case OPT_MAKE_KEYS:
		make_keys(number(arg, 1, SIM_PROBES_MAX));
		break;
	case OPT_PROBES:
		b->n = number(arg, 1, SIM_PROBES_MAX);
		break;
	case OPT_FIRST:
		b->first = number(arg, 0, SIM_PROBES_MAX - 1);
		break;
	case OPT_ROWS:
		s->rows = number(arg, 1, BATCH_MAX_ROWS);
		break;
	case OPT_RATE:
		b->rate = number(arg, 0, 100000000);
		break;
	case OPT_WINDOW:
		s->window = number(arg, 1, SIM_WINDOW_MAX);
		break;
	case OPT_SECONDS:
		b->seconds = number(arg, 1, 86400);
		break;
	case OPT_WARM_UP:
		b->warm_up = number(arg, 0, 3600);
		break;
	case OPT_CONDUCT:
		s->conduct = parse_conduct(arg);
		break;
	case OPT_VICTIM:
		if (parse_id(arg, b->victim_id) != 0)
			die("--victim", "not 32 hexadecimal digits");
		break;
	case OPT_LIVE:
		b->live = true;
		break;
	case OPT_NO_SETTLE:
		b->no_settle = true;
		break;
	case OPT_SEED:
		b->seed = number(arg, 1, UINT32_MAX);
		break;
	case OPT_OUT:
		b->out = arg;
		break;
	default:
		fputs(usage, option == OPT_HELP ? stdout : stderr);
		exit(option == OPT_HELP ? EXIT_OK : EXIT_USAGE);
	}
}

/* --- the fleet ------------------------------------------------------------------- */

static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* connecting tells if it is not enough */
	}
}

/* Lines "public secret id", as many as there are probes. */
static void read_keys(struct bench *b)
{
	FILE *f = fopen(b->keys, "re");
	char line[256], id[64];

	if (!f)
		die(b->keys, strerror(errno));
	for (unsigned i = 0; i < b->n; i++) {
		struct sim_probe *p = &b->probes[i];

		if (!fgets(line, sizeof(line), f) ||
		    sscanf(line, "%40s %40s %63s", p->public_key, p->secret_key, id) != 3 ||
		    parse_id(id, p->probe_id) != 0)
			die(b->keys, "fewer keys than probes, or not \"public secret id\"");
	}
	(void)fclose(f); /* was only read */
}

static void start_fleet(struct bench *b)
{
	struct sim_settings *s = &b->settings;

	s->zmq = zmq_ctx_new();
	if (!s->zmq || zmq_ctx_set(s->zmq, ZMQ_MAX_SOCKETS, 2 * SIM_PROBES_MAX) != 0)
		die("ZeroMQ", zmq_strerror(zmq_errno()));
	if (sim_batch_new(s->rows, b->seed, &s->batch) != 0)
		die("a batch", "cannot be made of so many flows");
	s->victim_id = b->victim_id;
	s->delays = &b->delays;
	s->batches_per_s = b->rate / b->n / s->rows;
	b->start_ns = clock_mono_ns();
	s->measure_ns = b->start_ns + b->warm_up * NS_PER_SEC;
	s->deadline_ns = s->measure_ns + b->seconds * NS_PER_SEC;
	for (unsigned i = 0; i < b->n; i++) {
		struct sim_probe *p = &b->probes[i];

		if (!b->keys)
			make_identity(p);
		if (getrandom(&p->epoch, sizeof(p->epoch), 0) != sizeof(p->epoch))
			die("an epoch", strerror(errno));
		sim_probe_init(p, s, b->first + i);
	}
	if (b->keys)
		read_keys(b);
}

static unsigned unsettled(const struct bench *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++)
		n += !sim_probe_settled(&b->probes[i]);
	return n;
}

static void tell(struct bench *b, uint64_t now_ns)
{
	uint64_t acked = 0;

	if (!b->live || now_ns < b->told_ns + NS_PER_SEC / 4)
		return;
	b->told_ns = now_ns;
	for (unsigned i = 0; i < b->n; i++)
		acked += b->probes[i].acked_seq;
	printf("acked %" PRIu64 "\n", acked);
	(void)fflush(stdout); /* who reads it sees it at the next one */
}

static void run_fleet(struct bench *b)
{
	struct sim_settings *s = &b->settings;
	uint64_t now_ns = clock_mono_ns(), settle_ns = b->no_settle ? 0 : SETTLE_NS;

	while (!stopped && now_ns < s->deadline_ns + settle_ns &&
	       (now_ns < s->deadline_ns || unsettled(b) > 0)) {
		if (enough && now_ns < s->deadline_ns)
			s->deadline_ns = now_ns;
		for (unsigned i = 0; i < b->n; i++) {
			sim_probe_step(&b->probes[i], now_ns);
			b->items[i] = (zmq_pollitem_t){.socket = b->probes[i].socket,
						       .events = ZMQ_POLLIN};
		}
		/* Interrupted, or nothing: the next step finds out. */
		(void)zmq_poll(b->items, (int)b->n, POLL_MS);
		now_ns = clock_mono_ns();
		tell(b, now_ns);
	}
	now_ns = now_ns < s->deadline_ns ? now_ns : s->deadline_ns;
	b->measured_ns = now_ns > s->measure_ns ? now_ns - s->measure_ns : 0;
}

/* --- the account ------------------------------------------------------------------- */

struct account {
	uint64_t sent, resent, acked, measured, connects, welcomes, nacks[SIM_NACK_CODES];
};

static const char *const nack_names[SIM_NACK_CODES] = {
	"unspecified", "malformed",  "too_big", "unsupported",	"gap",
	"no_hello",    "overloaded", "storage", "unauthorised",
};

static struct account sum_up(const struct bench *b)
{
	struct account a = {0};

	for (unsigned i = 0; i < b->n; i++) {
		const struct sim_probe *p = &b->probes[i];

		a.sent += p->sent;
		a.resent += p->resent;
		a.acked += p->acked_seq;
		a.measured += p->acked_measured;
		a.connects += p->connects;
		a.welcomes += p->welcomes;
		for (int code = 0; code < SIM_NACK_CODES; code++)
			a.nacks[code] += p->nacks[code];
	}
	return a;
}

static double flows_per_s(const struct bench *b, const struct account *a)
{
	return b->measured_ns
		       ? (double)a->measured * b->settings.rows * 1e9 / (double)b->measured_ns
		       : 0;
}

static void write_probe(FILE *f, const struct sim_probe *p)
{
	fprintf(f, "{\"name\": \"%s\", \"probe_id\": \"", p->name);
	print_id(f, p->probe_id);
	fprintf(f,
		"\", \"public_key\": \"%s\", \"epoch\": %" PRId64 ", \"sent_seq\": %" PRIu64
		", \"acked_seq\": %" PRIu64 ", \"last_ack_ms\": %" PRIu64 "}",
		p->public_key, (int64_t)p->epoch, p->highest_seq, p->acked_seq,
		(uint64_t)(p->last_ack_real_ns / NS_PER_MS));
}

static void write_account(const struct bench *b, const struct account *a, FILE *f)
{
	const struct delays *d = &b->delays;

	fprintf(f,
		"{\"probes\": %u, \"rows\": %u, \"seconds\": %.3f, \"flows_per_s\": %.0f,\n"
		" \"batches_sent\": %" PRIu64 ", \"batches_resent\": %" PRIu64
		", \"batches_acked\": %" PRIu64 ", \"flows_acked\": %" PRIu64 ",\n"
		" \"connects\": %" PRIu64 ", \"welcomes\": %" PRIu64 ", \"unsettled\": %u,\n"
		" \"ack_p50_ms\": %.3f, \"ack_p99_ms\": %.3f, \"ack_max_ms\": %.3f,\n \"nacks\": {",
		b->n, b->settings.rows, (double)b->measured_ns / 1e9, flows_per_s(b, a), a->sent,
		a->resent, a->acked, a->acked * b->settings.rows, a->connects, a->welcomes,
		unsettled(b), (double)delays_quantile_us(d, 0.5) / 1e3,
		(double)delays_quantile_us(d, 0.99) / 1e3, (double)d->max_us / 1e3);
	for (int i = 0; i < SIM_NACK_CODES; i++)
		if (nack_names[i])
			fprintf(f, "%s\"%s\": %" PRIu64, i ? ", " : "", nack_names[i], a->nacks[i]);
	fputs("},\n \"fleet\": [", f);
	for (unsigned i = 0; i < b->n; i++) {
		fputs(i ? ",\n  " : "\n  ", f);
		write_probe(f, &b->probes[i]);
	}
	fputs("]}\n", f);
}

static void print_account(const struct bench *b, const struct account *a)
{
	const struct delays *d = &b->delays;
	uint64_t refused = 0;

	for (int i = 0; i < SIM_NACK_CODES; i++)
		refused += a->nacks[i];
	printf("%u probes, %u flows a batch, %.1f s: %.0f flows/s acknowledged\n", b->n,
	       b->settings.rows, (double)b->measured_ns / 1e9, flows_per_s(b, a));
	printf("acknowledged after: p50 %.1f ms, p99 %.1f ms, at most %.1f ms\n",
	       (double)delays_quantile_us(d, 0.5) / 1e3, (double)delays_quantile_us(d, 0.99) / 1e3,
	       (double)d->max_us / 1e3);
	printf("batches: %" PRIu64 " sent, %" PRIu64 " of them again, %" PRIu64
	       " acknowledged, %u probes without their last; %" PRIu64 " refusals; %" PRIu64
	       " connections, %" PRIu64 " welcomes\n",
	       a->sent, a->resent, a->acked, unsettled(b), refused, a->connects, a->welcomes);
}

static void end(struct bench *b)
{
	const struct account a = sum_up(b);
	FILE *f;

	print_account(b, &a);
	if (b->out) {
		f = fopen(b->out, "we");
		if (!f)
			die(b->out, strerror(errno));
		write_account(b, &a, f);
		if (fclose(f) != 0)
			die(b->out, strerror(errno));
	}
	for (unsigned i = 0; i < b->n; i++)
		sim_probe_done(&b->probes[i]);
	(void)zmq_ctx_term(b->settings.zmq); /* its sockets are closed: does not wait */
	sim_batch_free(b->settings.batch);
}

int main(int argc, char **argv)
{
	static struct bench b = {
		.settings = {.endpoint = "tcp://127.0.0.1:7441", .rows = 512, .window = 8},
		.n = 10,
		.seconds = 10,
		.warm_up = 2,
		.seed = 1,
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		take_option(&b, option, optarg);
	if (optind < argc)
		die(argv[optind], "takes no arguments");
	if (b.first + b.n > SIM_PROBES_MAX)
		die("--first", "more probes than there can be");
	(void)signal(SIGINT, stop);
	(void)signal(SIGTERM, stop);
	raise_fd_limit();
	start_fleet(&b);
	run_fleet(&b);
	end(&b);
	return EXIT_OK;
}
