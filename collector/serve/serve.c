// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <zmq.h>

#include "collector/access/allow_list.h"
#include "collector/serve/admin.h"
#include "collector/flowstore/fresh_cache.h"
#include "collector/serve/compacting.h"
#include "collector/serve/control.h"
#include "collector/serve/credit.h"
#include "collector/serve/detector.h"
#include "collector/serve/job.h"
#include "collector/serve/own_key.h"
#include "collector/serve/receiver.h"
#include "collector/serve/store.h"
#include "collector/serve/writer.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/queue.h"

/*
 * Batches that wait for the writer, by credit_cost(), as they came; unpacked,
 * several times that. All peers together get the pool as their credit; the slack
 * is for those that have not heard yet that they have less.
 */
#define POOL_BYTES	 (32u << 20)
#define POOL_SLACK_BYTES (2u * CREDIT_MAX_BYTES)
#define ENDPOINT_MAX	 256
#define OWN_FDS		 128  /* that the collector itself has open, at most */
#define WAITING_MAX	 1024 /* connections that have said nothing yet */
#define WAITING_MIN	 8
#define OTHER_JOBS	 1024	    /* HELLOs, detections, lists */
#define FRESH_BYTES	 (8u << 20) /* a segment is made of 2 MiB, most of the time */

struct serve {
	const struct serve_settings *settings;
	const char *db_path;
	struct writer_settings writer;
	struct detector_settings detector;
	struct queue *jobs, *replies;
	struct store *store;
	struct allow_list *allow;
	size_t max_waiting;
	struct receiver *receiver;
	struct control *control;
	int stop_fd; /* readable: receiver, detector and control stop */
	int receiver_err;
};

DEFINE_CLEANUP(struct queue *, queue_free)
DEFINE_CLEANUP(struct store *, store_close)
DEFINE_CLEANUP(struct receiver *, receiver_free)

static void *receiver_thread(void *arg)
{
	struct serve *s = arg;

	s->receiver_err = receiver_run(s->receiver, s->stop_fd);
	if (s->receiver_err)
		(void)eventfd_write(s->stop_fd, 1); /* wakes main; fails only when it is huge */
	return NULL;
}

static void *writer_thread(void *arg)
{
	struct serve *s = arg;

	writer_run(s->store, &s->writer, s->jobs, s->replies);
	return NULL;
}

static void *detector_thread(void *arg)
{
	struct serve *s = arg;

	detector_run(s->db_path, &s->detector, s->jobs, s->stop_fd);
	return NULL;
}

static void *control_thread(void *arg)
{
	struct serve *s = arg;

	control_run(s->control, s->stop_fd);
	return NULL;
}

static void *compactor_thread(void *arg)
{
	struct serve *s = arg;

	compacting_run(s->db_path, s->writer.fresh, s->jobs, s->stop_fd);
	return NULL;
}

/*
 * Two descriptors a peer (a connection that dies as its successor comes), those
 * that wait, and our own. Returns how many may be open.
 */
static uint64_t raise_fd_limit(uint64_t max_peers)
{
	rlim_t wanted = 2 * max_peers + 2 * WAITING_MAX + OWN_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return OWN_FDS;
	if (limit.rlim_cur >= wanted)
		return limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* what it is then, is read */
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
		log_warn("only %" PRIu64 " files may be open: too few for %" PRIu64
			 " peers (ulimit -n)",
			 (uint64_t)limit.rlim_cur, max_peers);
	return limit.rlim_cur;
}

/* Of each port: a quarter of what there is. */
static size_t max_waiting(uint64_t fds)
{
	uint64_t n = fds > OWN_FDS ? (fds - OWN_FDS) / 4 : 0;

	return n > WAITING_MAX ? WAITING_MAX : n < WAITING_MIN ? WAITING_MIN : n;
}

static int bind_exit_code(int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		return EXIT_PERMISSION;
	case -EINVAL:
	case -EPROTONOSUPPORT:
	case -ENOCOMPATPROTO:
		return EXIT_USAGE;
	case -ENOMEM:
		return EXIT_RUNTIME;
	default:
		return EXIT_UNREACHABLE;
	}
}

/* Each peer has the least credit at least. */
static size_t pool_bytes(const struct serve_settings *settings)
{
	size_t floors = settings->max_peers * CREDIT_FLOOR_BYTES;

	return floors > POOL_BYTES ? floors : POOL_BYTES;
}

static int make_queues(struct serve *s)
{
	size_t bytes = pool_bytes(s->settings) + POOL_SLACK_BYTES;
	size_t n = bytes / CREDIT_MIN_BYTES + s->settings->max_peers + OTHER_JOBS;
	int err = queue_new(n, bytes, job_free, &s->jobs);

	/* What comes back was in jobs or in one group of the writer. */
	return err ? err : queue_new(2 * n, SIZE_MAX, job_free, &s->replies);
}

/* "tcp://ADDR:PORT" with the next port; as it is if that is no number. */
static void next_port(const char *url, char *ret, size_t size)
{
	const char *colon = strrchr(url, ':');
	char *end = NULL;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || end == colon + 1 || *end || port >= 65535)
		(void)snprintf(ret, size, "%s", url);
	else
		(void)snprintf(ret, size, "%.*s:%lu", (int)(colon - url), url, port + 1);
}

static int open_receiver(struct serve *s, const struct key_pair *key)
{
	char enroll[ENDPOINT_MAX];
	const struct receiver_settings settings = {
		.endpoint = s->settings->listen,
		.enroll_endpoint = s->settings->enroll_listen ? s->settings->enroll_listen : enroll,
		.key = key,
		.allow = s->allow,
		.max_waiting = s->max_waiting,
		.max_peers = s->settings->max_peers,
		.silent_ms = s->settings->silent_ms,
		.credit_bytes = pool_bytes(s->settings),
		.peer_rate = s->settings->peer_rate,
	};
	int err;

	next_port(s->settings->listen, enroll, sizeof(enroll));
	err = receiver_new(&settings, s->jobs, s->replies, &s->receiver);
	if (!err)
		return EXIT_OK;
	log_error("cannot listen on %s and %s: %s", settings.endpoint, settings.enroll_endpoint,
		  zmq_strerror(-err));
	return bind_exit_code(err);
}

static int open_store(struct serve *s)
{
	const char *why;
	int err = store_open(s->db_path, &s->store, &why);

	if (!err)
		return EXIT_OK;
	log_error("%s: %s", s->db_path, why);
	return db_exit_code(err);
}

/* For commands: where we listen, how long records are kept. */
static int note_settings(struct serve *s)
{
	const char *listen[] = {"listen", receiver_endpoint(s->receiver),
				receiver_enroll_endpoint(s->receiver)};
	char age[24], bytes[24];
	const char *retention[] = {"retention", age, bytes};
	int64_t now_ms = (int64_t)(clock_real_ns() / NS_PER_MS);
	struct admin_reply reply;
	int err = store_command(s->store, ARRAY_SIZE(listen), listen, now_ms, &reply);

	(void)snprintf(age, sizeof(age), "%" PRIu64, s->settings->retention_ms);
	(void)snprintf(bytes, sizeof(bytes), "%" PRIu64, s->settings->retention_bytes);
	return err ? err
		   : store_command(s->store, ARRAY_SIZE(retention), retention, now_ms, &reply);
}

/* Who may come in; where commands ask. */
static int open_admission(struct serve *s)
{
	int err = note_settings(s);

	if (!err)
		err = store_share(s->store, s->allow);
	if (err) {
		log_error("%s: %s", s->db_path, strerror(-err));
		return db_exit_code(err);
	}
	err = control_open(s->db_path, s->jobs, &s->control);
	if (err) {
		log_error("%s-control: %s", s->db_path, strerror(-err));
		return err == -EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
	}
	return EXIT_OK;
}

/* The port first: if it is taken, nothing is made; what is in memory of the key is wiped. */
static int open_all(struct serve *s)
{
	struct key_pair key = {0};
	bool is_new;
	int code = own_key_get(s->db_path, &key, &is_new);

	if (!code)
		code = open_receiver(s, &key);
	if (!code)
		code = open_store(s);
	if (!code)
		code = own_key_keep(s->db_path, &key, is_new, s->store);
	if (!code)
		code = open_admission(s);
	key_forget(&key);
	return code;
}

/* SIGINT and SIGTERM come out of *ret_fd; a reader of stderr that goes is no reason to die. */
static int catch_signals(int *ret_fd)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* a valid set cannot fail */
	(void)signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* Until a signal comes or a thread gives up. */
static void wait_for_end(const struct serve *s, int signal_fd)
{
	struct pollfd fds[] = {
		{.fd = signal_fd, .events = POLLIN},
		{.fd = s->stop_fd, .events = POLLIN},
	};
	struct signalfd_siginfo info;

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents && read(signal_fd, &info, sizeof(info)) == sizeof(info))
		log_info("%s: committing what has arrived, then the end",
			 strsignal((int)info.ssi_signo));
}

/*
 * Stops in the order of the data: the receiver takes no more, the writer
 * commits what is queued, the receiver answers it.
 */
static int run_threads(struct serve *s, int signal_fd)
{
	void *(*const mains[])(void *) = {receiver_thread, writer_thread, detector_thread,
					  control_thread, compactor_thread};
	pthread_t threads[ARRAY_SIZE(mains)];
	size_t n = 0;
	int err = 0;

	while (!err && n < ARRAY_SIZE(mains)) {
		err = pthread_create(&threads[n], NULL, mains[n], s);
		n += err ? 0 : 1;
	}
	if (err) {
		log_error("cannot start a thread: %s", strerror(err));
		queue_close(s->jobs);	 /* for a writer that is there */
		queue_close(s->replies); /* for a receiver without one */
	} else {
		log_info("listening on %s (enrolment: %s), database %s",
			 receiver_endpoint(s->receiver), receiver_enroll_endpoint(s->receiver),
			 s->db_path);
		wait_for_end(s, signal_fd);
	}
	(void)eventfd_write(s->stop_fd, 1); /* fails only when it is huge */
	while (n > 0)
		(void)pthread_join(threads[--n], NULL); /* ours and joinable */
	if (s->receiver_err)
		log_error("the socket has failed: %s", zmq_strerror(-s->receiver_err));
	return err || s->receiver_err ? EXIT_RUNTIME : EXIT_OK;
}

static int serve(struct serve *s)
{
	cleanup(close_p) int signal_fd = -1;
	int code, err;

	err = catch_signals(&signal_fd);
	if (!err)
		err = make_queues(s);
	if (!err)
		err = allow_list_new(&s->allow);
	if (!err)
		err = fresh_cache_new(FRESH_BYTES, &s->writer.fresh);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!err && s->stop_fd < 0)
		err = -errno;
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	code = open_all(s);
	return code ? code : run_threads(s, signal_fd);
}

int serve_run(const struct serve_settings *settings)
{
	const struct cli_settings paths = {.db = settings->db};
	struct serve s = {
		.settings = settings,
		.db_path = cli_db_path(&paths),
		.writer = {.commit_interval_ms = settings->commit_interval_ms,
			   .retention_ms = settings->retention_ms,
			   .retention_bytes = settings->retention_bytes,
			   .rollup_minute_retention_ms = settings->rollup_minute_retention_ms,
			   .rollup_hour_retention_ms = settings->rollup_hour_retention_ms},
		.detector = {.interval_ms = settings->detect_interval_ms,
			     .delay_ms = settings->detect_delay_ms,
			     .limits = {.rate_floor = settings->rate_floor,
					.half_open = settings->half_open,
					.scan_ports = settings->scan_ports,
					.sweep_hosts = settings->sweep_hosts}},
		.stop_fd = -1,
	};
	int code;

	log_set_level(settings->log_level);
	(void)umask(027); /* who talked to whom is not for everybody */
	s.max_waiting = max_waiting(raise_fd_limit(settings->max_peers));
	code = serve(&s);
	receiver_free(s.receiver);
	control_close(s.control);
	store_close(s.store);
	allow_list_free(s.allow);
	queue_free(s.jobs);
	queue_free(s.replies);
	fresh_cache_free(s.writer.fresh);
	close_p(&s.stop_fd);
	return code;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct serve_settings *s = settings;

	(void)argc; /* takes no arguments */
	(void)argv;
	if (s->check_config) {
		puts("the configuration is valid");
		return EXIT_OK;
	}
	return serve_run(s);
}

#define AT(field) .offset = offsetof(struct serve_settings, field)

static const struct option_row rows[] = {
	{.name = "config",
	 .type = OPTION_STRING,
	 AT(config),
	 .arg = "FILE",
	 .cli_only = true,
	 .help = "read options from this file"},
	{.name = "check-config",
	 .type = OPTION_FLAG,
	 AT(check_config),
	 .cli_only = true,
	 .help = "check options and file, then end"},
	{.name = "db",
	 .type = OPTION_STRING,
	 AT(db),
	 .arg = "FILE",
	 .help = "database, made if missing (default $WEIR_DB, else weir.db)"},
	{.name = "listen",
	 .type = OPTION_STRING,
	 AT(listen),
	 .arg = "tcp://ADDR:PORT",
	 .fallback = "tcp://127.0.0.1:7441",
	 .help = "where probes connect to"},
	{.name = "enroll-listen",
	 .type = OPTION_STRING,
	 AT(enroll_listen),
	 .arg = "tcp://ADDR:PORT",
	 .help = "where new hosts ask to be admitted (default: the next port)"},
	{.name = "log-level",
	 .type = OPTION_CHOICE,
	 AT(log_level),
	 .arg = "LEVEL",
	 .choices = "error|warn|info|debug",
	 .fallback = "info",
	 .help = "what stderr gets"},
	{.name = "max-peers",
	 .type = OPTION_U64,
	 AT(max_peers),
	 .arg = "N",
	 .fallback = "1024",
	 .min = 1,
	 .max = 65536,
	 .help = "probes at a time; more are refused"},
	{.name = "peer-rate",
	 .type = OPTION_BYTES,
	 AT(peer_rate),
	 .arg = "SIZE",
	 .fallback = "64M",
	 .max = 1ll << 40,
	 .help = "bytes a second that one probe may send for long; 0: no limit"},
	{.name = "silent-after",
	 .type = OPTION_DURATION_MS,
	 AT(silent_ms),
	 .arg = "TIME",
	 .fallback = "60s",
	 .min = 1000,
	 .max = 86400000,
	 .help = "a probe not heard of for so long has gone"},
	{.name = "commit-interval",
	 .type = OPTION_DURATION_MS,
	 AT(commit_interval_ms),
	 .arg = "TIME",
	 .fallback = "100ms",
	 .min = 1,
	 .max = 10000,
	 .help = "batches that arrive within it share a transaction"},
	{.name = "retention",
	 .type = OPTION_DURATION_MS,
	 AT(retention_ms),
	 .arg = "AGE",
	 .fallback = "0",
	 .help = "delete flow records of this age; 0: never"},
	{.name = "retention-bytes",
	 .type = OPTION_BYTES,
	 AT(retention_bytes),
	 .arg = "BYTES",
	 .fallback = "0",
	 .help = "delete the oldest when the database is larger; 0: never"},
	{.name = "rollup-minute-retention",
	 .type = OPTION_DURATION_MS,
	 AT(rollup_minute_retention_ms),
	 .arg = "AGE",
	 .fallback = "3d",
	 .help = "delete sums by minute of this age; 0: never"},
	{.name = "rollup-hour-retention",
	 .type = OPTION_DURATION_MS,
	 AT(rollup_hour_retention_ms),
	 .arg = "AGE",
	 .fallback = "400d",
	 .help = "delete sums by hour of this age; 0: never"},
};

static const struct option_row detector_rows[] = {
	{.name = "detect-interval",
	 .type = OPTION_DURATION_MS,
	 AT(detect_interval_ms),
	 .arg = "TIME",
	 .fallback = "60s",
	 .min = 1000,
	 .max = 3600000,
	 .help = "detectors judge buckets of this length"},
	{.name = "detect-delay",
	 .type = OPTION_DURATION_MS,
	 AT(detect_delay_ms),
	 .arg = "TIME",
	 .fallback = "25s",
	 .min = 0,
	 .max = 3600000,
	 .help = "... so long after their end: active timeout of the probes + 10 s"},
	{.name = "rate-floor",
	 .type = OPTION_U64,
	 AT(rate_floor),
	 .arg = "N",
	 .fallback = "6000",
	 .min = 1,
	 .max = 1e15,
	 .help = "rate_spike: never below so many packets a minute"},
	{.name = "half-open",
	 .type = OPTION_U64,
	 AT(half_open),
	 .arg = "N",
	 .fallback = "200",
	 .min = 1,
	 .max = 1e9,
	 .help = "syn_flood: half-open connections to a service a minute"},
	{.name = "scan-ports",
	 .type = OPTION_U64,
	 AT(scan_ports),
	 .arg = "N",
	 .fallback = "15",
	 .min = 2,
	 .max = 65535,
	 .help = "port_scan: ports of one host, tried in vain"},
	{.name = "sweep-hosts",
	 .type = OPTION_U64,
	 AT(sweep_hosts),
	 .arg = "N",
	 .fallback = "15",
	 .min = 2,
	 .max = 1e9,
	 .help = "host_sweep: hosts tried in vain on one port"},
};

const struct cli_command serve_command = {
	.command =
		{
			.name = "serve",
			.summary = SERVE_SUMMARY,
			.examples =
				"  serve --db /var/lib/weir/weir.db --listen 'tcp://[::]:7441'\n"
				"  serve --retention 14d\n",
			.tables = {{rows, ARRAY_SIZE(rows)},
				   {detector_rows, ARRAY_SIZE(detector_rows)}},
		},
	.settings_size = sizeof(struct serve_settings),
	.run = run,
};
