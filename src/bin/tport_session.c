/* tport-session: the node side of one SSH connection or web terminal. Started by the agent; see docs/man/tport-session.8. */
#include "base/log.h"
#include "session/monitor.h"
#include "session/net.h"
#include "session/term.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#ifdef TPORT_SANITIZE
/* The process is not dumpable and ends with its memory in place: leak checking has nothing to say here. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

int main(int argc, char **argv)
{
    log_init("session", 2, LOG_LEVEL_INFO, false);
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "monitor") == 0) {
        return monitor_main();
    }
    if (argc == 2 && strcmp(argv[1], "net") == 0) {
        return net_main();
    }
    if (argc == 2 && strcmp(argv[1], "term") == 0) {
        return term_main();
    }
    fputs("tport-session is started by the tport agent, one for each SSH connection; it is not for use by hand.\n"
          "See tport-session(8).\n",
          stderr);
    return 2;
}
