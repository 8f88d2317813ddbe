// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/show.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/output.h"
#include "probe/command/capture.h"
#include "probe/command/settings.h"

#define LIVE_INTERVAL_MS     1000
#define SNAPSHOT_INTERVAL_MS 2000
#define TABLE_HEADER_LINES   2 /* totals, column names */

/* A flow of this pass: counts of the pass in record, the rest as it stands. */
struct row {
	struct flow_record record;
	uint64_t age_ms;
	uint64_t retrans_pkts, rev_retrans_pkts;
	uint32_t rtt_us;
};

struct show {
	struct settings settings;
	struct capture *capture;
	uint64_t pass_ns;	 /* when the last pass began */
	double pass_s;		 /* what its counts were collected over */
	uint64_t packets, bytes; /* of the pass, all flows and the catch-all */
	struct row *rows;
	size_t n, capacity; /* up to max_flows */
	bool no_memory;	    /* rows are missing */
};

/* --- collecting -------------------------------------------------------------------- */

static bool make_space(struct show *s)
{
	size_t capacity = s->capacity ? s->capacity * 2 : 1024;
	struct row *rows;

	if (s->n < s->capacity)
		return true;
	rows = realloc(s->rows, capacity * sizeof(*rows));
	if (!rows)
		return false;
	s->rows = rows;
	s->capacity = capacity;
	return true;
}

static void on_record(const struct flow_record *r, const struct flow_view *v, void *arg)
{
	struct show *s = arg;
	uint64_t packets = r->packets + r->rev_packets;
	const struct flow_slot *slot;
	unsigned src;

	s->packets += packets;
	s->bytes += r->bytes + r->rev_bytes;
	if (!v || (r->end_reason != FLOW_END_ACTIVE && packets == 0))
		return; /* the catch-all; a flow that has ended before */
	if (!make_space(s)) {
		s->no_memory = true;
		return;
	}
	slot = v->slot;
	src = slot->initiator & 1;
	s->rows[s->n++] = (struct row){
		.record = *r,
		.age_ms =
			s->pass_ns > slot->first_ns ? (s->pass_ns - slot->first_ns) / NS_PER_MS : 0,
		.retrans_pkts = v->perf->half[src].retrans_pkts,
		.rev_retrans_pkts = v->perf->half[!src].retrans_pkts,
		.rtt_us = slot->state & FLOW_HANDSHAKE_DONE
				  ? slot->rtt_server_us + slot->rtt_client_us
				  : 0,
	};
}

static uint64_t pass_bytes(const struct row *row)
{
	return row->record.bytes + row->record.rev_bytes;
}

/* Busiest now first, then the largest. */
static int by_rate(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	uint64_t rx = pass_bytes(x), ry = pass_bytes(y);

	if (rx == ry) {
		rx = x->record.total_bytes + x->record.rev_total_bytes;
		ry = y->record.total_bytes + y->record.rev_total_bytes;
	}
	return (rx < ry) - (rx > ry);
}

static void collect(struct show *s)
{
	uint64_t now_ns = clock_mono_ns();

	s->pass_s = (double)(now_ns - s->pass_ns) / (double)NS_PER_SEC;
	s->pass_ns = now_ns;
	s->packets = s->bytes = 0;
	s->n = 0;
	s->no_memory = false;
	capture_follow(s->capture);
	capture_drain(s->capture, DRAIN_EVERY);
	if (s->n)
		qsort(s->rows, s->n, sizeof(*s->rows), by_rate);
	if (s->no_memory)
		log_warn("out of memory: some flows are missing below");
}

/* --- printing ---------------------------------------------------------------------- */

static const struct output_column columns[] = {
	{"proto", UNIT_NONE},	   {"src_addr", UNIT_NONE},	{"src_port", UNIT_NONE},
	{"dst_addr", UNIT_NONE},   {"dst_port", UNIT_NONE},	{"bytes_per_s", UNIT_BYTES},
	{"packets", UNIT_COUNT},   {"rev_packets", UNIT_COUNT}, {"bytes", UNIT_BYTES},
	{"rev_bytes", UNIT_BYTES}, {"rtt_us", UNIT_US},		{"retrans_pkts", UNIT_COUNT},
	{"age_s", UNIT_NONE},	   {"iface", UNIT_NONE},	{"process", UNIT_NONE},
	{"pid", UNIT_NONE},
};

static void print_row(const struct show *s, struct output *o, const struct row *row)
{
	const struct flow_record *r = &row->record;
	const char *proto = proto_name(r->proto);
	char addr[ADDR_TEXT_MAX];

	if (proto)
		output_str(o, proto);
	else
		output_int(o, r->proto);
	output_str(o, addr_format(r->src_addr, addr));
	output_int(o, r->src_port);
	output_str(o, addr_format(r->dst_addr, addr));
	output_int(o, r->dst_port);
	output_int(o, (int64_t)((double)pass_bytes(row) / s->pass_s));
	output_int(o, (int64_t)r->total_packets);
	output_int(o, (int64_t)r->rev_total_packets);
	output_int(o, (int64_t)r->total_bytes);
	output_int(o, (int64_t)r->rev_total_bytes);
	if (row->rtt_us)
		output_int(o, row->rtt_us);
	else
		output_null(o);
	output_int(o, (int64_t)(row->retrans_pkts + row->rev_retrans_pkts));
	output_int(o, (int64_t)(row->age_ms / 1000));
	output_str(o, r->iface);
	output_str(o, r->pid ? r->process : NULL);
	if (r->pid)
		output_int(o, r->pid);
	else
		output_null(o);
}

static int print_flows(const struct show *s, FILE *out, size_t max_rows)
{
	struct output *o;
	int err;

	err = output_begin(out, (enum output_format)s->settings.format, false, columns,
			   sizeof(columns) / sizeof(*columns), &o);
	if (err)
		return err;
	for (size_t i = 0; i < s->n && i < max_rows; i++)
		print_row(s, o, &s->rows[i]);
	return output_end(o);
}

/* One line: rates over all flows, and what was seen but has no flow. */
static void print_totals(struct show *s, FILE *out)
{
	static const char *const names[FLOW_CNT_MAX] = FLOW_COUNTER_NAMES;
	static const enum flow_counter losses[] = {FLOW_CNT_CATCH_ALL, FLOW_CNT_FLOWS_REFUSED,
						   FLOW_CNT_TRUNCATED, FLOW_CNT_BAD_HEADER,
						   FLOW_CNT_TOO_DEEP};
	const uint64_t *counters = capture_counters(s->capture);

	(void)fprintf(out, "%zu flows, %.0f packets/s, %.3f Mbit/s", s->n,
		      (double)s->packets / s->pass_s, (double)s->bytes * 8 / s->pass_s / 1e6);
	for (size_t i = 0; i < sizeof(losses) / sizeof(*losses); i++)
		if (counters[losses[i]])
			(void)fprintf(out, ", %s %" PRIu64, names[losses[i]], counters[losses[i]]);
	(void)fputc('\n', out);
}

static int print_snapshot(struct show *s)
{
	size_t max_rows = s->settings.rows ? s->settings.rows : s->n;

	if (s->settings.format == OUTPUT_TABLE)
		print_totals(s, stdout);
	return print_flows(s, stdout, max_rows);
}

/* Length of the line at text, cut after max_columns characters (UTF-8). */
static size_t cut_line(const char *text, size_t max_columns)
{
	size_t n = 0, column = 0;

	for (; text[n] && text[n] != '\n'; n++) {
		column += ((unsigned char)text[n] & 0xc0) != 0x80;
		if (column > max_columns)
			break;
	}
	return n;
}

/* Prints text over what is on the terminal; nothing scrolls. */
static void draw(const char *text, const struct winsize *size)
{
	(void)fputs("\033[H", stdout);
	for (unsigned line = 0; *text && line < size->ws_row; line++) {
		(void)printf("%s%.*s\033[K", line ? "\r\n" : "", (int)cut_line(text, size->ws_col),
			     text);
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	(void)fputs("\033[J", stdout);
}

static int draw_screen(struct show *s)
{
	struct winsize size = {0};
	cleanup(free_p) char *text = NULL;
	size_t len, max_rows;
	FILE *memory;
	int err;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_row || !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	max_rows = size.ws_row > TABLE_HEADER_LINES ? size.ws_row - TABLE_HEADER_LINES : 1;
	if (s->settings.rows && s->settings.rows < max_rows)
		max_rows = s->settings.rows;

	memory = open_memstream(&text, &len);
	if (!memory)
		return -errno;
	print_totals(s, memory);
	err = print_flows(s, memory, max_rows);
	if (fclose(memory) != 0 && !err)
		err = -ENOMEM;
	if (!err)
		draw(text, &size);
	return err ? err : fflush(stdout) == 0 ? 0 : -errno;
}

/* --- the command --------------------------------------------------------------------- */

/* Whether the time passed without a call to stop. */
static bool pause_ms(int stop_fd, uint64_t ms)
{
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};

	return poll(&stop, 1, (int)ms) == 0;
}

static int watch(struct show *s, int stop_fd)
{
	bool live =
		isatty(STDOUT_FILENO) && !s->settings.once && s->settings.format == OUTPUT_TABLE;
	uint64_t interval_ms = s->settings.interval_ms;
	int err = 0;

	if (!interval_ms)
		interval_ms = live ? LIVE_INTERVAL_MS : SNAPSHOT_INTERVAL_MS;
	s->pass_ns = clock_mono_ns();
	if (live)
		(void)fputs("\033[H\033[2J", stdout);
	while (!err && pause_ms(stop_fd, interval_ms)) {
		collect(s);
		err = live ? draw_screen(s) : print_snapshot(s);
		if (!live)
			break;
	}
	if (live)
		(void)fputc('\n', stdout);
	return err;
}

static void show_free(struct show *s)
{
	capture_close(s->capture);
	settings_free(&show_command, &s->settings);
	free(s->rows);
	free(s);
}

DEFINE_CLEANUP(struct show *, show_free)

int show_main(int argc, char **argv, int stop_fd)
{
	cleanup(show_free_p) struct show *s = calloc(1, sizeof(*s));
	uint64_t epoch;
	int code, err;

	if (!s || getrandom(&epoch, sizeof(epoch), 0) != (ssize_t)sizeof(epoch)) {
		log_error("cannot start: %s", strerror(errno));
		return EXIT_RUNTIME;
	}
	code = settings_parse(&show_command, argc, argv, &s->settings);
	if (code)
		return code > 0 ? EXIT_OK : EXIT_USAGE;
	code = capture_open(&s->settings, epoch, on_record, s, &s->capture);
	if (code)
		return code;
	err = watch(s, stop_fd);
	if (err && err != -EPIPE) {
		log_error("cannot print: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	return EXIT_OK;
}
