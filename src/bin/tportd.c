/* tportd: command line, and the entry of each child process. */
#include "agent/agent.h"
#include "auth/auth.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "bin/configure.h"
#include "bin/kube_look.h"
#include "bin/plan.h"
#include "bin/secrets.h"
#include "core/master.h"
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

#define NOT_RELOADED "tportd: not reloaded, the old configuration stays in force\n"
#define NOT_REOPENED "tportd: not reopened, the log goes on in the old file\n"

/* The daemon that runs with a configuration. */
struct running {
    char *pid_file;
    char *data_dir;
};

/* false: the configuration is of no use, and that has been said. */
static bool running_find(const char *conf_path, bool reload, struct running *ret)
{
    struct conf *conf = NULL;
    struct tp_error error = {0};
    if (conf_load(conf_path, &conf, NULL, &error) != TP_OK) {
        (void)fprintf(stderr, "tportd: %s\n%s", error.text, reload && error.code != TP_NOT_FOUND ? NOT_RELOADED : "");
        return false;
    }
    ret->pid_file = *conf->pid_file ? mem_strdup(conf->pid_file) : mem_printf("%s/tportd.pid", conf->data_dir);
    ret->data_dir = mem_strdup(conf->data_dir);
    /* The agent's clusters would be gone until somebody sees it. */
    bool good = !reload || kube_look(conf, &error) == TP_OK;
    if (!good)
        (void)fprintf(stderr, "tportd: no Kubernetes cluster could be served: %s\n" NOT_RELOADED, error.text);
    conf_free(conf);
    return good;
}

/* Whether it has done so, where it tells. */
static bool running_signal(const struct running *running, int signal_number)
{
    struct tp_error error = {0};
    bool answers = signal_number == SIGHUP || signal_number == SIGUSR1;
    int pid = 0;
    FILE *file = fopen(running->pid_file, "re");
    if (!file || fscanf(file, "%d", &pid) != 1 || pid <= 1 || kill(pid, answers ? 0 : signal_number) != 0) {
        (void)fprintf(stderr, "tportd: no running tportd found by %s (%s)\n", running->pid_file,
                      file && pid > 1 ? strerror(errno) : "is it running?");
        pid = 0;
    }
    if (file)
        (void)fclose(file);
    if (pid > 1 && answers && master_ask(running->data_dir, pid, signal_number, &error) != TP_OK) {
        const char *still = signal_number == SIGHUP ? NOT_RELOADED : NOT_REOPENED;
        (void)fprintf(stderr, "tportd: %s\n%s", error.text, error.code == TP_TIMEOUT ? "" : still);
        pid = 0;
    }
    return pid > 1;
}

static int send_signal(const char *conf_path, const char *word)
{
    static const struct {
        const char *word;
        int signal_number;
    } table[] = {{"reload", SIGHUP}, {"quit", SIGQUIT}, {"stop", SIGTERM}, {"reopen", SIGUSR1}, {"upgrade", SIGUSR2}};
    struct running running = {0};
    int signal_number = 0;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].word, word) == 0)
            signal_number = table[i].signal_number;
    }
    if (!signal_number) {
        (void)fprintf(stderr, "tportd: -s %s is unknown; use reload, quit, stop, reopen or upgrade\n", word);
        return 1;
    }
    bool done = running_find(conf_path, signal_number == SIGHUP, &running) && running_signal(&running, signal_number);
    mem_free(running.pid_file);
    mem_free(running.data_dir);
    return done ? 0 : 1;
}

/* ---- commands ---- */

/* As Teleport's status: which session is this shell in. */
static enum tp_err status(struct command_line *line, struct tp_error *error)
{
    const char *user = getenv("SSH_TELEPORT_USER");
    const char *session = getenv("SSH_SESSION_ID");
    (void)error;
    if (!user || !session) {
        (void)puts("You are not inside a tport SSH session.");
        line->exit_code = 1;
        return TP_OK;
    }
    (void)printf("User ID     : %s, logged in as %s from %s\n", user, getenv("USER") ? getenv("USER") : "",
                 getenv("SSH_CONNECTION") ? getenv("SSH_CONNECTION") : "");
    (void)printf("Cluster Name: %s\n", getenv("SSH_TELEPORT_CLUSTER_NAME") ? getenv("SSH_TELEPORT_CLUSTER_NAME") : "");
    (void)printf("Host UUID   : %s\n", getenv("SSH_TELEPORT_HOST_UUID") ? getenv("SSH_TELEPORT_HOST_UUID") : "");
    (void)printf("Session ID  : %s\n", session);
    return TP_OK;
}

static enum tp_err version(struct command_line *line, struct tp_error *error)
{
    (void)line;
    (void)error;
    (void)puts("tport v" TPORT_VERSION);
    return TP_OK;
}

static char **own_argv; /* an upgrade executes the program with it again */

static enum tp_err start(struct command_line *line, struct tp_error *error)
{
    const char *conf_path = command_text(line, "config", CONF_DEFAULT_FILE);
    const char *word = command_text(line, "signal", NULL);
    if (command_flag(line, "version"))
        return version(line, error);
    if (command_flag(line, "test"))
        line->exit_code = plan_test(conf_path);
    else if (word)
        line->exit_code = send_signal(conf_path, word);
    else
        line->exit_code = master_run(conf_path, own_argv, plan_load);
    return TP_OK;
}

static const struct command_option start_options[] = {
    {"config", 'c', COMMAND_TEXT, "FILE", "The configuration (" CONF_DEFAULT_FILE ")"},
    {"test", 't', COMMAND_FLAG, NULL, "Test the configuration: every error with line and key"},
    {"signal", 's', COMMAND_TEXT, "WORD",
     "Tell the tportd that runs with this configuration: reload, quit (drain first), stop, reopen (the log file) or "
     "upgrade"},
    {"version", 'v', COMMAND_FLAG, NULL, "Show the version"},
    {NULL, 0, COMMAND_FLAG, NULL, NULL}};

static const struct command commands[] = {
    {"start", "", "Run in the foreground, as tportd without a command does", start, start_options, 0, 0, 0, false,
     NULL},
    {"configure", "", "Write a configuration for a cluster", configure_run, configure_options, 0, 0, 0, false,
     "configure --public-addr=tport.example.com -o file"},
    {"node configure", "", "Write a configuration for a machine that joins a cluster", configure_node_run,
     configure_node_options, 0, 0, 0, false, "node configure --proxy=tport.example.com --token=TOKEN -o file"},
    {"secrets rekey", "", "Seal the secrets store with a new key, while tportd is stopped", secrets_run,
     secrets_options, 0, 0, 0, false, NULL},
    {"status", "", "Say whether this shell is inside a tport session", status, NULL, 0, 0, 0, false, NULL},
    {"version", "", "Show the version", version, NULL, 0, 0, 0, false, NULL},
};

int main(int argc, char **argv)
{
    static const struct command_option none = {NULL, 0, COMMAND_FLAG, NULL, NULL};
    const struct command_program program = {
        .name = "tportd",
        .about = "One door to every server: proxy, auth and node agent. Without a command it runs in the foreground.",
        .globals = &none,
        .commands = commands,
        .count = sizeof(commands) / sizeof(commands[0]),
        .examples = "-t -c /etc/tport/tport.conf\n-s reload",
        .bare = &commands[0],
        .complaint = "tportd: ",
        .usage_code = 2};
    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return run_child(argc, argv);
    own_argv = argv;
    return command_main(&program, argc, argv);
}
