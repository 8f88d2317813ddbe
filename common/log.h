/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log.h - lines for the operator, on stderr.
 *
 * Levels: error (the program stops), warn (lost or degraded), info (start,
 * stop, attach, peer change), debug. Nothing per packet. Control bytes in the
 * text are escaped, so names from outside may be passed as they are.
 *
 * Threads: any; one line is one write(2).
 */
#ifndef WEIR_COMMON_LOG_H
#define WEIR_COMMON_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above this level are dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_vwrite(enum log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Rate limit for a warning that may repeat: true at most once per period_ms
 * for this *state (zero-initialised, owned by the caller, one thread).
 */
bool log_due(uint64_t *state, uint64_t period_ms);

#endif /* WEIR_COMMON_LOG_H */
