// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/capture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "probe/command/settings.h"
#include "probe/datapath/datapath.h"
#include "probe/datapath/hooks.h"
#include "probe/datapath/iface.h"
#include "probe/datapath/pins.h"
#include "probe/datapath/rtnl.h"
#include "probe/datapath/settlement.h"
#include "probe/spool/spool.h"
#include "probe/stack/stack.h"

#define WARN_PERIOD_MS 30000
#define LOOK_PERIOD_NS (5 * NS_PER_SEC)

struct capture {
	struct option_list wanted; /* the interfaces that the settings ask for; borrowed */
	struct iface_list ifaces;  /* all that were ever attached, with their last names */
	int links_fd;		   /* news of interfaces */
	uint64_t looked_ns;
	struct follow_stats follow;
	struct datapath *datapath;
	struct hooks *hooks; /* NULL after capture_finish() */
	struct drain *drain;
	struct stack *stack;
	uint64_t epoch;
	struct pins *pins;	       /* NULL: nothing outlives the process */
	struct settlement *settlement; /* NULL likewise */
	struct discarded discarded;
	uint64_t raw[FLOW_CNT_MAX];	 /* counters as the kernel has them */
	uint64_t counters[FLOW_CNT_MAX]; /* less what is stored already */
	uint64_t warn_state, warn_follow;
};

DEFINE_CLEANUP(struct capture *, capture_close)

static int fail(const char *what, int err)
{
	log_error("%s: %s", what, strerror(-err));
	return err == -EPERM || err == -EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
}

int capture_check_kernel(void)
{
	int err = datapath_check();

	if (err == -EPERM) {
		log_error("no permission to load BPF programs: run as root, or with CAP_BPF, "
			  "CAP_PERFMON and CAP_NET_ADMIN");
		return EXIT_PERMISSION;
	}
	if (err == -ENOENT) {
		log_error("this kernel has no BTF: /sys/kernel/btf/vmlinux is missing "
			  "(CONFIG_DEBUG_INFO_BTF)");
		return EXIT_NO_BTF;
	}
	return err ? fail("cannot check this process's capabilities", err) : EXIT_OK;
}

static int select_ifaces(struct capture *c, const struct settings *s)
{
	cleanup(iface_list_free) struct iface_list all = {0};
	const char *bad;
	int err;

	err = iface_list_all(&all);
	if (err)
		return fail("cannot list the network interfaces", err);
	err = iface_select(&all, &s->ifaces, &c->ifaces, &bad);
	if (err == -ENODEV) {
		log_error("no such network interface: %s", bad);
		return EXIT_NO_IFACE;
	}
	if (err == -EPROTONOSUPPORT) {
		log_error("%s: neither Ethernet nor IP packets on this kind of interface", bad);
		return EXIT_NO_IFACE;
	}
	if (err)
		return fail("cannot select the network interfaces", err);
	if (c->ifaces.n == 0) {
		log_error("no network interface is up");
		return EXIT_NO_IFACE;
	}
	return EXIT_OK;
}

/* Whether the user asked for this interface by its name. */
static bool is_named(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->ifaces.n; i++)
		if (strcmp(s->ifaces.items[i], name) == 0)
			return true;
	return false;
}

static int attach(struct capture *c, const struct settings *s)
{
	size_t attached = 0;

	for (size_t i = 0; i < c->ifaces.n; i++) {
		const struct iface *iface = &c->ifaces.items[i];
		int err = hooks_attach(c->hooks, iface);

		if (!err) {
			attached++;
			continue;
		}
		if (err == -EPERM || err == -EACCES || is_named(s, iface->name)) {
			log_error("%s: cannot attach: %s", iface->name, strerror(-err));
			return err == -ENODEV			 ? EXIT_NO_IFACE
			       : err == -EPERM || err == -EACCES ? EXIT_PERMISSION
								 : EXIT_RUNTIME;
		}
		log_warn("%s: cannot attach: %s, going on without it", iface->name, strerror(-err));
	}
	if (attached == 0) {
		log_error("could not attach to any interface");
		return EXIT_RUNTIME;
	}
	return EXIT_OK;
}

/* --- a table that outlives the process ------------------------------------------ */

/* Of the table that is pinned, packets that no stored record tells of; at most so many. */
static uint64_t unaccounted(const struct capture *c)
{
	uint64_t seen = datapath_pinned_seen(c->pins), told = 0;

	if (c->settlement)
		told = settlement_sums(c->settlement).recorded_packets;
	return seen > told ? seen - told : 0;
}

static void discard(struct capture *c, const char *why)
{
	c->discarded.packets += unaccounted(c);
	c->discarded.tables++;
	log_warn("%s: the flow table of the probe before cannot be read (%s), discarding it",
		 pins_folder(c->pins), why);
	drain_free(take_ptr(c->drain));
	datapath_close(take_ptr(c->datapath));
	settlement_close(take_ptr(c->settlement));
	pins_clear(c->pins);
}

/* The table that is there. -ENOENT if there is none, or no longer. */
static int open_found(struct capture *c, const struct settings *s)
{
	struct settled_table table;
	int err = settlement_find(c->pins, flow_table_reported_bytes(), &c->settlement);

	if (!err) {
		table = settlement_table(c->settlement);
		err = datapath_open_pinned((uint32_t)s->max_flows, c->pins, &table, &c->datapath);
	}
	if (!err && table.n_slots < s->max_flows)
		log_info("the flow table of the probe before has %" PRIu32
			 " flows; --max-flows is for the next one",
			 table.n_slots);
	if (err && err != -ENOENT) {
		discard(c, err == -ESTALE ? "another version" : strerror(-err));
		return -ENOENT;
	}
	return err;
}

static int open_new(struct capture *c, const struct settings *s)
{
	struct settled_table table;
	int err;

	pins_clear(c->pins); /* of a start that was killed before it was complete */
	err = datapath_open((uint32_t)s->max_flows, &c->datapath);
	if (err)
		return err;
	table = (struct settled_table){
		.n_slots = datapath_table(c->datapath)->n_slots,
		.hash_seed = datapath_hash_seed(c->datapath),
	};
	err = settlement_new(&table, flow_table_reported_bytes(), &c->settlement);
	if (!err)
		err = datapath_pin(c->datapath, c->pins);
	if (!err)
		err = settlement_publish(c->settlement, c->pins);
	if (err) {
		log_warn("the flow table cannot be pinned (%s): a killed probe loses it",
			 strerror(-err));
		settlement_close(take_ptr(c->settlement));
		pins_destroy(c->pins);
		pins_close(take_ptr(c->pins));
	}
	return 0;
}

static void open_pins(struct capture *c, const struct settings *s)
{
	int err = pins_open(settings_pins(s), &c->pins);

	if (err == -EBUSY)
		log_warn("another probe counts in this network namespace; "
			 "this one loses its flow table when it is killed");
	else if (err)
		log_info("no bpffs at %s (%s): a killed probe loses its flow table",
			 settings_pins(s), strerror(-err));
}

static int open_datapath(struct capture *c, const struct settings *s)
{
	int err = -ENOENT;

	if (!c->pins)
		return datapath_open((uint32_t)s->max_flows, &c->datapath);
	err = open_found(c, s);
	return err == -ENOENT ? open_new(c, s) : err;
}

static int new_drain(struct capture *c, const struct settings *s, drain_emit_fn emit, void *arg)
{
	const struct flow_table_config config = {
		.active_ns = s->active_ms * NS_PER_MS,
		.idle_ns = s->idle_ms * NS_PER_MS,
		.tcp_idle_ns = s->tcp_idle_ms * NS_PER_MS,
		.udp_idle_ns = (s->udp_idle_ms ? s->udp_idle_ms : s->idle_ms) * NS_PER_MS,
		.icmp_idle_ns = (s->icmp_idle_ms ? s->icmp_idle_ms : s->idle_ms) * NS_PER_MS,
		.epoch = capture_instance(c),
		.ifaces = &c->ifaces,
	};

	return drain_new(c->datapath, &config, emit, arg, &c->drain);
}

static int open_drain(struct capture *c, const struct settings *s,
		      const struct spool_settled *known, drain_emit_fn emit, void *arg)
{
	int err = new_drain(c, s, emit, arg);

	if (err || !c->settlement)
		return err;
	err = drain_settle(c->drain, c->settlement, known);
	if (err != -EBADMSG)
		return err;
	discard(c, "it contradicts itself");
	err = open_new(c, s);
	if (!err)
		err = new_drain(c, s, emit, arg);
	return err || !c->settlement ? err : drain_settle(c->drain, c->settlement, known);
}

static int start(struct capture *c, const struct settings *s, const struct spool_settled *known,
		 drain_emit_fn emit, void *arg)
{
	int err, code;

	code = capture_check_kernel();
	if (!code)
		code = select_ifaces(c, s);
	if (code)
		return code;
	if (known && settings_pins(s))
		open_pins(c, s);
	err = open_datapath(c, s);
	if (err)
		return fail("cannot load the BPF programs", err);
	err = open_drain(c, s, known, emit, arg);
	if (!err)
		err = stack_open(datapath_table(c->datapath)->n_slots, c->epoch, &c->stack);
	if (!err)
		drain_set_stack(c->drain, c->stack);
	if (!err)
		err = hooks_open(c->datapath, (enum hooks_mode)s->hook, &c->hooks);
	if (err)
		return fail("cannot set up the flow table", err);
	if (c->pins)
		hooks_pin(c->hooks, c->pins);
	code = attach(c, s);
	if (!code)
		hooks_drop_found(c->hooks);
	return code;
}

int capture_open_settled(const struct settings *s, uint64_t epoch,
			 const struct spool_settled *known, drain_emit_fn emit, void *arg,
			 struct capture **ret)
{
	cleanup(capture_close_p) struct capture *c = calloc(1, sizeof(*c));
	int code;

	if (!c)
		return fail("cannot start", -ENOMEM);
	c->epoch = epoch;
	c->links_fd = rtnl_watch_links();
	if (c->links_fd < 0)
		return fail("cannot follow the network interfaces", c->links_fd);
	c->wanted = s->ifaces;
	c->looked_ns = clock_mono_ns();
	code = start(c, s, known, emit, arg);
	if (code)
		return code;
	*ret = take_ptr(c);
	return EXIT_OK;
}

int capture_open(const struct settings *s, uint64_t epoch, drain_emit_fn emit, void *arg,
		 struct capture **ret)
{
	return capture_open_settled(s, epoch, NULL, emit, arg, ret);
}

uint64_t capture_instance(const struct capture *c)
{
	return c->settlement ? settlement_instance(c->settlement) : c->epoch;
}

uint64_t capture_group(const struct capture *c)
{
	return drain_group(c->drain);
}

uint64_t capture_seal(struct capture *c)
{
	return drain_seal(c->drain, c->raw);
}

void capture_settled(struct capture *c, uint64_t group)
{
	drain_settled(c->drain, group);
}

void capture_unpin(struct capture *c)
{
	if (c->pins)
		pins_destroy(c->pins);
}

const struct discarded *capture_discarded(const struct capture *c)
{
	return &c->discarded;
}

const char *capture_pinned_at(const struct capture *c)
{
	return c->pins ? pins_folder(c->pins) : NULL;
}

void capture_close(struct capture *c)
{
	if (!c)
		return;
	hooks_close(c->hooks);
	drain_free(c->drain);
	stack_close(c->stack);
	datapath_close(c->datapath);
	settlement_close(c->settlement);
	pins_close(c->pins);
	iface_list_free(&c->ifaces);
	if (c->links_fd >= 0)
		close(c->links_fd);
	free(c);
}

/* --- following the interfaces ------------------------------------------------ */

static void attach_later(struct capture *c, const struct iface *iface)
{
	int err = iface_list_update(&c->ifaces, iface);

	if (err || hooks_has(c->hooks, iface->index))
		return;
	err = hooks_attach(c->hooks, iface);
	if (err) {
		c->follow.failed++;
		if (log_due(&c->warn_follow, WARN_PERIOD_MS))
			log_warn("%s: cannot attach: %s, going on without it", iface->name,
				 strerror(-err));
		return;
	}
	c->follow.attached++;
	log_info("%s: attached", iface->name);
}

void capture_follow(struct capture *c)
{
	cleanup(iface_list_free) struct iface_list all = {0};
	cleanup(iface_list_free) struct iface_list wanted = {0};
	uint64_t now_ns = clock_mono_ns();

	if (!rtnl_links_changed(c->links_fd) && now_ns - c->looked_ns < LOOK_PERIOD_NS)
		return;
	c->looked_ns = now_ns;
	c->follow.detached += hooks_check(c->hooks);
	if (iface_list_all(&all) || iface_matching(&all, &c->wanted, &wanted))
		return; /* the next look is soon */
	for (size_t i = 0; i < wanted.n; i++)
		attach_later(c, &wanted.items[i]);
}

const struct follow_stats *capture_follow_stats(const struct capture *c)
{
	return &c->follow;
}

void capture_drain(struct capture *c, enum drain_scope scope)
{
	int err = drain_run(c->drain, scope);

	if (err && log_due(&c->warn_state, WARN_PERIOD_MS))
		log_warn("cannot read the flow table: %s, trying again", strerror(-err));
}

void capture_payloads(struct capture *c)
{
	drain_payloads(c->drain);
}

int capture_payloads_fd(const struct capture *c)
{
	return drain_payloads_fd(c->drain);
}

void capture_news(struct capture *c)
{
	stack_consume(c->stack);
}

int capture_news_fd(const struct capture *c)
{
	return stack_fd(c->stack);
}

struct stack *capture_stack(const struct capture *c)
{
	return c->stack;
}

void capture_finish(struct capture *c)
{
	hooks_close(take_ptr(c->hooks));
	capture_drain(c, DRAIN_FINAL);
}

int capture_ethertypes(const struct capture *c, datapath_ethertype_fn visit, void *arg)
{
	return datapath_ethertypes(c->datapath, visit, arg);
}

const uint64_t *capture_counters(struct capture *c)
{
	if (datapath_counters(c->datapath, c->raw) != 0)
		log_debug("cannot read the counters, keeping the last ones");
	for (int i = 0; i < FLOW_CNT_MAX; i++)
		c->counters[i] = c->raw[i] - drain_base_counters(c->drain)[i];
	return c->counters;
}

const struct drain_stats *capture_stats(const struct capture *c)
{
	return drain_stats(c->drain);
}

const struct wall_clock *capture_wall_clock(const struct capture *c)
{
	return drain_wall_clock(c->drain);
}

const uint64_t *capture_names_counters(const struct capture *c)
{
	return drain_names_counters(c->drain);
}

const struct hooks *capture_hooks(const struct capture *c)
{
	return c->hooks;
}
