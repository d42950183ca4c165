/*
 * One SSH connection: a tunnel stream with a grant becomes a tport-session process.
 *
 *     tunnel stream <--relay--> socketpair <--> tport-session (descriptor 4), and an rpc line to it (descriptor 3)
 *
 * The session's process is asked for nothing but work: what it may ask upward stands in one table, always in the name of
 * the grant's session id (R15). It lives until child, relay and line are gone.
 */
#include "agent/agent_priv.h"

#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypt/sshcert.h"
#include "tunnel/relay.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CUT_KILL_MS 5000   /* for a session that was cut to say its end */
#define END_KILL_MS 600000 /* for one that ended by itself: its recording may still be on the way */
#define CERT_MAX ((size_t)64 * 1024)
#define SSH_ROOM (256 * 1024) /* the kernel takes twice that for its own share, and what net.core.wmem_max allows */

struct session {
    struct agent *agent;
    struct session *next, **prev;
    char *sid;
    json_t *grant;
    json_t *open_ids; /* of session.start without their session.end */
    struct relay *relay;
    struct rpc *line;
    struct child *child;
    struct timer *killer;
    bool terminal; /* no SSH; its person may come back by another stream */
    bool cut;
};

static void session_check_gone(struct session *session)
{
    if (session->relay != NULL || session->child != NULL) {
        return;
    }
    struct agent *agent = session->agent;
    if (session->line != NULL) {
        rpc_free(session->line);
    }
    *session->prev = session->next;
    if (session->next != NULL) {
        session->next->prev = session->prev;
    }
    crowd_leave(agent->crowd, --agent->session_count);
    timer_free(session->killer);
    json_decref(session->grant);
    json_decref(session->open_ids);
    mem_free(session->sid);
    mem_free(session);
    agent_check_idle(agent);
}

static struct session *session_find(struct agent *agent, const char *sid)
{
    struct session *session = agent->sessions;
    while (session != NULL && strcmp(session->sid, sid) != 0) {
        session = session->next;
    }
    return session;
}

bool session_is_open(struct agent *agent, const char *sid)
{
    return session_find(agent, sid) != NULL;
}

/* ---- calls of the session ---- */

/* One column of the table below: which member of params says whose call it is. */
enum pass_by { PASS_SID, PASS_ID };

static const struct pass_rule {
    const char *method;
    enum pass_by by;
    bool reported; /* auth must hear it: what it is about has happened */
} pass_rules[] = {
    {"session.start", PASS_SID, false},
    {"session.event", PASS_SID, true},
    {"recording.append", PASS_ID, false},
    {"session.end", PASS_ID, true},
};

/* A request of the session that waits for auth. */
struct waiting {
    struct agent *agent;
    char *sid; /* the session is looked up again: it may be gone */
    struct rpc_call *call;
    const struct pass_rule *rule;
};

static void ids_remove(json_t *ids, const char *id)
{
    size_t i;
    json_t *item;
    json_array_foreach (ids, i, item) {
        if (strcmp(json_string_value(item), id) == 0) {
            (void)json_array_remove(ids, i);
            return;
        }
    }
}

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct waiting *waiting = ctx;
    struct session *session = session_find(waiting->agent, waiting->sid);
    if (error == NULL && strcmp(waiting->rule->method, "session.start") == 0) {
        const char *id = json_get_text(result, "id", NULL);
        if (session != NULL && id != NULL) {
            (void)json_array_append_new(session->open_ids, json_string(id));
        } else if (id != NULL) {
            /* It started when its process was already gone. */
            (void)up_report(
                waiting->agent, "session.end",
                json_pack("{s:s, s:s, s:b}", "id", id, "reason", close_name(CLOSE_SESSION_CRASHED), "recorded", 0),
                NULL, NULL);
        }
    }
    if (error != NULL) {
        rpc_fail(waiting->call, error);
    } else {
        rpc_reply(waiting->call, json_incref(result));
    }
    mem_free(waiting->sid);
    mem_free(waiting);
}

static void pass_up(struct session *session, struct rpc_call *call, const struct pass_rule *rule, json_t *params)
{
    const char *id = json_get_text(params, "id", "");
    if (rule->by == PASS_ID && !json_list_has(session->open_ids, id)) {
        rpc_fail_text(call, TP_DENIED, "the id is not one of this session");
        return;
    }
    json_t *copy = json_deep_copy(params);
    (void)json_object_set_new(copy, "sid", json_string(session->sid));
    if (rule->by == PASS_SID) {
        (void)json_object_del(copy, "id");
    }
    struct waiting *waiting = mem_alloc(sizeof(*waiting));
    waiting->agent = session->agent;
    waiting->sid = mem_strdup(session->sid);
    waiting->call = call;
    waiting->rule = rule;
    if (strcmp(rule->method, "session.end") == 0) {
        ids_remove(session->open_ids, id);
    }
    if (rule->reported) {
        (void)up_report(session->agent, rule->method, copy, on_answer, waiting);
    } else {
        (void)up_request(session->agent, rule->method, copy, on_answer, waiting);
    }
}

/* The address in "IP:PORT" or "[IP]:PORT" or "IP"; mem_free it. */
static char *address_only(const char *text)
{
    char *host = NULL;
    uint16_t port;
    return conf_addr_split(text, 1, &host, &port) == TP_OK ? host : mem_strdup(text);
}

static bool grant_has_login(const json_t *grant, const char *login)
{
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(grant, "logins"), i, item) {
        if (strcmp(json_get_text(item, "name", ""), login) == 0) {
            return true;
        }
    }
    return false;
}

/* The certificate is the grant's user's own. */
static enum tp_err check_identity(const struct sshcert *cert, const json_t *grant, struct tp_error *error)
{
    json_t *object = NULL;
    struct identity identity;
    if (cert->identity == NULL) {
        return err_set(error, TP_DENIED, "the certificate names no user");
    }
    enum tp_err err = json_parse_object(cert->identity, strlen(cert->identity), CERT_MAX, &object, error);
    if (err != TP_OK) {
        return err;
    }
    identity_init(&identity);
    err = identity_from_json(object, &identity, error);
    json_decref(object);
    if (err != TP_OK) {
        return err;
    }
    if (identity.kind != IDENTITY_USER || identity.target.reason != TARGET_ANY ||
        strcmp(identity.name, json_get_text(grant, "user", "")) != 0 ||
        strcmp(identity.cluster, json_get_text(grant, "cluster", "")) != 0) {
        err = err_set(error, TP_DENIED, "the certificate is another user's than the one who was let in");
    }
    identity_free(&identity);
    return err;
}

static enum tp_err check_cert(const struct session *session, const char *login, const char *cert_text,
                              struct tp_error *error)
{
    struct buf blob;
    buf_init(&blob, CERT_MAX);
    enum tp_err err = TP_OK;
    if (!grant_has_login(session->grant, login)) {
        err = err_set(error, TP_DENIED, "%s may not log in as %s here: no role allows it, or a lock is in force on it",
                      json_get_text(session->grant, "user", ""), login);
    } else if (dec_base64(cert_text, strlen(cert_text), &blob) != TP_OK) {
        err = err_set(error, TP_INVALID, "the certificate is not base64");
    } else {
        char *address = address_only(json_get_text(session->grant, "client_addr", ""));
        struct sshcert cert;
        err = sshcert_check(buf_head(&blob), buf_size(&blob), false,
                            (const char *const *)session->agent->state.user_ca_ssh, clock_wall(), login,
                            address[0] != '\0' ? address : NULL, &cert, error);
        if (err == TP_OK) {
            err = check_identity(&cert, session->grant, error);
            sshcert_free(&cert);
        }
        mem_free(address);
    }
    buf_free(&blob);
    return err;
}

static void do_check_cert(struct session *session, struct rpc_call *call, const json_t *params)
{
    const char *login = json_get_text(params, "login", "");
    struct tp_error error = {0};
    enum tp_err err = check_cert(session, login, json_get_text(params, "cert", ""), &error);
    json_t *audit = json_pack("{s:s, s:s, s:b}", "sid", session->sid, "login", login, "ok", err == TP_OK);
    if (err != TP_OK) {
        (void)json_object_set_new(audit, "error", json_string(error.text));
    }
    (void)up_report(session->agent, "session.auth", audit, NULL, NULL);
    if (err != TP_OK) {
        char *shown = log_value(login);
        char *reason = log_value(error.text);
        log_info("login refused", "sid=%s login=\"%s\" reason=\"%s\"", session->sid, shown, reason);
        mem_free(shown);
        mem_free(reason);
        rpc_fail_text(call, TP_DENIED, "%s", error.text);
        return;
    }
    rpc_reply(call, NULL);
}

static void on_line_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                            json_t *caller, int fd)
{
    struct session *session = ctx;
    (void)rpc;
    (void)caller;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (strcmp(method, "session.check_cert") == 0) {
        do_check_cert(session, call, params);
        return;
    }
    for (size_t i = 0; i < sizeof(pass_rules) / sizeof(pass_rules[0]); i++) {
        if (strcmp(method, pass_rules[i].method) == 0) {
            pass_up(session, call, &pass_rules[i], params);
            return;
        }
    }
    rpc_fail_text(call, TP_NOT_FOUND, "a session has no method %s", method);
}

static void on_line_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct session *session = ctx;
    (void)rpc;
    (void)reason;
    session->line = NULL; /* the child's exit says the rest */
}

static const struct rpc_events line_events = {.on_request = on_line_request, .on_close = on_line_close};

/* ---- ends ---- */

static void on_killer(void *ctx)
{
    struct session *session = ctx;
    if (session->child != NULL) {
        log_warn("session process does not end: killed", "sid=%s", session->sid);
        child_kill(session->child, SIGKILL);
    }
}

/* The person of a terminal was lost on the way: his terminal waits for him (docs/protocol-terminal.md). */
static bool may_come_back(const struct session *session, enum close_reason reason)
{
    switch (reason) {
    case CLOSE_CLIENT_CLOSED:
    case CLOSE_DONE:
    case CLOSE_DRAIN:
    case CLOSE_PEER_RESET:
    case CLOSE_IO_ERROR:
    case CLOSE_KEEPALIVE_TIMEOUT:
    case CLOSE_TARGET_OFFLINE:
        return session->terminal;
    default:
        return false;
    }
}

static void on_relay_done(void *ctx, const struct relay_result *result)
{
    struct session *session = ctx;
    session->relay = NULL;
    log_info("SSH connection ended", "sid=%s reason=%s rx=%llu tx=%llu", session->sid, close_name(result->reason),
             (unsigned long long)result->rx, (unsigned long long)result->tx);
    if (session->child != NULL) {
        /* Ended from outside: its programs must not go on, and its people should read why. */
        if (result->by_tunnel && close_is_error(result->reason) && !may_come_back(session, result->reason) &&
            session->line != NULL && !session->cut) {
            session->cut = true;
            rpc_event(session->line, "cut",
                      json_pack("{s:s, s:s}", "reason", close_name(result->reason), "text",
                                result->text[0] != '\0' ? result->text : close_text(result->reason)));
        }
        timer_start(session->killer, session->cut ? CUT_KILL_MS : END_KILL_MS, 0);
    }
    session_check_gone(session);
}

static const struct relay_events relay_events = {.on_done = on_relay_done};

static void on_child_exit(void *ctx, int status, int signal_number)
{
    struct session *session = ctx;
    session->child = NULL;
    bool crashed = signal_number != 0 || status != 0;
    if (crashed && !session->cut) {
        log_error("session process died", "sid=%s status=%d signal=%d", session->sid, status, signal_number);
    }
    /* What it has started and not ended is ended in its name, so that no recording stays open for ever. */
    size_t i;
    json_t *id;
    json_array_foreach (session->open_ids, i, id) {
        (void)up_report(session->agent, "session.end",
                        json_pack("{s:s, s:s, s:s, s:b}", "sid", session->sid, "id", json_string_value(id), "reason",
                                  close_name(CLOSE_SESSION_CRASHED), "recorded", 0),
                        NULL, NULL);
    }
    (void)json_array_clear(session->open_ids);
    if (session->relay != NULL && crashed) {
        relay_cut(session->relay, CLOSE_SESSION_CRASHED, "the process of this SSH connection died");
    }
    session_check_gone(session);
}

void session_cut(struct agent *agent, const char *sid, enum close_reason reason, const char *text)
{
    struct session *session = session_find(agent, sid);
    if (session == NULL || session->cut || session->line == NULL || session->child == NULL) {
        return;
    }
    session->cut = true;
    rpc_event(session->line, "cut", json_pack("{s:s, s:s}", "reason", close_name(reason), "text", text));
    timer_start(session->killer, CUT_KILL_MS, 0);
}

void session_watched(struct agent *agent, const char *text, const json_t *params)
{
    const struct session *session = session_find(agent, json_get_text(params, "sid", ""));
    json_t *watchers = json_object_get(params, "watchers");
    if (session == NULL || session->cut || session->line == NULL || session->child == NULL ||
        !json_is_array(watchers)) {
        return;
    }
    rpc_event(session->line, "watched",
              json_pack("{s:s, s:I, s:s, s:O, s:I}", "id", json_get_text(params, "id", ""), "number",
                        (json_int_t)json_get_int(params, "number", 0), "text", text, "watchers", watchers, "count",
                        (json_int_t)json_get_int(params, "count", 0)));
}

void session_stop_all(struct agent *agent)
{
    static const char text[] = "the agent on this host has stopped";
    for (struct session *session = agent->sessions; session != NULL; session = session->next) {
        session->cut = true;
        if (session->line != NULL) {
            rpc_event(session->line, "cut",
                      json_pack("{s:s, s:s}", "reason", close_name(CLOSE_SHUTDOWN), "text", text));
        }
        /* A terminal's process says it in a frame, which comes through wherever the browser is: why a stream was closed goes no
         * further than to the worker that has the tunnel. */
        bool says_it = session->terminal && session->line != NULL && session->child != NULL;
        if (session->relay != NULL && !says_it) {
            relay_cut(session->relay, CLOSE_SHUTDOWN, text);
        }
        if (session->child != NULL) {
            timer_start(session->killer, CUT_KILL_MS, 0);
        }
    }
}

/* ---- start ---- */

static json_t *session_config(const struct agent *agent, const json_t *grant)
{
    const struct agent_state *state = &agent->state;
    const struct conf *conf = agent->conf;
    json_t *pam = json_pack("{s:b, s:s}", "enabled", (int)conf->pam_enabled, "service", conf->pam_service_name);
    return json_pack("{s:O, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:s}", "grant",
                     (json_t *)(uintptr_t)grant, "host_key", state->ssh_key, "host_cert", state->ssh_cert, "cluster",
                     state->identity.cluster, "host_id", state->host_id, "hostname", conf->nodename, "session_user",
                     agent->session_user, "permit_user_env", (int)conf->permit_user_env, "port_forwarding",
                     (int)conf->port_forwarding, "file_copy", (int)conf->ssh_file_copy, "pam", pam, "proxy_addr",
                     agent->proxy_addr);
}

static enum tp_err spawn(struct session *session, int ssh_fd, int line_fd, struct tp_error *error)
{
    char *argv[] = {"tport-session", "monitor", NULL};
    char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};
    int fds[] = {-1, -1, STDERR_FILENO, line_fd, ssh_fd};
    struct child_options options = {.file = session->agent->session_path,
                                    .argv = argv,
                                    .env = env,
                                    .cwd = "/",
                                    .fds = fds,
                                    .fd_count = sizeof(fds) / sizeof(fds[0]),
                                    .new_session = true};
    return child_spawn(session->agent->loop, &options, on_child_exit, session, &session->child, error);
}

static void relay_only_close(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

static const struct stream_events unused_events = {.on_close = relay_only_close};

/* Room for several packets of SSH each way: what wakes the other side less often costs less. */
static bool make_ssh_pair(int ssh[2])
{
    const int room = SSH_ROOM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ssh) != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        (void)setsockopt(ssh[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    }
    return true;
}

static enum tp_err start(struct session *session, struct tunnel_stream *tunnel_stream, struct tp_error *error)
{
    struct agent *agent = session->agent;
    int ssh[2];
    int line[2];
    if (!make_ssh_pair(ssh)) {
        return err_set(error, TP_UNAVAILABLE, "this host has no descriptors left");
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line) != 0) {
        (void)close(ssh[0]);
        (void)close(ssh[1]);
        return err_set(error, TP_UNAVAILABLE, "this host has no descriptors left");
    }
    enum tp_err err = spawn(session, ssh[1], line[1], error);
    (void)close(ssh[1]);
    (void)close(line[1]);
    if (err != TP_OK) {
        (void)close(ssh[0]);
        (void)close(line[0]);
        return err;
    }
    session->line = rpc_new_fd(agent->loop, line[0], &line_events, session);
    rpc_event(session->line, "config", session_config(agent, session->grant));
    struct stream *stream = stream_new(agent->loop, ssh[0], &unused_events, NULL);
    session->relay = relay_accept(stream, tunnel_stream, &relay_events, session);
    return TP_OK;
}

static void refuse(struct tunnel_stream *stream, enum close_reason reason, const char *text)
{
    log_warn("SSH connection refused", "reason=\"%s\"", text);
    tunnel_stream_close(stream, reason, text);
}

/* A second stream to a terminal: the first one, if it still seems to live, is the one that was lost. */
static void resume(struct agent *agent, struct tunnel_stream *tunnel_stream, const json_t *grant)
{
    struct session *session = session_find(agent, json_get_text(grant, "sid", ""));
    int pair[2];
    if (session == NULL || !session->terminal || session->cut || session->line == NULL || session->child == NULL ||
        strcmp(json_get_text(session->grant, "user", ""), json_get_text(grant, "user", "")) != 0 ||
        !json_equal(json_object_get(session->grant, "logins"), json_object_get(grant, "logins"))) {
        refuse(tunnel_stream, CLOSE_TARGET_CLOSED, "the terminal has ended; open a new one");
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        refuse(tunnel_stream, CLOSE_INTERNAL, "this host has no descriptors left");
        return;
    }
    if (session->relay != NULL) {
        relay_free(session->relay, CLOSE_REPLACED);
    }
    timer_stop(session->killer);
    rpc_event_fd(session->line, "attach", json_object(), pair[1]);
    (void)close(pair[1]);
    log_info("terminal resumed", "sid=%s peer=\"%s\"", session->sid, json_get_text(grant, "client_addr", ""));
    session->relay =
        relay_accept(stream_new(agent->loop, pair[0], &unused_events, NULL), tunnel_stream, &relay_events, session);
}

void session_open(struct agent *agent, struct tunnel_stream *stream, const char *service, const uint8_t *grant_data,
                  size_t size)
{
    struct tp_error error = {0};
    json_t *grant = NULL;
    if (agent->draining || agent->stopping) {
        refuse(stream, CLOSE_DRAIN, "the agent on this host is being replaced; try again");
        return;
    }
    if (agent_open_grant(agent, service, grant_data, size, &grant, &error) != TP_OK) {
        refuse(stream, error.code == TP_NOT_FOUND ? CLOSE_TARGET_CLOSED : CLOSE_ACCESS_DENIED, error.text);
        return;
    }
    if (json_get_bool(grant, "resume", false)) {
        resume(agent, stream, grant);
        json_decref(grant);
        return;
    }
    const char *sid = json_get_text(grant, "sid", "");
    struct session *session = mem_alloc(sizeof(*session));
    session->agent = agent;
    session->sid = mem_strdup(sid);
    session->terminal = strcmp(service, "term") == 0;
    session->grant = grant;
    session->open_ids = json_array();
    session->killer = timer_new(agent->loop, on_killer, session);
    session->next = agent->sessions;
    session->prev = &agent->sessions;
    if (session->next != NULL) {
        session->next->prev = &session->next;
    }
    agent->sessions = session;
    agent->session_count++;
    log_info("SSH connection", "sid=%s user=\"%s\" peer=\"%s\"", sid, json_get_text(grant, "user", ""),
             json_get_text(grant, "client_addr", ""));
    if (start(session, stream, &error) != TP_OK) {
        refuse(stream, CLOSE_INTERNAL, error.text);
        session_check_gone(session);
    }
}
