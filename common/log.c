/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/utf8.h"

#define TEXT_MAX 1024 /* longer texts are cut */
#define ESCAPED	 4    /* bytes of \xNN */

static int log_threshold = LOG_LEVEL_INFO; /* atomic */

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_threshold, (int)level, __ATOMIC_RELAXED);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= __atomic_load_n(&log_threshold, __ATOMIC_RELAXED);
}

/* Appends text to line[at..], escaped; line has room for ESCAPED times len. */
static size_t append_escaped(char *line, size_t at, const char *text, size_t len)
{
	static const char hex[] = "0123456789abcdef";

	while (len > 0) {
		uint32_t code;
		size_t n = utf8_next(text, len, &code);
		bool as_is = n > 0 && utf8_printable(code);

		n = n ? n : 1;
		for (size_t i = 0; i < n; i++) {
			uint8_t byte = (uint8_t)text[i];

			if (as_is) {
				line[at++] = text[i];
				continue;
			}
			line[at++] = '\\';
			line[at++] = 'x';
			line[at++] = hex[byte >> 4];
			line[at++] = hex[byte & 15];
		}
		text += n;
		len -= n;
	}
	return at;
}

void log_vwrite(enum log_level level, const char *fmt, va_list ap)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char text[TEXT_MAX], line[64 + ESCAPED * TEXT_MAX];
	int saved = errno, len;
	size_t at;

	if (!log_enabled(level))
		return;
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): false, clang 14 */
	len = vsnprintf(text, sizeof(text), fmt, ap);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(text)) {
		len = sizeof(text) - 1;
		for (int i = 1; i <= 3; i++)
			text[len - i] = '.';
	}
	if (len > 0 && text[len - 1] == '\n') /* libbpf ends its texts so */
		len--;
	at = (size_t)snprintf(line, 64, "%.32s: %s: ", program_invocation_short_name, names[level]);
	at = append_escaped(line, at, text, (size_t)len);
	line[at++] = '\n';
	if (write(STDERR_FILENO, line, at) < 0) {
		/* Nowhere left to say it. */
	}
	errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vwrite(level, fmt, ap);
	va_end(ap);
}

bool log_due(uint64_t *state, uint64_t period_ms)
{
	uint64_t now = clock_mono_ns();

	if (*state && now - *state < period_ms * NS_PER_MS)
		return false;
	*state = now;
	return true;
}
