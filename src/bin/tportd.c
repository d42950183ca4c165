/* tportd: command line, and the entry of each child process. */
#include "agent/agent.h"
#include "auth/auth.h"
#include "base/log.h"
#include "base/mem.h"
#include "bin/configure.h"
#include "bin/plan.h"
#include "bin/secrets.h"
#include "core/sandbox.h"
#include "protocols/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_FD 3
#define VERSION "0.1.0"

static int usage(FILE *out)
{
    (void)fputs(
        "tportd: one door to every server: proxy, auth and node agent\n"
        "\n"
        "  tportd -c FILE                    run in the foreground (default /etc/tport/tport.conf)\n"
        "  tportd -t -c FILE                 test the file: every error with line and key\n"
        "  tportd -s SIGNAL -c FILE          reload, quit (drain first), stop, reopen (log file), upgrade\n"
        "  tportd configure [flags]          write a configuration for a cluster; see --help\n"
        "  tportd node configure [flags]     write a configuration for a node; see --help\n"
        "  tportd secrets rekey [flags]      change the key of the secrets store, while tportd is stopped; see --help\n"
        "  tportd status                     say whether this shell is inside a tport session\n"
        "  tportd version, --version, -v     print the version\n",
        out);
    return out == stdout ? 0 : 1;
}

/* ---- children ---- */

/* ps shows the title that master gave (argv[0]), and not what was meant for us. */
static void hide_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        memset(argv[i], 0, strlen(argv[i]));
}

static int run_child(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int control_fd);
        bool sandboxed;
        enum sandbox_role sandbox;
    } roles[] = {{"auth", auth_main, true, SANDBOX_AUTH},
                 {"worker", worker_main, true, SANDBOX_WORKER},
                 /* Where it serves SSH, its sessions must be able to become any user and to run su or sudo. */
                 {"agent", agent_main, false, SANDBOX_AUTH}};
    struct tp_error error = {0};
    const char *name = argc > 2 ? mem_strdup(argv[2]) : "";
    const char *user = argc > 3 ? mem_strdup(argv[3]) : "";

    hide_arguments(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    log_init(name, STDERR_FILENO, LOG_LEVEL_INFO, false);
    /* jansson would open /dev/urandom at its first object, too late for a sandbox. */
    json_object_seed(0);
    if (fcntl(CONTROL_FD, F_GETFD) < 0) {
        (void)fputs("tportd: --child is for master's own use\n", stderr);
        return 1;
    }
    (void)fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcmp(roles[i].name, name) != 0)
            continue;
        if (sandbox_become(user, &error) != TP_OK) {
            log_error("can't drop privileges", "why=\"%s\"", error.text);
            return 1;
        }
        if (!roles[i].sandboxed && *user && sandbox_no_new_privileges(&error) != TP_OK) {
            log_error("can't drop privileges", "why=\"%s\"", error.text);
            return 1;
        }
        if (roles[i].sandboxed && sandbox_enter(roles[i].sandbox, &error) != TP_OK)
            log_warn("running without a system call filter", "why=\"%s\"", error.text);
        return roles[i].run(CONTROL_FD);
    }
    (void)fprintf(stderr, "tportd: no process role %s\n", name);
    return 1;
}

/* ---- signals to a running daemon ---- */

static int send_signal(const char *conf_path, const char *word)
{
    static const struct {
        const char *word;
        int signal_number;
    } table[] = {{"reload", SIGHUP}, {"quit", SIGQUIT}, {"stop", SIGTERM}, {"reopen", SIGUSR1}, {"upgrade", SIGUSR2}};
    struct conf *conf = NULL;
    struct tp_error error = {0};
    char *pid_file;
    FILE *file;
    int pid = 0;
    int signal_number = 0;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].word, word) == 0)
            signal_number = table[i].signal_number;
    }
    if (!signal_number) {
        (void)fprintf(stderr, "tportd: -s %s is unknown; use reload, quit, stop, reopen or upgrade\n", word);
        return 1;
    }
    if (conf_load(conf_path, &conf, NULL, &error) != TP_OK) {
        (void)fprintf(stderr, "tportd: %s\n", error.text);
        if (signal_number == SIGHUP && error.code != TP_NOT_FOUND)
            (void)fputs("tportd: not reloaded, the old configuration stays in force\n", stderr);
        return 1;
    }
    pid_file = *conf->pid_file ? mem_strdup(conf->pid_file) : mem_printf("%s/tportd.pid", conf->data_dir);
    conf_free(conf);
    file = fopen(pid_file, "re");
    if (!file || fscanf(file, "%d", &pid) != 1 || pid <= 1 || kill(pid, signal_number) != 0) {
        (void)fprintf(stderr, "tportd: no running tportd found by %s (%s)\n", pid_file,
                      file && pid > 1 ? strerror(errno) : "is it running?");
        pid = 0;
    }
    if (file)
        (void)fclose(file);
    mem_free(pid_file);
    return pid > 1 ? 0 : 1;
}

/* As Teleport's status: which session is this shell in. */
static int status(void)
{
    const char *user = getenv("SSH_TELEPORT_USER");
    const char *session = getenv("SSH_SESSION_ID");
    if (!user || !session) {
        (void)puts("You are not inside a tport SSH session.");
        return 1;
    }
    (void)printf("User ID     : %s, logged in as %s from %s\n", user, getenv("USER") ? getenv("USER") : "",
                 getenv("SSH_CONNECTION") ? getenv("SSH_CONNECTION") : "");
    (void)printf("Cluster Name: %s\n", getenv("SSH_TELEPORT_CLUSTER_NAME") ? getenv("SSH_TELEPORT_CLUSTER_NAME") : "");
    (void)printf("Host UUID   : %s\n", getenv("SSH_TELEPORT_HOST_UUID") ? getenv("SSH_TELEPORT_HOST_UUID") : "");
    (void)printf("Session ID  : %s\n", session);
    return 0;
}

static int version(void)
{
    (void)puts("tport v" VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    const char *conf_path = CONF_DEFAULT_FILE;
    const char *word = NULL;
    bool test = false;
    int first = 1;

    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return run_child(argc, argv);
    if (argc > 1 && strcmp(argv[1], "configure") == 0)
        return configure_run(argc - 1, argv + 1);
    if (argc > 2 && strcmp(argv[1], "node") == 0 && strcmp(argv[2], "configure") == 0)
        return configure_node_run(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "secrets") == 0)
        return secrets_run(argc - 1, argv + 1);
    if (argc > 2 && strcmp(argv[1], "status") == 0)
        return usage(strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0 ? stdout : stderr);
    if (argc > 1 && strcmp(argv[1], "status") == 0)
        return status();
    if (argc > 1 && (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0))
        return version();
    if (argc > 1 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0))
        return usage(stdout);
    /* Teleport's word for running. */
    if (argc > 1 && strcmp(argv[1], "start") == 0)
        first = 2;
    optind = first;
    for (int option; (option = getopt(argc, argv, "c:s:tvh")) != -1;) {
        switch (option) {
        case 'c':
            conf_path = optarg;
            break;
        case 's':
            word = optarg;
            break;
        case 't':
            test = true;
            break;
        case 'v':
            return version();
        case 'h':
            return usage(stdout);
        default:
            return usage(stderr);
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "tportd: %s is no command; tportd --help lists them\n", argv[optind]);
        return 1;
    }
    if (test)
        return plan_test(conf_path);
    if (word)
        return send_signal(conf_path, word);
    return master_run(conf_path, argv, plan_load);
}
