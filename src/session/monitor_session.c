/* Shells, commands and subsystems: asked of the agent, started as the user, reported, ended. */
#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "recording/asciicast.h"
#include "session/modes.h"
#include "session/monitor_priv.h"
#include "session/requests.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMAND_TEXT_LIMIT ((size_t)16 * 1024)
#define PIPE_SIZE (256 * 1024)

static struct session *session_find(struct monitor *monitor, uint32_t number)
{
    struct session *session = monitor->sessions;
    while (session != NULL && session->number != number) {
        session = session->next;
    }
    return session;
}

static void session_free(struct session *session)
{
    struct monitor *monitor = session->monitor;
    struct session **place = &monitor->sessions;
    while (*place != session) {
        place = &(*place)->next;
    }
    *place = session->next;
    if (session->child != NULL) {
        user_child_forget(session->child);
    }
    pam_close(session->pam);
    environment_free(&session->env);
    json_decref(session->modes);
    mem_free(session->command);
    mem_free(session->command_text);
    mem_free(session->id);
    mem_free(session);
    monitor_check_done(monitor);
}

static void fail(struct session *session, const struct tp_error *error)
{
    struct rpc_call *call = session->call;
    session->call = NULL;
    rpc_fail(call, error);
}

/* Reports the end once both the process and net are through with it. */
static void try_end(struct session *session)
{
    struct monitor *monitor = session->monitor;
    bool running = session->started && !session->exited && !monitor->net_gone;
    if (session->end_sent || !session->ended || session->call != NULL || running) {
        return;
    }
    session->end_sent = true;
    enum close_reason reason = session->finished || monitor->reason == CLOSE_NONE ? CLOSE_DONE : monitor->reason;
    if (session->id != NULL) {
        json_t *params = json_pack("{s:s, s:s, s:b}", "id", session->id, "reason", close_name(reason), "recorded",
                                   (int)session->recorded);
        if (session->exited) {
            (void)json_object_set_new(params, "exit_code", json_integer(session->exit_code));
        }
        monitor_tell_agent(monitor, "session.end", params);
    }
    session_free(session);
}

static void audit_exec(struct session *session)
{
    json_t *fields = json_pack("{s:s, s:s, s:i}", "login", session->monitor->account.name, "command",
                               session->command_text, "exitCode", session->exit_code);
    if (session->exit_signal[0] != '\0') {
        (void)json_object_set_new(fields, "exitError", json_sprintf("signal %s", session->exit_signal));
    } else if (session->exit_code != 0) {
        (void)json_object_set_new(fields, "exitError", json_sprintf("exit status %d", session->exit_code));
    }
    monitor_audit(session->monitor, "exec", fields);
}

static void on_exit_of_child(void *ctx, int status, int signal_number)
{
    struct session *session = ctx;
    struct monitor *monitor = session->monitor;
    const char *name = signal_number == 0 ? NULL : user_child_signal_name(signal_number);
    session->child = NULL;
    session->exited = true;
    session->exit_code = signal_number == 0 ? status : 128 + signal_number;
    if (name != NULL) {
        (void)snprintf(session->exit_signal, sizeof(session->exit_signal), "%s", name);
    }
    if (session->kind[0] == 'e') {
        audit_exec(session);
    }
    pam_close(session->pam);
    session->pam = NULL;
    if (monitor->net != NULL) {
        rpc_event(monitor->net, "exit",
                  json_pack("{s:i, s:i, s:s}", "channel", (int)session->number, "status", session->exit_code, "signal",
                            session->exit_signal));
    }
    try_end(session);
}

/* ---- starting ---- */

static void base_environment(struct session *session, const char *tty)
{
    static const char *const KEPT[] = {"TZ", "LANG", NULL};
    struct monitor *monitor = session->monitor;
    const struct account *account = &monitor->account;
    const json_t *grant = monitor->grant;
    struct environment *env = &session->env;
    for (size_t i = 0; KEPT[i] != NULL; i++) {
        if (environment_get(env, KEPT[i]) == NULL) {
            environment_set(env, KEPT[i], getenv(KEPT[i]));
        }
    }
    environment_set(env, "HOME", account->home);
    environment_set(env, "SHELL", account->shell);
    environment_set(env, "USER", account->name);
    environment_set(env, "LOGNAME", account->name);
    environment_set(env, "PATH",
                    account->uid == 0 ? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                                      : "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games");
    char *mail = mem_printf("/var/mail/%s", account->name);
    environment_set(env, "MAIL", mail);
    mem_free(mail);
    if (session->pty) {
        environment_set(env, "TERM", session->term);
        environment_set(env, "SSH_TTY", tty);
    }
    const char *peer = json_get_text(grant, "client_addr", "0.0.0.0:0");
    const char *colon = strrchr(peer, ':');
    size_t length = colon == NULL ? strlen(peer) : (size_t)(colon - peer);
    bool brackets = length > 2 && peer[0] == '[' && peer[length - 1] == ']';
    char *client = mem_strndup(peer + (brackets ? 1 : 0), length - (brackets ? 2 : 0));
    char *line = mem_printf("%s %s 127.0.0.1 22", client, colon == NULL ? "0" : colon + 1);
    environment_set(env, "SSH_CONNECTION", line);
    mem_free(line);
    line = mem_printf("%s %s 22", client, colon == NULL ? "0" : colon + 1);
    environment_set(env, "SSH_CLIENT", line);
    mem_free(line);
    mem_free(client);
    environment_set(env, "SSH_AUTH_SOCK", monitor->agent_path);
    environment_set(env, "SSH_TELEPORT_USER", json_get_text(grant, "user", NULL));
    environment_set(env, "SSH_TELEPORT_CLUSTER_NAME", json_get_text(monitor->config, "cluster", NULL));
    environment_set(env, "SSH_TELEPORT_HOST_UUID", json_get_text(monitor->config, "host_id", NULL));
    environment_set(env, "SSH_SESSION_ID", session->id);
    environment_set(env, "TELEPORT_SESSION", session->id);
    environment_set(env, "SSH_SESSION_WEBPROXY_ADDR", json_get_text(monitor->config, "proxy_addr", NULL));
}

/* The pair of a pipe; both ends are closed on exec. */
static bool make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    (void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
    return true;
}

struct plumbing {
    int child[3];
    int ours[3]; /* stdin, stdout, stderr; with a terminal only ours[0], its master */
    char tty[64];
};

static void plumbing_close(struct plumbing *plumbing)
{
    for (int i = 0; i < 3; i++) {
        if (plumbing->child[i] >= 0 && (i == 0 || plumbing->child[i] != plumbing->child[0])) {
            close(plumbing->child[i]);
        }
    }
}

static enum tp_err make_terminal(const struct session *session, struct plumbing *plumbing, struct tp_error *error)
{
    struct winsize size = {.ws_col = (unsigned short)session->cols, .ws_row = (unsigned short)session->rows};
    struct termios termios;
    int master = -1;
    int slave = -1;
    if (openpty(&master, &slave, NULL, NULL, &size) != 0) {
        return err_errno(error, errno, "no terminal");
    }
    bool ok = tcgetattr(slave, &termios) == 0;
    if (ok) {
        modes_apply(session->modes, &termios);
        ok = tcsetattr(slave, TCSANOW, &termios) == 0 && ttyname_r(slave, plumbing->tty, sizeof(plumbing->tty)) == 0;
    }
    if (!ok) {
        enum tp_err err = err_errno(error, errno, "no terminal");
        close(master);
        close(slave);
        return err;
    }
    (void)fcntl(master, F_SETFD, FD_CLOEXEC);
    (void)fcntl(slave, F_SETFD, FD_CLOEXEC);
    if (geteuid() == 0) {
        const struct group *group = getgrnam("tty");
        (void)!fchown(slave, session->monitor->account.uid,
                      group != NULL ? group->gr_gid : session->monitor->account.gid);
        (void)fchmod(slave, group != NULL ? 0620 : 0600);
    }
    plumbing->child[0] = plumbing->child[1] = plumbing->child[2] = slave;
    plumbing->ours[0] = master;
    return TP_OK;
}

static enum tp_err make_plumbing(const struct session *session, struct plumbing *plumbing, struct tp_error *error)
{
    memset(plumbing, 0, sizeof(*plumbing));
    for (int i = 0; i < 3; i++) {
        plumbing->child[i] = plumbing->ours[i] = -1;
    }
    if (session->pty) {
        return make_terminal(session, plumbing, error);
    }
    for (int i = 0; i < 3; i++) {
        int ends[2];
        if (!make_pipe(ends)) {
            enum tp_err err = err_errno(error, errno, "no pipe");
            for (int k = 0; k < i; k++) {
                close(plumbing->child[k]);
                close(plumbing->ours[k]);
            }
            return err;
        }
        plumbing->child[i] = ends[i == 0 ? 0 : 1];
        if (geteuid() == 0) { /* so that the user may open /dev/stdout and the like */
            (void)!fchown(ends[0], session->monitor->account.uid, session->monitor->account.gid);
        }
        plumbing->ours[i] = ends[i == 0 ? 1 : 0];
    }
    return TP_OK;
}

static const char *sftp_server(void)
{
    static const char *const PLACES[] = {"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server",
                                         "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server", NULL};
    for (size_t i = 0; PLACES[i] != NULL; i++) {
        if (access(PLACES[i], X_OK) == 0) {
            return PLACES[i];
        }
    }
    return NULL;
}

enum tp_err monitor_pam(struct monitor *monitor, const char *tty, struct environment *env, struct pam **ret_pam,
                        struct tp_error *error)
{
    const json_t *pam = json_object_get(monitor->config, "pam");
    if (!json_get_bool(pam, "enabled", false)) {
        return TP_OK;
    }
    return pam_open(json_get_text(pam, "service", "sshd"), monitor->account.name,
                    json_get_text(monitor->grant, "client_addr", ""), tty, env, ret_pam, error);
}

enum tp_err monitor_account_ok(struct monitor *monitor, struct tp_error *error)
{
    const json_t *pam = json_object_get(monitor->config, "pam");
    if (monitor->account_ok || !json_get_bool(pam, "enabled", false)) {
        return TP_OK;
    }
    enum tp_err err = pam_account(json_get_text(pam, "service", "sshd"), monitor->account.name,
                                  json_get_text(monitor->grant, "client_addr", ""), error);
    monitor->account_ok = err == TP_OK;
    return err;
}

static enum tp_err start_process(struct session *session, struct tp_error *error)
{
    struct monitor *monitor = session->monitor;
    struct plumbing plumbing;
    const char *command = session->sftp ? sftp_server() : session->command;
    if (session->sftp && command == NULL) {
        return err_set(error, TP_NOT_FOUND, "this host has no sftp-server: install openssh-sftp-server");
    }
    enum tp_err err = make_plumbing(session, &plumbing, error);
    if (err != TP_OK) {
        return err;
    }
    base_environment(session, plumbing.tty);
    err = monitor_pam(monitor, session->pty ? plumbing.tty : NULL, &session->env, &session->pam, error);
    if (err == TP_OK) {
        if (session->pam != NULL && session->pty) {
            const char *text = pam_messages(session->pam);
            (void)!write(plumbing.child[0], text, strlen(text));
        }
        struct user_child_options options = {
            .account = &monitor->account, .env = &session->env, .command = command, .terminal = session->pty};
        memcpy(options.fds, plumbing.child, sizeof(options.fds));
        err = user_child_start(monitor->loop, &options, on_exit_of_child, session, &session->child, error);
    }
    plumbing_close(&plumbing);
    if (err != TP_OK) {
        for (int i = 0; i < 3; i++) {
            if (plumbing.ours[i] >= 0) {
                close(plumbing.ours[i]);
            }
        }
        return err;
    }
    session->started = true;
    session->pid = user_child_pid(session->child);
    static const char *const NAMES[] = {"stdin", "stdout", "stderr"};
    for (int i = 0; i < 3 && plumbing.ours[i] >= 0; i++) {
        monitor_send_fd(monitor, session->number, session->pty ? "pty" : NAMES[i], plumbing.ours[i]);
    }
    return TP_OK;
}

/* The agent said yes and the agent socket, if asked for, is there. */
static void go(struct session *session)
{
    struct monitor *monitor = session->monitor;
    struct tp_error error = {0};
    if (session->call == NULL || session->started || session->id == NULL || monitor->agent_pending) {
        return;
    }
    if (monitor->state != ORDER_AUTHENTICATED || session->ended) {
        (void)err_set(&error, TP_CLOSED, "the client has gone in the meantime");
    } else if (start_process(session, &error) == TP_OK) {
        struct rpc_call *call = session->call;
        session->call = NULL;
        rpc_reply(call, json_pack("{s:s, s:s}", "shell", monitor->account.shell, "command",
                                  session->command_text == NULL ? "" : session->command_text));
        return;
    }
    log_warn("session not started", "login=\"%s\" error=\"%s\"", monitor->account.name, error.text);
    fail(session, &error);
    session->ended = true;
    try_end(session);
}

static void on_started(void *ctx, json_t *result, const struct tp_error *error)
{
    struct session *session = ctx;
    struct monitor *monitor = session->monitor;
    struct tp_error local = {0};
    const char *id = NULL;
    monitor->agent_calls--;
    if (error != NULL) {
        local = *error;
    } else if (json_need_text(result, "id", &id, &local) == TP_OK) {
        session->id = mem_strdup(id);
        go(session);
        return;
    }
    log_info("session refused", "reason=\"%s\"", local.text);
    fail(session, &local);
    session->ended = true;
    try_end(session);
}

void monitor_open_waiting(struct monitor *monitor)
{
    for (struct session *session = monitor->sessions, *next; session != NULL; session = next) {
        next = session->next;
        go(session);
    }
}

static void take_env(struct session *session, const json_t *asked)
{
    bool permit_any = json_get_bool(session->monitor->config, "permit_user_env", false);
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach ((json_t *)(uintptr_t)asked, name, value) {
        struct buf text;
        buf_init(&text, ENVIRONMENT_MAX_VALUE);
        /* net has asked the allow-list already; it is asked again here because net is not trusted. */
        if (json_is_string(value) && environment_allows(name, permit_any) &&
            session->env.count < ENVIRONMENT_MAX_FROM_CLIENT &&
            dec_base64(json_string_value(value), json_string_length(value), &text) == TP_OK) {
            environment_set(&session->env, name, buf_text(&text));
        }
        buf_free(&text);
    }
}

static bool take_command(struct session *session, const char *encoded)
{
    struct buf text;
    buf_init(&text, 256 * 1024);
    if (dec_base64(encoded, strlen(encoded), &text) != TP_OK) {
        buf_free(&text);
        return false;
    }
    session->command = buf_take(&text);
    session->command_text = asciicast_clean_text(session->command, COMMAND_TEXT_LIMIT);
    return true;
}

/* File copy by its form is refused here too: net, which asked the table first, is not trusted. */
static bool copy_allowed(const struct session *session)
{
    bool is_copy = session->sftp || (session->command != NULL && requests_is_file_copy(session->command));
    return !is_copy || json_get_bool(session->monitor->config, "file_copy_allowed", false);
}

/* As when a line drops: the shell's group, and its jobs, which have groups of their own. */
static void hangup(struct session *session)
{
    if (session->child != NULL) {
        user_child_signal(session->child, "HUP");
        user_child_kill_session(session->pid, SIGHUP);
    }
}

static size_t live_sessions(const struct monitor *monitor)
{
    size_t count = 0;
    for (const struct session *at = monitor->sessions; at != NULL; at = at->next) {
        count += at->ended ? 0 : 1;
    }
    return count;
}

void monitor_open(struct monitor *monitor, struct rpc_call *call, enum order_method method, json_t *params)
{
    const json_t *options = json_object_get(monitor->grant, "options");
    int64_t max = json_get_int(options, "max_sessions", 0);
    size_t live = live_sessions(monitor);
    struct session *session = mem_alloc(sizeof(*session));
    session->monitor = monitor;
    session->next = monitor->sessions;
    monitor->sessions = session;
    session->call = call;
    session->number = (uint32_t)json_get_int(params, "channel", 0);
    session->kind = method == ORDER_OPEN_SHELL ? "shell" : method == ORDER_OPEN_EXEC ? "exec" : "subsystem";
    session->sftp = method == ORDER_OPEN_SFTP;
    session->pty = json_get_bool(params, "pty", false) && !session->sftp;
    session->cols = (uint32_t)json_get_int(params, "cols", 80);
    session->rows = (uint32_t)json_get_int(params, "rows", 24);
    (void)snprintf(session->term, sizeof(session->term), "%.63s", json_get_text(params, "term", "dumb"));
    session->modes = json_incref(json_object_get(params, "modes"));
    take_env(session, json_object_get(params, "env"));
    struct tp_error error = {0};
    if (session->sftp) {
        session->command_text = mem_strdup("sftp");
    } else if (method == ORDER_OPEN_EXEC && !take_command(session, json_get_text(params, "command", ""))) {
        (void)err_set(&error, TP_INVALID, "the command is not valid");
    }
    if (error.code == TP_OK && !copy_allowed(session)) {
        (void)err_set(&error, TP_DENIED, "the roles do not allow file copy");
    }
    if (error.code == TP_OK && max > 0 && live >= (size_t)max) {
        (void)err_set(&error, TP_LIMIT, "max_sessions is %lld", (long long)max);
    }
    if (error.code == TP_OK && monitor->agent == NULL) {
        (void)err_set(&error, TP_CLOSED, "the agent is gone");
    }
    if (error.code != TP_OK) {
        fail(session, &error);
        session_free(session);
        return;
    }
    json_t *question = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:o}", "sid", monitor->sid, "login", monitor->account.name, "kind", session->kind,
        "command", session->command_text == NULL ? "" : session->command_text, "interactive", (int)session->pty, "size",
        json_sprintf("%u:%u", session->pty ? session->cols : 0, session->pty ? session->rows : 0));
    monitor->agent_calls++;
    (void)rpc_request(monitor->agent, "session.start", question, NULL, 20000, on_started, session);
}

/* ---- running and ending ---- */

struct append {
    struct monitor *monitor;
    struct rpc_call *call;
};

static void on_appended(void *ctx, json_t *result, const struct tp_error *error)
{
    struct append *append = ctx;
    struct monitor *monitor = append->monitor;
    (void)result;
    monitor->agent_calls--;
    if (error == NULL) {
        rpc_reply(append->call, NULL);
    } else {
        log_error("recording failed", "sid=%s error=\"%s\"", monitor->sid, error->text);
        rpc_fail(append->call, error);
        if (monitor->record_strict && monitor->state == ORDER_AUTHENTICATED) {
            monitor_cut(monitor, CLOSE_RECORDING_FAILED, "session closed: it can't be recorded");
        }
    }
    mem_free(append);
    monitor_check_done(monitor);
}

void monitor_record(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    const struct session *session = session_find(monitor, (uint32_t)json_get_int(params, "channel", 0));
    if (session == NULL || session->id == NULL || monitor->agent == NULL) {
        rpc_fail_text(call, TP_NOT_FOUND, "no such session");
        return;
    }
    struct append *append = mem_alloc(sizeof(*append));
    append->monitor = monitor;
    append->call = call;
    monitor->agent_calls++;
    json_t *question =
        json_pack("{s:s, s:I, s:s}", "id", session->id, "offset", (json_int_t)json_get_int(params, "offset", 0), "data",
                  json_get_text(params, "data", ""));
    (void)rpc_request(monitor->agent, "recording.append", question, NULL, 0, on_appended, append);
}

void monitor_session_end(struct monitor *monitor, json_t *params)
{
    struct session *session = session_find(monitor, (uint32_t)json_get_int(params, "channel", 0));
    if (session == NULL || session->ended) {
        return;
    }
    session->recorded = json_get_bool(params, "recorded", false);
    session->finished = json_get_bool(params, "finished", false);
    session->ended = true;
    hangup(session); /* if it still runs: the client closed the channel */
    try_end(session);
}

void monitor_signal(struct monitor *monitor, json_t *params)
{
    struct session *session = session_find(monitor, (uint32_t)json_get_int(params, "channel", 0));
    if (session != NULL && session->child != NULL) {
        user_child_signal(session->child, json_get_text(params, "name", ""));
    }
}

void monitor_watched(struct monitor *monitor, const json_t *params)
{
    const char *id = json_get_text(params, "id", "");
    int64_t number = json_get_int(params, "number", 0);
    struct session *session = monitor->sessions;
    while (session != NULL && (session->id == NULL || strcmp(session->id, id) != 0)) {
        session = session->next;
    }
    /* A command without a terminal has nobody who reads; what it prints is read by programs. */
    if (session == NULL || !session->pty || session->ended || number <= session->watched || monitor->net == NULL) {
        return;
    }
    session->watched = number;
    rpc_event(monitor->net, "watched",
              json_pack("{s:i, s:s, s:O?, s:I}", "channel", (int)session->number, "text",
                        json_get_text(params, "text", ""), "watchers", json_object_get(params, "watchers"), "count",
                        (json_int_t)json_get_int(params, "count", 0)));
}

void monitor_hangup_all(struct monitor *monitor)
{
    for (struct session *session = monitor->sessions; session != NULL; session = session->next) {
        hangup(session);
    }
}

void monitor_kill_all(struct monitor *monitor)
{
    for (struct session *session = monitor->sessions; session != NULL; session = session->next) {
        if (session->pid > 0) {
            user_child_kill_session(session->pid, SIGKILL);
        }
    }
}

void monitor_end_all(struct monitor *monitor)
{
    for (struct session *session = monitor->sessions, *next; session != NULL; session = next) {
        next = session->next;
        hangup(session);
        if (timer_is_active(monitor->killer) && session->pid > 0) {
            user_child_kill_session(session->pid, SIGKILL); /* it was cut: nothing may outlive it */
        }
        if (session->call == NULL) {
            session->ended = true;
            try_end(session);
        }
    }
}
