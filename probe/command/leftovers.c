// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/leftovers.h"

#include <errno.h>
#include <string.h>

#include "common/exit_code.h"
#include "common/log.h"
#include "probe/command/settings.h"
#include "probe/datapath/pins.h"

int leftovers_main(int argc, char **argv, int stop_fd)
{
	struct settings s;
	int code = settings_parse(&cleanup_command, argc, argv, &s);
	int n;

	(void)stop_fd;
	if (code)
		return code > 0 ? EXIT_OK : EXIT_USAGE;
	n = settings_pins(&s) ? pins_cleanup(settings_pins(&s), s.all) : 0;
	if (n < 0)
		log_error("cannot clean up %s: %s", settings_pins(&s), strerror(-n));
	else if (n == 0)
		log_info("nothing is left");
	settings_free(&cleanup_command, &s);
	return n >= 0 ? EXIT_OK : n == -EPERM || n == -EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
}
