// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/check.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/output.h"
#include "probe/command/capture.h"
#include "probe/command/settings.h"
#include "probe/datapath/ethertype.h"
#include "probe/datapath/hooks.h"
#include "probe/datapath/iface.h"
#include "probe/datapath/pins.h"
#include "probe/stack/stack.h"

#define TEXT_BYTES 160

struct check {
	struct settings settings;
	struct capture *capture;
	struct output *out;
	uint64_t recorded; /* packets in records, both directions */
};

static void check_free(struct check *c)
{
	output_free(c->out);
	capture_close(c->capture);
	settings_free(&check_command, &c->settings);
	free(c);
}
DEFINE_CLEANUP(struct check *, check_free)

static void on_record(const struct flow_record *r, const struct flow_view *view, void *arg)
{
	struct check *c = arg;

	(void)view; /* the counts are all that matters here */
	c->recorded += r->packets + r->rev_packets;
}

__attribute__((format(printf, 3, 4))) static void say(struct check *c, const char *what,
						      const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is fine */
	va_end(ap);
	output_str(c->out, what);
	output_null(c->out);
	output_str(c->out, text);
}

static void say_count(struct check *c, const char *what, int64_t packets, const char *text)
{
	output_str(c->out, what);
	output_int(c->out, packets);
	output_str(c->out, text);
}

static void say_kernel(struct check *c)
{
	struct utsname u;

	if (uname(&u) == 0)
		say(c, "kernel", "%s, BTF, programs loaded", u.release);
	say(c, "flow table", "%llu flows", (unsigned long long)c->settings.max_flows);
}

/* Whether a killed `run` would lose what it has not stored. */
static void say_pins(struct check *c)
{
	const char *folder = settings_pins(&c->settings);
	int err = folder ? pins_check(folder) : 0;

	if (!folder)
		say(c, "killed probe", "loses what is not stored: --pin is none");
	else if (err == -ENOTSUP)
		say(c, "killed probe", "loses what is not stored: no bpffs at %s", folder);
	else if (err)
		say(c, "killed probe", "loses what is not stored: %s: %s", folder, strerror(-err));
	else
		say(c, "killed probe", "loses nothing: the flow table is pinned in %s", folder);
}

static void say_hooks(struct check *c)
{
	const struct hooks *hooks = capture_hooks(c->capture);
	const struct iface *iface;
	const char *how;

	for (size_t i = 0; (how = hooks_describe(hooks, i, &iface)); i++)
		say(c, iface->name, "ingress+egress: %s", how);
}

static void say_word(const char *what, const char *text, void *arg)
{
	say(arg, what, "%s", text);
}

/* What a counter of packets without a flow stands for. */
static const char *meaning(enum flow_counter counter)
{
	switch (counter) {
	case FLOW_CNT_SEEN_ELSEWHERE:
		return "met again on another interface";
	case FLOW_CNT_NOT_IP:
		return "ARP, LLDP, ...";
	default:
		return "no flow can be read from their headers";
	}
}

static void say_ethertype(uint32_t type, const struct flow_ethertype *n, void *arg)
{
	char what[ETHERTYPE_NAME_BYTES + 16], name[ETHERTYPE_NAME_BYTES];

	(void)snprintf(what, sizeof(what), "not_ip_%s", ethertype_name(type, name));
	say_count(arg, what, (int64_t)n->packets, "of those that are not IP");
}

static void say_ethertypes(struct check *c)
{
	int err = capture_ethertypes(c->capture, say_ethertype, c);

	if (err)
		log_warn("cannot read the ethertypes: %s", strerror(-err));
}

/* Returns the difference, which is to be 0. */
static int64_t say_conservation(struct check *c)
{
	static const char *const names[FLOW_CNT_MAX] = FLOW_COUNTER_NAMES;
	const uint64_t *n = capture_counters(c->capture);
	int64_t rest = (int64_t)(n[FLOW_CNT_SEEN] - c->recorded);

	say_count(c, names[FLOW_CNT_SEEN], (int64_t)n[FLOW_CNT_SEEN], "reached the programs");
	say_count(c, "packets_in_records", (int64_t)c->recorded, "");
	if (n[FLOW_CNT_CATCH_ALL])
		say_count(c, names[FLOW_CNT_CATCH_ALL], (int64_t)n[FLOW_CNT_CATCH_ALL],
			  "of those: without their flow, the table was full");
	for (int i = FLOW_CNT_SEEN_ELSEWHERE; i < FLOW_CNT_MAX; i++) {
		say_count(c, names[i], (int64_t)n[i], meaning(i));
		rest -= (int64_t)n[i];
	}
	say_ethertypes(c);
	say_count(c, "difference", rest, rest ? "packets are unaccounted for" : "");
	return rest;
}

static int check(struct check *c, int stop_fd)
{
	static const struct output_column columns[] = {
		{"what", UNIT_NONE}, {"packets", UNIT_NONE}, {"detail", UNIT_NONE}};
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
	int64_t rest = 0;
	int err;

	err = output_begin(stdout, (enum output_format)c->settings.format, true, columns,
			   sizeof(columns) / sizeof(*columns), &c->out);
	if (err)
		return err;
	say_kernel(c);
	say_pins(c);
	stack_describe(capture_stack(c->capture), say_word, c);
	say_hooks(c);
	if (c->settings.live_ms) {
		(void)poll(&stop, 1, (int)c->settings.live_ms); /* ends early on a signal */
		capture_finish(c->capture);
		rest = say_conservation(c);
	}
	err = output_end(take_ptr(c->out));
	return err ? err : rest != 0;
}

int check_main(int argc, char **argv, int stop_fd)
{
	cleanup(check_free_p) struct check *c = calloc(1, sizeof(*c));
	int code, err;

	if (!c) {
		log_error("cannot start: %s", strerror(ENOMEM));
		return EXIT_RUNTIME;
	}
	code = settings_parse(&check_command, argc, argv, &c->settings);
	if (code)
		return code > 0 ? EXIT_OK : EXIT_USAGE;
	code = capture_open(&c->settings, 1, on_record, c, &c->capture);
	if (code)
		return code;
	err = check(c, stop_fd);
	if (err < 0 && err != -EPIPE) {
		log_error("cannot print: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	return err > 0 ? EXIT_CHECK : EXIT_OK;
}
