#include "session/monitor.h"

#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/monitor_priv.h"
#include "term/term_frame.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define AGENT_FD 3
#define SSH_FD 4
#define KILL_MS 400 /* from SIGHUP to SIGKILL when the connection is cut */

void monitor_send_fd(struct monitor *monitor, uint32_t number, const char *what, int fd)
{
    if (monitor->net != NULL) {
        rpc_event_fd(monitor->net, "fd", json_pack("{s:i, s:s}", "number", (int)number, "what", what), fd);
    }
    close(fd);
}

void monitor_check_done(struct monitor *monitor)
{
    if (monitor->net_gone && monitor->net_child == NULL && monitor->sessions == NULL && monitor->agent_calls == 0) {
        loop_stop(monitor->loop);
    }
}

static void on_told(void *ctx, json_t *result, const struct tp_error *error)
{
    struct monitor *monitor = ctx;
    (void)result;
    monitor->agent_calls--;
    if (error != NULL) {
        log_warn("agent refused a report", "error=\"%s\"", error->text);
    }
    monitor_check_done(monitor);
}

void monitor_tell_agent(struct monitor *monitor, const char *method, json_t *params)
{
    if (monitor->agent == NULL) {
        json_decref(params);
        return;
    }
    monitor->agent_calls++;
    (void)rpc_request(monitor->agent, method, params, NULL, 0, on_told, monitor);
}

void monitor_audit(struct monitor *monitor, const char *event, json_t *fields)
{
    monitor_tell_agent(monitor, "session.event",
                       json_pack("{s:s, s:s, s:o}", "sid", monitor->sid, "event", event, "fields", fields));
}

static void on_killer(void *ctx)
{
    struct monitor *monitor = ctx;
    monitor_kill_all(monitor);
    if (monitor->net_child != NULL) {
        child_kill(monitor->net_child, SIGKILL);
    }
}

void monitor_cut(struct monitor *monitor, enum close_reason reason, const char *text)
{
    if (monitor->state == ORDER_ENDING) {
        return;
    }
    log_info("connection cut", "sid=%s reason=%s", monitor->sid == NULL ? "" : monitor->sid, close_name(reason));
    monitor->state = ORDER_ENDING;
    monitor->reason = reason;
    if (monitor->net != NULL) {
        rpc_event(
            monitor->net, "cut",
            json_pack("{s:s, s:s}", "reason", close_name(reason), "text", text != NULL ? text : close_text(reason)));
    }
    monitor_hangup_all(monitor);
    timer_start(monitor->killer, KILL_MS, 0);
}

/* ---- the net half ---- */

static void net_is_gone(struct monitor *monitor)
{
    if (monitor->net_gone) {
        return;
    }
    monitor->net_gone = true;
    if (monitor->reason == CLOSE_NONE) {
        monitor->reason = CLOSE_SESSION_CRASHED;
    }
    monitor->state = ORDER_ENDING;
    timer_stop(monitor->expiry);
    monitor_end_all(monitor);
    monitor_file_abandon(monitor);
    monitor_agent_remove(monitor);
    monitor_check_done(monitor);
}

static void on_net_exit(void *ctx, int status, int signal_number)
{
    struct monitor *monitor = ctx;
    monitor->net_child = NULL;
    if (signal_number != 0) {
        log_error("session process died", "signal=%d", signal_number);
    } else if (status != 0) {
        log_error("session process failed", "status=%d", status);
    }
    monitor_check_done(monitor);
}

static void on_net_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct monitor *monitor = ctx;
    (void)rpc;
    (void)reason;
    monitor->net = NULL;
    net_is_gone(monitor);
}

/* net broke the order or sent nonsense: it is not ours any more. */
static void net_misbehaved(struct monitor *monitor, const char *what)
{
    log_error("session process broke the order", "error=\"%s\"", what);
    monitor_cut(monitor, CLOSE_PROTOCOL_ERROR, NULL);
    if (monitor->net_child != NULL) {
        child_kill(monitor->net_child, SIGKILL);
    }
}

struct auth_try {
    struct monitor *monitor;
    struct rpc_call *call;
    char *login;
};

static void auth_answer(struct auth_try *attempt, const struct tp_error *error)
{
    struct monitor *monitor = attempt->monitor;
    struct tp_error local = {0};
    enum tp_err err = error != NULL ? error->code : TP_OK;
    if (err == TP_OK && monitor->state != ORDER_UNAUTHENTICATED) {
        err = err_set(&local, TP_DENIED, "the connection has ended");
    } else if (err == TP_OK) {
        err = account_lookup(attempt->login, &monitor->account, &local);
    } else {
        local = *error;
    }
    if (err != TP_OK) {
        log_info("login refused", "login=\"%s\" reason=\"%s\"", attempt->login, local.text);
        rpc_fail_text(attempt->call, TP_DENIED, "access denied"); /* R16: net needs no reason */
        return;
    }
    json_t *login = NULL;
    size_t index = 0;
    json_array_foreach (json_object_get(monitor->grant, "logins"), index, login) {
        if (strcmp(json_get_text(login, "name", ""), attempt->login) == 0) {
            monitor->forward_agent = json_get_bool(login, "forward_agent", false);
        }
    }
    monitor->state = ORDER_AUTHENTICATED;
    log_info("signed in", "sid=%s user=\"%s\" login=\"%s\"", monitor->sid, json_get_text(monitor->grant, "user", ""),
             attempt->login);
    rpc_reply(attempt->call, json_pack("{s:b}", "forward_agent", (int)monitor->forward_agent));
}

static void on_auth(void *ctx, json_t *result, const struct tp_error *error)
{
    struct auth_try *attempt = ctx;
    (void)result;
    attempt->monitor->agent_calls--;
    auth_answer(attempt, error);
    monitor_check_done(attempt->monitor);
    mem_free(attempt->login);
    mem_free(attempt);
}

static bool grant_has_login(const struct monitor *monitor, const char *name)
{
    json_t *login = NULL;
    size_t index = 0;
    json_array_foreach (json_object_get(monitor->grant, "logins"), index, login) {
        if (strcmp(json_get_text(login, "name", ""), name) == 0) {
            return true;
        }
    }
    return false;
}

static void handle_auth(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    const char *login = json_get_text(params, "login", "");
    const char *cert = json_get_text(params, "cert", "");
    if (monitor->agent == NULL || !grant_has_login(monitor, login)) {
        char *shown = log_value(login);
        log_info("login refused", "login=\"%s\" reason=\"the grant does not name it\"", shown);
        mem_free(shown);
        monitor_tell_agent(monitor, "session.check_cert",
                           json_pack("{s:s, s:s, s:s}", "sid", monitor->sid, "login", login, "cert", cert));
        rpc_fail_text(call, TP_DENIED, "access denied");
        return;
    }
    struct auth_try *attempt = mem_alloc(sizeof(*attempt));
    attempt->monitor = monitor;
    attempt->call = call;
    attempt->login = mem_strdup(login);
    monitor->agent_calls++;
    json_t *question = json_pack("{s:s, s:s, s:s}", "sid", monitor->sid, "login", login, "cert", cert);
    (void)rpc_request(monitor->agent, "session.check_cert", question, NULL, 7000, on_auth, attempt);
}

static void on_net_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                           json_t *caller, int fd)
{
    struct monitor *monitor = ctx;
    struct tp_error error = {0};
    enum order_method which = ORDER_METHOD_COUNT;
    (void)rpc;
    (void)caller;
    if (fd >= 0) {
        close(fd); /* net has nothing to give */
    }
    if (order_check(&monitor->order, monitor->kind, monitor->state, method, &which, &error) != TP_OK) {
        rpc_fail(call, &error);
        if (monitor->state != ORDER_ENDING) {
            net_misbehaved(monitor, error.text);
        }
        return;
    }
    switch (which) {
    case ORDER_AUTH:
        handle_auth(monitor, call, params);
        break;
    case ORDER_OPEN_SHELL:
    case ORDER_OPEN_EXEC:
    case ORDER_OPEN_SFTP:
        monitor_open(monitor, call, which, params);
        break;
    case ORDER_OPEN_FILE:
        monitor_open_file(monitor, call, params);
        break;
    case ORDER_FILE_DONE:
        monitor_file_done(monitor, call, params);
        break;
    case ORDER_CONNECT:
        monitor_connect(monitor, call, params);
        break;
    case ORDER_LISTEN:
        monitor_listen(monitor, call, params);
        break;
    case ORDER_AGENT_LISTEN:
        monitor_agent_listen(monitor, call, params);
        break;
    case ORDER_RECORD:
        monitor_record(monitor, call, params);
        break;
    case ORDER_BYE: /* all that came before it has arrived */
        rpc_reply(call, NULL);
        break;
    default:
        rpc_fail_text(call, TP_PROTOCOL, "not a question");
        net_misbehaved(monitor, "an event came as a question");
        break;
    }
}

/* What net may say by itself. Everything else the monitor reports from its own knowledge. */
static void handle_audit(struct monitor *monitor, json_t *params)
{
    const char *event = json_get_text(params, "event", "");
    json_t *fields = json_object_get(params, "fields");
    if (!order_audits(monitor->kind, event) || !json_is_object(fields)) {
        net_misbehaved(monitor, "an event that is not its own");
        return;
    }
    (void)json_object_set_new(fields, "login", json_string(monitor->account.name));
    monitor_audit(monitor, event, json_incref(fields));
}

static void on_net_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct monitor *monitor = ctx;
    struct tp_error error = {0};
    enum order_method which = ORDER_METHOD_COUNT;
    (void)rpc;
    if (fd >= 0) {
        close(fd);
    }
    if (strcmp(event, "closing") == 0) { /* only a reason: allowed at any time */
        if (monitor->reason == CLOSE_NONE) {
            monitor->reason = close_from_name(json_get_text(params, "reason", ""));
        }
        return;
    }
    if (order_check(&monitor->order, monitor->kind, monitor->state, event, &which, &error) != TP_OK) {
        if (monitor->state != ORDER_ENDING) {
            net_misbehaved(monitor, error.text);
        }
        return;
    }
    if (which == ORDER_SIGNAL) {
        monitor_signal(monitor, params);
    } else if (which == ORDER_END) {
        monitor_session_end(monitor, params);
    } else if (which == ORDER_AUDIT) {
        handle_audit(monitor, params);
    } else {
        net_misbehaved(monitor, "a question came as an event");
    }
}

static enum tp_err start_net(struct monitor *monitor, struct tp_error *error)
{
    static const struct rpc_events EVENTS = {
        .on_request = on_net_request, .on_event = on_net_event, .on_close = on_net_close};
    char *const argv[] = {(char *)(uintptr_t) "tport-session", (char *)(uintptr_t)(monitor->terminal ? "term" : "net"),
                          NULL};
    char *const env[] = {NULL};
    int line[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0) {
        return err_errno(error, errno, "no socket pair");
    }
    const int fds[] = {-1, -1, 2, line[1], SSH_FD};
    struct child_options options = {
        .file = "/proc/self/exe", .argv = argv, .env = env, .cwd = "/", .fds = fds, .fd_count = 5, .new_session = true};
    enum tp_err err = TP_OK;
    if (geteuid() == 0) {
        const char *name = json_get_text(monitor->config, "session_user", "");
        const struct passwd *entry = *name == '\0' ? NULL : getpwnam(name);
        if (entry == NULL || entry->pw_uid == 0) {
            err = err_set(error, TP_INVALID, "session_user \"%s\" is no unprivileged account: create it", name);
        } else {
            options.set_ids = true;
            options.uid = entry->pw_uid;
            options.gid = entry->pw_gid;
        }
    } else {
        log_warn("not root: the SSH half runs as the same user, so only the system-call filter separates it", "");
    }
    if (err == TP_OK) {
        err = child_spawn(monitor->loop, &options, on_net_exit, monitor, &monitor->net_child, error);
    }
    close(line[1]);
    close(SSH_FD);
    if (err != TP_OK) {
        close(line[0]);
        return err;
    }
    monitor->net = rpc_new_fd(monitor->loop, line[0], &EVENTS, monitor);
    return TP_OK;
}

static int64_t read_time_ms(const json_t *object, const char *key)
{
    int64_t value = 0;
    const char *text = json_get_text(object, key, NULL);
    if (text != NULL) {
        return clock_parse_ms(text, &value) == TP_OK ? value : 0;
    }
    return json_get_int(object, key, 0);
}

static void send_config(struct monitor *monitor)
{
    const json_t *options = json_object_get(monitor->grant, "options");
    const char *record = json_get_text(options, "record", "strict");
    bool expire = json_get_bool(options, "disconnect_expired_cert", false);
    int64_t not_after = read_time_ms(monitor->grant, "cert_not_after");
    monitor->record = strcmp(record, "off") != 0;
    monitor->record_strict = strcmp(record, "best_effort") != 0;
    bool file_copy = json_get_bool(options, "file_copy", true) && json_get_bool(monitor->config, "file_copy", true);
    (void)json_object_set_new(monitor->config, "file_copy_allowed", json_boolean(file_copy));
    bool served = json_get_bool(monitor->config, "port_forwarding", true);
    monitor->forward_local = served && json_get_bool(options, "port_forwarding_local", false);
    monitor->forward_remote = served && json_get_bool(options, "port_forwarding_remote", false);
    if (monitor->terminal) { /* it speaks no SSH: no host key for it */
        (void)json_object_del(monitor->config, "host_key");
        (void)json_object_del(monitor->config, "host_cert");
    }
    json_t *config = json_pack(
        "{s:b, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:I, s:I}", "file",
        (int)(monitor->kind == ORDER_KIND_FILE), "host_key", json_get_text(monitor->config, "host_key", ""),
        "host_cert", json_get_text(monitor->config, "host_cert", ""), "file_copy", (int)file_copy, "forward_local",
        (int)monitor->forward_local, "forward_remote", (int)monitor->forward_remote, "permit_user_env",
        (int)json_get_bool(monitor->config, "permit_user_env", false), "record", (int)monitor->record, "record_strict",
        (int)monitor->record_strict, "record_packed", (int)json_get_bool(options, "record_packed", false),
        "disconnect_expired_cert", (int)expire, "cert_not_after_ms", (json_int_t)not_after, "idle_timeout_ms",
        (json_int_t)json_get_int(options, "idle_timeout", 0), "max_sessions",
        (json_int_t)json_get_int(options, "max_sessions", 0));
    rpc_event(monitor->net, "config", config);
    (void)json_object_del(monitor->config, "host_key"); /* not needed here any more */
    if (expire && not_after > 0) { /* net enforces it with a message; this is for a net that does not */
        int64_t left = not_after - clock_wall_ms();
        timer_start(monitor->expiry, (left > 0 ? left : 0) + 3000, 0);
    }
}

static void on_expiry(void *ctx)
{
    monitor_cut(ctx, CLOSE_CERT_EXPIRED, NULL);
}

/* Nobody runs yet who could say it: the only frame that the privileged half ever writes to the person. */
static void refuse_terminal(const char *text)
{
    uint8_t head[TERM_HEAD];
    json_t *object = json_pack("{s:s, s:s}", "reason", close_name(CLOSE_TARGET_REFUSED), "text", text);
    char *json = json_text(object);
    term_head(head, TERM_CLOSE, strlen(json));
    (void)!write(SSH_FD, head, sizeof(head));
    (void)!write(SSH_FD, json, strlen(json));
    mem_free(json);
    json_decref(object);
}

/* A terminal has signed in already: auth has verified the web session, and the grant names its one login. */
static enum tp_err become_terminal(struct monitor *monitor, struct tp_error *error)
{
    const json_t *logins = json_object_get(monitor->grant, "logins");
    const char *login = NULL;
    if (json_array_size(logins) != 1) {
        return err_set(error, TP_DENIED, "the grant of a terminal must name one login");
    }
    enum tp_err err = json_need_text(json_array_get(logins, 0), "name", &login, error);
    if (err == TP_OK) {
        err = account_lookup(login, &monitor->account, error);
    }
    if (err == TP_OK) {
        monitor->state = ORDER_AUTHENTICATED;
    }
    return err;
}

static enum order_kind kind_of(const json_t *grant)
{
    if (strcmp(json_get_text(grant, "service", ""), "term") != 0) {
        return ORDER_KIND_SSH;
    }
    return json_get_bool(grant, "file", false) ? ORDER_KIND_FILE : ORDER_KIND_SHELL;
}

static void on_config(struct monitor *monitor, json_t *params)
{
    struct tp_error error = {0};
    monitor->configured = true;
    monitor->config = json_deep_copy(params);
    enum tp_err err = json_need_object(monitor->config, "grant", &monitor->grant, &error);
    if (err == TP_OK) {
        err = json_need_text(monitor->grant, "sid", &monitor->sid, &error);
    }
    monitor->kind = err == TP_OK ? kind_of(monitor->grant) : ORDER_KIND_SSH;
    monitor->terminal = monitor->kind != ORDER_KIND_SSH;
    if (monitor->terminal && become_terminal(monitor, &error) != TP_OK) {
        refuse_terminal(error.text);
        err = error.code;
    }
    if (err == TP_OK) {
        err = start_net(monitor, &error);
    }
    if (err != TP_OK) {
        log_error("session could not start", "error=\"%s\"", error.text);
        monitor->net_gone = true;
        loop_stop(monitor->loop);
        return;
    }
    send_config(monitor);
}

static void on_agent_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct monitor *monitor = ctx;
    (void)rpc;
    if (strcmp(event, "attach") == 0 && fd >= 0 && monitor->terminal && monitor->net != NULL) {
        rpc_event_fd(monitor->net, "attach", json_object(), fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (strcmp(event, "config") == 0 && !monitor->configured) {
        on_config(monitor, params);
    } else if (strcmp(event, "cut") == 0 && monitor->configured) {
        monitor_cut(monitor, close_from_name(json_get_text(params, "reason", "")), json_get_text(params, "text", NULL));
    } else if (strcmp(event, "watched") == 0 && monitor->configured) {
        monitor_watched(monitor, params);
    }
}

static void on_agent_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct monitor *monitor = ctx;
    (void)rpc;
    (void)reason;
    monitor->agent = NULL;
    if (!monitor->configured || monitor->net_gone) {
        loop_stop(monitor->loop);
        return;
    }
    monitor_cut(monitor, CLOSE_SHUTDOWN, "session closed: the agent on this host has stopped");
}

int monitor_main(void)
{
    static const struct rpc_events EVENTS = {.on_event = on_agent_event, .on_close = on_agent_close};
    struct monitor monitor = {.state = ORDER_UNAUTHENTICATED, .loop = loop_new()};
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* it holds the host key for a moment */
    (void)fcntl(AGENT_FD, F_SETFD, FD_CLOEXEC);
    (void)fcntl(SSH_FD, F_SETFD, FD_CLOEXEC);
    monitor.expiry = timer_new(monitor.loop, on_expiry, &monitor);
    monitor.killer = timer_new(monitor.loop, on_killer, &monitor);
    monitor.agent = rpc_new_fd(monitor.loop, AGENT_FD, &EVENTS, &monitor);
    loop_run(monitor.loop);
    monitor_agent_remove(&monitor);
    return 0;
}
