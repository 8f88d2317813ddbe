// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "probe/command/capture.h"
#include "probe/command/privileges.h"
#include "probe/command/settings.h"
#include "probe/datapath/ethertype.h"
#include "probe/datapath/hooks.h"
#include "probe/datapath/iface.h"
#include "probe/datapath/own_addrs.h"
#include "probe/drain/wall_clock.h"
#include "probe/names/names_counter.h"
#include "probe/spool/spool.h"
#include "probe/stack/stack.h"
#include "probe/uplink/export.h"
#include "probe/uplink/identity.h"
#include "probe/uplink/keyring.h"
#include "probe/uplink/sender.h"
#include "proto/frame.h"

#define WARN_PERIOD_MS 30000
#define COMMIT_WAIT_MS 20

struct run {
	struct settings settings;
	struct known_collector known[KEYRING_MAX];
	const char *urls[KEYRING_MAX]; /* of the collectors, by preference */
	size_t n_urls;
	struct identity id;
	struct hello hello;
	struct capture *capture;
	struct spool *spool;
	uint64_t group;	    /* of batches, last given to the spool */
	uint64_t held_back; /* passes left out because the spool took no more */
	struct export *export;
	struct sender *sender;
	uint64_t refused, dropped; /* packets, as last warned about */
	uint64_t warn_refused, warn_dropped;
	struct ethertype_named ethertypes; /* that have a counter of their own */
};

static void on_record(const struct flow_record *record, const struct flow_view *view, void *arg)
{
	struct run *run = arg;

	(void)view; /* the record has all that travels */
	export_record(run->export, record);
}

/* --- counters ------------------------------------------------------------------- */

static void set_counter(struct run *run, const char *name, uint64_t value)
{
	int err = export_set_counter(run->export, name, value);

	if (err)
		log_debug("counter %s: %s", name, strerror(-err));
}

static void set_stack_counter(const char *name, uint64_t value, void *arg)
{
	set_counter(arg, name, value);
}

struct not_ip {
	struct run *run;
	uint64_t other;
};

static void on_ethertype(uint32_t type, const struct flow_ethertype *n, void *arg)
{
	char name[COUNTER_NAME_MAX], text[ETHERTYPE_NAME_BYTES];
	struct not_ip *x = arg;

	if (!ethertype_is_named(&x->run->ethertypes, type)) {
		x->other += n->packets;
		return;
	}
	(void)snprintf(name, sizeof(name), "not_ip_%s", ethertype_name(type, text)); /* fits */
	set_counter(x->run, name, n->packets);
}

static void set_ethertype_counters(struct run *run)
{
	struct not_ip x = {.run = run};
	int err = capture_ethertypes(run->capture, on_ethertype, &x);

	if (err)
		log_debug("cannot read the ethertypes: %s", strerror(-err));
	else if (x.other)
		set_counter(run, "not_ip_other", x.other);
}

/* What is lost shall be seen here as well, not only at the collector. */
static void warn_losses(struct run *run, uint64_t refused, uint64_t dropped)
{
	if (refused > run->refused && log_due(&run->warn_refused, WARN_PERIOD_MS)) {
		log_warn("the flow table is full: %" PRIu64 " packets counted without their flow; "
			 "--max-flows is %" PRIu64,
			 refused - run->refused, run->settings.max_flows);
		run->refused = refused;
	}
	if (dropped > run->dropped && log_due(&run->warn_dropped, WARN_PERIOD_MS)) {
		log_warn("the spool is full: records of %" PRIu64
			 " packets dropped; --spool-max is %" PRIu64,
			 dropped - run->dropped, run->settings.spool_max);
		run->dropped = dropped;
	}
}

static void set_counters(struct run *run)
{
	static const char *const names[FLOW_CNT_MAX] = FLOW_COUNTER_NAMES;
	static const char *const unnamed[NAMES_COUNTER_MAX] = NAMES_COUNTER_NAMES;
	const uint64_t *kernel = capture_counters(run->capture);
	const struct drain_stats *drain = capture_stats(run->capture);
	const struct wall_clock *clock = capture_wall_clock(run->capture);
	const struct follow_stats *follow = capture_follow_stats(run->capture);
	struct spool_stats spool;
	struct sender_stats sender;

	spool_stats(run->spool, &spool);
	sender_stats(run->sender, &sender);
	const struct {
		const char *name;
		uint64_t value;
	} ours[] = {
		{"records_emitted", export_records(run->export)},
		{"drain_errors", drain->errors},
		{"clock_steps", clock->steps},
		{"clock_forward_ms", clock->forward_ms},
		{"clock_back_ms", clock->back_ms},
		{"ifaces_attached", follow->attached},
		{"ifaces_detached", follow->detached},
		{"ifaces_failed", follow->failed},
		{"spool_batches", spool.batches},
		{"spool_bytes", spool.bytes},
		{"pins_discarded", capture_discarded(run->capture)->tables},
		{"pins_discarded_packets", capture_discarded(run->capture)->packets},
		{"spool_memory_bytes", spool.memory_bytes},
		{"spool_errors", spool.errors},
		{"spool_reset", spool.resets},
		{"spool_held_back", run->held_back},
		{"spool_dropped_batches", spool.dropped_batches},
		{"spool_dropped_rows", spool.dropped.rows},
		{"spool_dropped_packets", spool.dropped.packets},
		{"spool_dropped_bytes", spool.dropped.bytes},
		{"batches_sent", spool.batches_sent},
		{"batches_resent", spool.batches_resent},
		{"batches_refused", spool.refused_batches},
		{"quarantine_dropped", spool.quarantine_dropped},
		{"batches_refused_rows", spool.refused.rows},
		{"batches_refused_packets", spool.refused.packets},
		{"batches_refused_bytes", spool.refused.bytes},
		{"collector_connects", sender.connects},
		{"collector_bad_frames", sender.bad_frames},
		{"addresses_untold", sender.addrs_untold},
	};

	for (size_t i = 0; i < FLOW_CNT_MAX; i++)
		set_counter(run, names[i], kernel[i]);
	for (size_t i = 0; i < NAMES_COUNTER_MAX; i++)
		set_counter(run, unnamed[i], capture_names_counters(run->capture)[i]);
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		set_counter(run, ours[i].name, ours[i].value);
	set_ethertype_counters(run);
	stack_counters(capture_stack(run->capture), set_stack_counter, run);
	warn_losses(run, kernel[FLOW_CNT_CATCH_ALL], spool.dropped.packets);
}

static void log_word(const char *what, const char *text, void *arg)
{
	(void)arg; /* the log is all */
	log_info("%s: %s", what, text);
}

/* --- start, loop, end --------------------------------------------------------------- */

static void describe_ifaces(struct run *run)
{
	const struct hooks *hooks = capture_hooks(run->capture);
	const struct iface *iface;
	const char *how;

	for (size_t i = 0; (how = hooks_describe(hooks, i, &iface)); i++) {
		struct hello_iface *told;

		log_info("%s: attached, %s", iface->name, how);
		if (run->hello.n_ifaces == HELLO_MAX_IFACES)
			continue; /* counted all the same; only the list in HELLO is bounded */
		told = &run->hello.ifaces[run->hello.n_ifaces++];
		told->index = iface->index;
		memcpy(told->name, iface->name, sizeof(told->name));
		memcpy(told->hooks, how, strlen(how));
	}
}

static void make_hello(struct run *run)
{
	struct hello *h = &run->hello;

	h->version_major = PROTO_VERSION_MAJOR;
	h->version_minor = PROTO_VERSION_MINOR;
	h->epoch = run->id.epoch;
	memcpy(h->probe_id, run->id.probe_id, sizeof(h->probe_id));
	memcpy(h->boot_id, run->id.boot_id, sizeof(h->boot_id));
	memcpy(h->host_name, run->id.host_name, sizeof(h->host_name));
	memcpy(h->kernel, run->id.kernel, sizeof(h->kernel));
	memcpy(h->build, WEIR_VERSION, sizeof(WEIR_VERSION));
	describe_ifaces(run);
}

static int open_spool(struct run *run)
{
	const struct settings *s = &run->settings;
	struct spool_settings settings = {
		.path = settings_spool(s),
		.max_bytes = s->spool_max,
		.epoch = run->id.epoch,
	};
	int err;

	memcpy(settings.probe_id, run->id.probe_id, sizeof(settings.probe_id));
	err = spool_open(&settings, &run->spool);
	if (err == -EBUSY && !s->spool) {
		log_warn("%s belongs to another probe that runs, keeping records in memory; "
			 "--spool names another file",
			 settings.path);
		settings.path = SPOOL_IN_MEMORY;
		err = spool_open(&settings, &run->spool);
	}
	if (err == -EBUSY)
		log_error("%s belongs to another probe that runs", settings.path);
	return err;
}

static void choose_collectors(struct run *run, const struct keyring *k)
{
	const struct option_list *given = &run->settings.collectors;

	run->n_urls = given->n ? given->n : k->n;
	memcpy(run->known, k->collectors, sizeof(run->known));
	for (size_t i = 0; i < run->n_urls; i++)
		run->urls[i] = given->n ? given->items[i] : run->known[i].url;
}

/* Who we are, and to whom we speak: nothing works without. */
static int read_keys(struct run *run)
{
	cleanup(keyring_forget) struct keyring k = {.n = 0};
	const struct settings *s = &run->settings;
	char why[KEYRING_WHY_BYTES];
	int err = keyring_load(s->state_dir, &k, why);

	if (err == -ENOENT || (!err && k.n == 0)) {
		log_error("this host is not enrolled at a collector: 'weir-probe enroll "
			  "JOINSTRING', with what 'weir-collector enroll token create' prints "
			  "there");
		return EXIT_USAGE;
	}
	if (err) {
		log_error("%s", why);
		return err == -EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
	}
	memcpy(run->id.probe_id, k.own.id, sizeof(run->id.probe_id));
	choose_collectors(run, &k);
	return EXIT_OK;
}

static int start(struct run *run)
{
	const struct settings *s = &run->settings;
	struct sender_settings sender;
	struct spool_settled known;
	int code, err;

	err = identity_make(s->name, &run->id);
	code = err ? EXIT_OK : read_keys(run);
	if (code)
		return code;
	if (!err)
		err = open_spool(run);
	if (!err)
		err = export_new(run->id.probe_id, run->id.epoch, run->spool, &run->export);
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	known = spool_settled(run->spool);
	code = capture_open_settled(s, run->id.epoch, &known, on_record, run, &run->capture);
	if (code)
		return code;
	err = privileges_drop(); /* before there are threads, which would keep theirs */
	if (err)
		log_warn("cannot give up capabilities, keeping them: %s", strerror(-err));
	make_hello(run);
	sender = (struct sender_settings){
		.urls = run->urls,
		.n = run->n_urls,
		.state_dir = s->state_dir,
		.read_addrs = own_addrs_read,
	};
	err = spool_start(run->spool, capture_instance(run->capture), capture_group(run->capture));
	if (!err)
		err = sender_start(&sender, &run->hello, run->spool, &run->sender);
	if (err) {
		log_error("cannot start a thread: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	log_info("sending to %s%s as \"%s\"", run->urls[0],
		 run->n_urls > 1 ? ", or the next one that answers," : "", run->id.host_name);
	return EXIT_OK;
}

/* Takes payloads as they come. Returns false when asked to stop. */
static bool wait_until(struct run *run, int stop_fd, uint64_t when_ns)
{
	struct pollfd fds[] = {
		{.fd = stop_fd, .events = POLLIN},
		{.fd = capture_payloads_fd(run->capture), .events = POLLIN},
		{.fd = capture_news_fd(run->capture), .events = POLLIN},
	};

	for (;;) {
		uint64_t now_ns = clock_mono_ns();
		int left_ms = when_ns > now_ns ? (int)((when_ns - now_ns) / NS_PER_MS) + 1 : 0;
		int ready = poll(fds, sizeof(fds) / sizeof(*fds), left_ms);

		if (ready == 0)
			return true;
		if (ready < 0 || fds[0].revents)
			return false;
		capture_payloads(run->capture);
		capture_news(run->capture);
		if (left_ms == 0)
			return true; /* news without end must not keep us from draining */
	}
}

/* The spool takes one group of batches after the other; a fast disk is worth waiting for. */
static void submit(struct run *run)
{
	if (spool_gathered(run->spool) > 0 && spool_idle(run->spool))
		(void)spool_submit(run->spool, capture_seal(run->capture)); /* it is idle */
	(void)spool_wait(run->spool, COMMIT_WAIT_MS); /* else at the next pass */
	capture_settled(run->capture, spool_committed(run->spool));
}

/* What the disk cannot take stays in the kernel: nothing is lost there. */
static void take_records(struct run *run)
{
	submit(run);
	if (spool_full(run->spool)) {
		run->held_back++;
		return;
	}
	capture_drain(run->capture, DRAIN_DUE);
	FAILPOINT("drained");
	set_counters(run);
	export_flush(run->export, clock_mono_ns(), false);
	FAILPOINT("exported");
	submit(run);
}

/* A pass that takes longer than the interval delays the next: never two at once. */
static void loop(struct run *run, int stop_fd)
{
	uint64_t interval_ns = run->settings.drain_ms * NS_PER_MS;
	uint64_t next_ns = clock_mono_ns() + interval_ns;

	while (wait_until(run, stop_fd, next_ns)) {
		capture_follow(run->capture);
		take_records(run);
		next_ns += interval_ns;
		if (next_ns < clock_mono_ns())
			next_ns = clock_mono_ns();
	}
}

static void finish(struct run *run)
{
	bool in_memory = strcmp(settings_spool(&run->settings), SPOOL_IN_MEMORY) == 0;
	struct spool_stats left;
	bool stored;

	log_info("stopping: detaching and reporting every flow");
	capture_finish(run->capture);
	set_counters(run);
	export_flush(run->export, clock_mono_ns(), true);
	(void)spool_wait(run->spool, RUN_GOODBYE_MS); /* else submit() is refused, and said below */
	submit(run);
	stored = spool_wait(run->spool, RUN_GOODBYE_MS) == 0 && spool_gathered(run->spool) == 0;
	if (stored)
		capture_unpin(run->capture);
	sender_stop(take_ptr(run->sender), RUN_GOODBYE_MS);
	spool_stats(run->spool, &left);
	if (!stored && capture_pinned_at(run->capture))
		log_warn("not all could be written: the flow table stays in %s for the next start",
			 capture_pinned_at(run->capture));
	else if (!stored)
		log_warn("%" PRIu64 " bytes of batches could not be written, they are lost",
			 left.memory_bytes);
	if (left.batches && in_memory)
		log_warn("%" PRIu64 " batches stay unsent, their records are lost", left.batches);
	else if (left.batches)
		log_info("%" PRIu64 " batches stay in the spool, for the next start", left.batches);
	else
		log_info("the collector has everything");
}

static void run_free(struct run *run)
{
	sender_stop(run->sender, 0);
	capture_close(run->capture);
	export_free(run->export);
	spool_close(run->spool);
	settings_free(&run_command, &run->settings);
	free(run);
}

DEFINE_CLEANUP(struct run *, run_free)

int run_main(int argc, char **argv, int stop_fd)
{
	cleanup(run_free_p) struct run *run = calloc(1, sizeof(*run));
	int code;

	if (!run) {
		log_error("out of memory");
		return EXIT_RUNTIME;
	}
	code = settings_parse(&run_command, argc, argv, &run->settings);
	if (code)
		return code > 0 ? EXIT_OK : EXIT_USAGE;
	if (run->settings.check_config) {
		log_info("the settings are valid");
		return EXIT_OK;
	}
	code = start(run);
	if (code)
		return code;
	stack_describe(capture_stack(run->capture), log_word, NULL);
	loop(run, stop_fd);
	finish(run);
	return EXIT_OK;
}
