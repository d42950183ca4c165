/* tport-session: the node side of one SSH connection or web terminal. Started by the agent; see docs/man/tport-session.8. */
#include "base/log.h"
#include "base/version.h"
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

static const char usage[] = "Usage: tport-session monitor|net|term\n"
                            "\n"
                            "Serves one SSH connection or web terminal. The agent of tportd starts it; it is\n"
                            "not for use by hand. See tport-session(8).\n"
                            "\n"
                            "Options:\n"
                            "  -h, --help     Show this text\n"
                            "  -v, --version  Show the version\n";

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && is_one_of(argv[1], "help", "--help", "-h"))
        return fputs(usage, stdout) >= 0 && fflush(stdout) == 0 ? 0 : 1;
    if (argc == 2 && is_one_of(argv[1], "version", "--version", "-v"))
        return puts("tport-session v" TPORT_VERSION) >= 0 && fflush(stdout) == 0 ? 0 : 1;
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
    (void)fputs(
        "tport-session: the agent of tportd starts this, one for each SSH connection; it is not for use by hand. "
        "See \"tport-session --help\"\n",
        stderr);
    return 2;
}
