// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/replay/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "probe/command/capture.h"
#include "probe/datapath/datapath.h"
#include "probe/datapath/ethertype.h"
#include "probe/datapath/iface.h"
#include "probe/drain/drain.h"
#include "probe/names/dns_log.h"
#include "probe/replay/dump_file.h"
#include "probe/replay/record_output.h"

#define PACKETS_PER_POLL 4096 /* how often a call to stop is looked for */

struct replay_settings {
	uint64_t max_flows;
	int format;    /* enum output_format */
	int log_level; /* enum log_level */
};

struct replay {
	struct replay_settings settings;
	struct datapath *datapath;
	struct drain *drain;
	struct output *output;
	int stop_fd;
	bool stopped;
	uint64_t clock_ns; /* time stamp of the last packet, 0: none yet */

	/* packets */
	uint64_t read;
	uint64_t headless;  /* shorter than a link header: BPF_PROG_TEST_RUN refuses them */
	uint64_t in_flows;  /* of the records */
	uint64_t refused;   /* in the catch-all's */
	uint64_t unread;    /* of links that we do not read */
	uint64_t cut;	    /* the capture has not all their bytes */
	uint64_t backwards; /* older than the packet before */
};

#define AT(field) offsetof(struct replay_settings, field)

static const struct option_row replay_rows[] = {
	{"max-flows", 0, OPTION_U64, AT(max_flows), "N", NULL, "131072", 2, DATAPATH_MAX_FLOWS,
	 "conversations that the table holds; packets of more are counted without them", true},
	{"output", 'o', OPTION_CHOICE, AT(format), "FORMAT", OUTPUT_FORMAT_CHOICES, "ndjson", 0, 0,
	 "form of the records", true},
	{"log-level", 0, OPTION_CHOICE, AT(log_level), "LEVEL", "error|warn|info|debug", "info", 0,
	 0, "what goes to stderr", true},
};

const struct command replay_command = {
	.name = "replay",
	.args = "FILE...",
	.summary = "the flows of capture files (pcap, pcapng; \"-\" is stdin), one record each",
	.examples = "  weir-probe replay web.pcapng | head -1\n"
		    "  weir-probe replay -o table monday.pcap tuesday.pcap\n",
	.tables = {{replay_rows, sizeof(replay_rows) / sizeof(*replay_rows)}},
};

/* --- packets in -------------------------------------------------------------- */

_Static_assert(DUMP_FILE_FRAME_MAX <= DATAPATH_FRAME_MAX, "frames must fit a test run");

/* Note: the programs take the time stamps as they are, backwards or not. */
static int replay_packet(struct replay *r, const struct dump_frame *frame)
{
	const struct flow_replay packet = {frame->time_ns, frame->frame_len, frame->bytes};
	int err;

	r->read++;
	r->cut += frame->captured < frame->bytes;
	r->backwards += frame->time_ns < r->clock_ns;
	r->clock_ns = frame->time_ns;
	if (frame->unread) {
		r->unread++;
		return 0;
	}
	if (frame->len < DATAPATH_FRAME_MIN) {
		r->headless++;
		return 0;
	}
	err = datapath_replay(r->datapath, &packet, frame->data, frame->len);
	drain_payloads(r->drain);
	return err;
}

static bool asked_to_stop(const struct replay *r)
{
	struct pollfd stop = {.fd = r->stop_fd, .events = POLLIN};

	return poll(&stop, 1, 0) == 1;
}

/* Where the catch-all begins to count: with the first packet. */
static int start_clock(struct replay *r, uint64_t first_ns)
{
	const struct flow_now first = {.mono_ns = first_ns};

	return r->clock_ns ? 0 : drain_run_at(r->drain, DRAIN_DUE, &first);
}

/* A pcapng may have such packets beside others; those of a file that has no others are an error. */
static int judge_unread(const char *path, uint32_t link, uint64_t read, uint64_t unread)
{
	char what[DUMP_FILE_ERROR_BYTES];

	if (!unread)
		return EXIT_OK;
	dump_file_describe_link(link, what);
	if (read == unread) {
		log_error("%s: %s", path, what);
		return EXIT_RUNTIME;
	}
	log_warn("%s: %s; %" PRIu64 " of %" PRIu64 " packets are of such a link", path, what,
		 unread, read);
	return EXIT_OK;
}

/* Returns an exit code after logging why. */
static int replay_packets(struct replay *r, const char *path, struct dump_file *file)
{
	const uint64_t read = r->read, unread = r->unread; /* of the files before */
	uint32_t unread_link = 0;
	struct dump_frame frame;
	int err, got;

	while ((got = dump_file_next(file, &frame)) == 1) {
		if (frame.unread)
			unread_link = frame.link;
		err = start_clock(r, frame.time_ns);
		if (!err)
			err = replay_packet(r, &frame);
		if (err) {
			log_error("%s: packet %" PRIu64 ": %s", path, r->read, strerror(-err));
			return EXIT_RUNTIME;
		}
		if (r->read % PACKETS_PER_POLL == 0 && asked_to_stop(r)) {
			log_warn("%s: stopped, reporting %" PRIu64 " packets so far", path,
				 r->read);
			r->stopped = true;
			return EXIT_RUNTIME;
		}
	}
	if (got == 0)
		return judge_unread(path, unread_link, r->read - read, r->unread - unread);
	log_error("%s: %s; reporting %" PRIu64 " packets before that", path, dump_file_error(file),
		  r->read);
	return EXIT_RUNTIME;
}

static int replay_file(struct replay *r, const char *path)
{
	char error[DUMP_FILE_ERROR_BYTES];
	struct dump_file *file;
	int code;

	if (dump_file_open(path, &file, error) != 0) {
		log_error("%s: %s", path, error);
		return EXIT_RUNTIME;
	}
	code = replay_packets(r, path, file);
	dump_file_close(file);
	return code;
}

/* --- records out ------------------------------------------------------------- */

static void on_record(const struct flow_record *record, const struct flow_view *view, void *arg)
{
	struct flow_record shown = *record;
	struct replay *r = arg;

	*(view ? &r->in_flows : &r->refused) += record->packets + record->rev_packets;
	shown.direction = FLOW_DIRECTION_UNKNOWN;
	shown.role = FLOW_ROLE_UNKNOWN;
	record_output_row(r->output, &shown);
}

static int print_records(struct replay *r)
{
	/* Late enough for queries without an answer to be known as such. */
	const struct flow_now end = {.mono_ns = r->clock_ns + DNS_TIMEOUT_NS};
	int err;

	err = record_output_begin(stdout, (enum output_format)r->settings.format, &r->output);
	if (err)
		return err;
	err = drain_run_at(r->drain, DRAIN_FINAL, &end);
	if (err) {
		output_free(r->output);
		return err;
	}
	return output_end(r->output);
}

static void print_count(const char *separator, uint64_t n, const char *what)
{
	if (n)
		(void)fprintf(stderr, "%s%" PRIu64 " %s", separator, n, what);
}

struct ethertypes {
	struct not_ip {
		uint32_t type;
		uint64_t packets;
	} list[FLOW_ETHERTYPES_MAX];
	size_t n;
};

static void on_ethertype(uint32_t type, const struct flow_ethertype *n, void *arg)
{
	struct ethertypes *e = arg;

	if (e->n < FLOW_ETHERTYPES_MAX)
		e->list[e->n++] = (struct not_ip){type, n->packets};
}

/* The most packets first. */
static int by_packets(const void *a, const void *b)
{
	const struct not_ip *x = a, *y = b;

	if (x->packets != y->packets)
		return x->packets < y->packets ? 1 : -1;
	return x->type < y->type ? 1 : -1;
}

#define ETHERTYPES_SHOWN 10

static void print_ethertypes(const struct replay *r)
{
	char name[ETHERTYPE_NAME_BYTES];
	struct ethertypes e = {.n = 0};

	if (datapath_ethertypes(r->datapath, on_ethertype, &e) != 0 || !e.n)
		return;
	qsort(e.list, e.n, sizeof(*e.list), by_packets);
	(void)fputs("; not IP:", stderr);
	for (size_t i = 0; i < e.n && i < ETHERTYPES_SHOWN; i++)
		(void)fprintf(stderr, "%s %s %" PRIu64, i ? "," : "",
			      ethertype_name(e.list[i].type, name), e.list[i].packets);
	if (e.n > ETHERTYPES_SHOWN)
		(void)fprintf(stderr, ", ... of %zu ethertypes", e.n);
}

/* Returns EXIT_CHECK if packets are missing. */
static int print_sum(const struct replay *r, uint64_t counters[FLOW_CNT_MAX])
{
	static const char *const names[FLOW_CNT_MAX] = FLOW_COUNTER_NAMES;
	uint64_t sum = r->in_flows + r->refused + r->unread;

	counters[FLOW_CNT_TRUNCATED] += r->headless;
	(void)fprintf(stderr, "packets: %" PRIu64 " read = %" PRIu64 " in flows", r->read,
		      r->in_flows);
	print_count(" + ", r->refused, names[FLOW_CNT_CATCH_ALL]);
	for (int i = FLOW_CNT_SEEN_ELSEWHERE; i < FLOW_CNT_MAX; i++) {
		print_count(" + ", counters[i], names[i]);
		sum += counters[i];
	}
	print_count(" + ", r->unread, "of a link that is not read");
	(void)fprintf(stderr, "; difference %" PRId64, (int64_t)(r->read - sum));
	print_count("; ", counters[FLOW_CNT_FRAGMENTS_ORPHAN],
		    "fragments without the first of their datagram");
	print_count("; ", counters[FLOW_CNT_TRANSPORT_TRUNCATED],
		    "with a transport header cut off");
	print_count("; ", counters[FLOW_CNT_TRANSPORT_BAD_HEADER],
		    "with an impossible transport header");
	print_count("; ", r->cut, "cut short by the capture");
	print_count("; ", r->backwards, "time stamps that go backwards");
	print_ethertypes(r);
	(void)fputc('\n', stderr);
	return r->read == sum ? EXIT_OK : EXIT_CHECK;
}

/* --- the command --------------------------------------------------------------- */

static void replay_close(struct replay *r)
{
	drain_free(r->drain);
	datapath_close(r->datapath);
}

static int replay_open(struct replay *r)
{
	/* No timeouts; flow_id is the same in each run. */
	static const struct iface_list no_ifaces;
	const struct flow_table_config config = {
		.active_ns = UINT64_MAX,
		.idle_ns = UINT64_MAX,
		.tcp_idle_ns = UINT64_MAX,
		.udp_idle_ns = UINT64_MAX,
		.icmp_idle_ns = UINT64_MAX,
		.ifaces = &no_ifaces,
	};
	int code, err;

	code = capture_check_kernel();
	if (code)
		return code;
	err = datapath_open_replay((uint32_t)r->settings.max_flows, &r->datapath);
	if (!err)
		err = drain_new(r->datapath, &config, on_record, r, &r->drain);
	if (err) {
		log_error("cannot load the BPF programs: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	return EXIT_OK;
}

/* code is what reading came to: the worse of both is the result. */
static int finish(struct replay *r, int code)
{
	uint64_t counters[FLOW_CNT_MAX];
	int err, sum;

	err = print_records(r);
	if (!err)
		err = datapath_counters(r->datapath, counters);
	if (err == -EPIPE) /* the reader has seen enough */
		return code;
	if (err) {
		log_error("cannot print the records: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	if (r->refused)
		log_warn("the flow table is full: %" PRIu64 " packets counted without their flow; "
			 "--max-flows is %" PRIu64,
			 r->refused, r->settings.max_flows);
	sum = print_sum(r, counters);
	return code ? code : sum;
}

int replay_main(int argc, char **argv, int stop_fd)
{
	cleanup(replay_close) struct replay r = {.stop_fd = stop_fd};
	int first, err, code, worst = EXIT_OK;

	err = options_parse(&replay_command, "weir-probe", argc, argv, &r.settings, &first);
	if (err)
		return err > 0 ? EXIT_OK : EXIT_USAGE;
	log_set_level((enum log_level)r.settings.log_level);
	if (first == argc) {
		log_error("no capture file given (see weir-probe replay --help)");
		return EXIT_USAGE;
	}
	code = replay_open(&r);
	if (code)
		return code;
	for (int i = first; i < argc && !r.stopped; i++) {
		code = replay_file(&r, argv[i]);
		if (code)
			worst = code;
	}
	return finish(&r, worst);
}
