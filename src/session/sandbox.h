/* What the unprivileged half may still do: no new privileges, small limits, and a system-call filter for life. */
#ifndef SESSION_SANDBOX_H
#define SESSION_SANDBOX_H

#include "base/err.h"

/* First thing in the process: no-new-privs, not dumpable, resource limits. */
enum tp_err sandbox_prepare(struct tp_error *error) TP_MUST;
/* After set-up: only reading, writing, polling, accepting, time and memory are left. Opening files or sockets, starting
 * programs and looking at other processes ends the process. Off in sanitizer builds, which need more. */
enum tp_err sandbox_seal(struct tp_error *error) TP_MUST;

#endif
