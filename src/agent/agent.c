/*
 * Happy path: config from master -> identity (loaded, or joined) -> tunnels, heartbeats -> SSH and Kubernetes connections,
 * until drain or stop. Where SSH is served no-new-privileges is not set: people's programs under tport-session must be able
 * to use sudo. Without SSH the agent is a user of its own and has it.
 */
#include "agent/agent.h"

#include "agent/agent_priv.h"
#include "agent/agent_used.h"
#include "agent/kube.h"
#include "base/log.h"
#include "base/mem.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define STOP_MS 8000 /* from stop until we go whatever is left */
#define LOOK_MS 200
#define CROWD 4 /* sessions: worth giving memory back after */
#define PROXY_PORT 443

void agent_log_change(char **last, const char *what, const struct tp_error *error)
{
    if (error == NULL) {
        mem_free(*last);
        *last = NULL;
        return;
    }
    if (*last != NULL && strcmp(*last, error->text) == 0) {
        return;
    }
    log_warn(what, "reason=\"%s\"", error->text);
    mem_free(*last);
    *last = mem_strdup(error->text);
}

static enum tp_err make_tls(const struct agent_state *state, struct tls_context **ret_tls, struct tp_error *error)
{
    static const char *const alpn[] = {"tport-tunnel", NULL};
    struct tls_context_options options = {.cert_pem = state->tls_cert,
                                          .key_pem = state->tls_key,
                                          .alpn = alpn,
                                          .alpn_required = true,
                                          .tls13_only = true,
                                          .peer = TLS_PEER_PROXY,
                                          .ca_pems = state->host_ca_pems};
    return tls_context_new(&options, ret_tls, error);
}

enum tp_err agent_use_state(struct agent *agent, struct agent_state *fresh, struct tp_error *error)
{
    struct tls_context *tls = NULL;
    enum tp_err err = make_tls(fresh != NULL ? fresh : &agent->state, &tls, error);
    if (err != TP_OK) {
        return err;
    }
    tls_context_free(agent->tls);
    agent->tls = tls;
    if (fresh != NULL) {
        agent_state_free(&agent->state);
        agent->state = *fresh;
    }
    return TP_OK;
}

void agent_joined(struct agent *agent)
{
    agent->joined = true;
    agent_used_open(agent->dir);
    link_start(agent);
    host_start(agent);
}

void agent_check_idle(struct agent *agent)
{
    if ((!agent->draining && !agent->stopping) || agent->sessions != NULL) {
        return;
    }
    if (agent->kube != NULL && !kube_is_idle(agent->kube)) {
        return;
    }
    if (agent->calls != NULL && link_rpc(agent) != NULL) {
        return; /* the last words are on their way; on_idle_look comes again */
    }
    if (agent->conns == NULL) {
        loop_stop(agent->loop);
    } else {
        link_stop(agent);
    }
}

static void on_idle_look(void *ctx)
{
    struct agent *agent = ctx;
    if (agent->stopping && loop_now_ms(agent->loop) >= agent->stop_by_ms) {
        loop_stop(agent->loop);
    } else {
        agent_check_idle(agent);
    }
}

static void stop(struct agent *agent)
{
    if (agent->stopping) {
        return;
    }
    agent->stopping = true;
    join_stop(agent);
    session_stop_all(agent);
    if (agent->kube != NULL) {
        kube_stop_all(agent->kube, CLOSE_SHUTDOWN);
    }
    agent->stop_by_ms = loop_now_ms(agent->loop) + STOP_MS;
    timer_start(agent->idle_look, LOOK_MS, LOOK_MS);
    agent_check_idle(agent);
}

static void drain(struct agent *agent)
{
    if (agent->draining || agent->stopping) {
        return;
    }
    agent->draining = true;
    join_stop(agent);
    kube_clusters_stop(agent);
    link_drain(agent);
    if (agent->kube != NULL) {
        kube_drain(agent->kube);
    }
    timer_start(agent->idle_look, LOOK_MS, LOOK_MS);
    agent_check_idle(agent);
}

/* ---- configuration ---- */

static void set_log(const json_t *log)
{
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_parse(json_get_text(log, "level", "info"), &level) != TP_OK) {
        level = LOG_LEVEL_INFO;
    }
    log_init("agent", STDERR_FILENO, level, json_get_bool(log, "json", false));
}

static enum tp_err read_config(struct agent *agent, const json_t *params, struct tp_error *error)
{
    json_t *conf;
    const char *data_dir;
    const char *session_path;
    enum tp_err err = json_need_object(params, "conf", &conf, error);
    if (err == TP_OK) {
        err = json_need_text(params, "data_dir", &data_dir, error);
    }
    if (err == TP_OK) {
        err = json_need_text(params, "session_path", &session_path, error);
    }
    if (err == TP_OK) {
        err = conf_from_json(conf, &agent->conf, error);
    }
    if (err != TP_OK) {
        return err;
    }
    agent->dir = mem_printf("%s/agent", data_dir);
    agent->session_path = mem_strdup(session_path);
    agent->session_user = mem_strdup(json_get_text(params, "session_user", ""));
    agent->version = mem_strdup(json_get_text(params, "version", "0"));
    agent->local_auth = json_get_bool(params, "local_auth", false);
    const char *proxy = json_get_text(params, "proxy_addr", "");
    agent->proxy_addr = mem_strdup(proxy[0] != '\0' ? proxy : agent->conf->proxy_server);
    if (agent->proxy_addr[0] == '\0') {
        return err_set(error, TP_INVALID, "the configuration names no proxy: set proxy_server: host:port");
    }
    err = conf_addr_split(agent->proxy_addr, PROXY_PORT, &agent->proxy_host, &agent->proxy_port);
    return err == TP_OK ? TP_OK
                        : err_set(error, err, "proxy_server \"%s\" is no address: write host:port", agent->proxy_addr);
}

static void on_config(struct agent *agent, const json_t *params)
{
    struct tp_error error = {0};
    if (agent->conf != NULL) {
        return; /* a reload starts a new agent and drains this one */
    }
    set_log(json_object_get(params, "log"));
    if (read_config(agent, params, &error) != TP_OK) {
        log_error("the agent can't start", "error=\"%s\"", error.text);
        agent->failed = true;
        loop_stop(agent->loop);
        return;
    }
    struct agent_state state;
    enum tp_err err = agent_state_load(agent->dir, &state, &error);
    if (err == TP_NOT_FOUND) {
        join_start(agent);
        return;
    }
    if (err == TP_OK) {
        err = agent_use_state(agent, &state, &error);
        if (err != TP_OK) {
            agent_state_free(&state);
        }
    }
    if (err != TP_OK) {
        log_error("the agent can't start", "error=\"%s\"", error.text);
        agent->failed = true;
        loop_stop(agent->loop);
        return;
    }
    agent_joined(agent);
}

/* ---- the line to auth on this machine ---- */

static void on_local_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct agent *agent = ctx;
    (void)reason;
    if (agent->local == rpc) {
        agent->local = NULL; /* master sends a new one when auth is back */
    }
}

static const struct rpc_events local_events = {.on_close = on_local_close};

static void on_auth_line(struct agent *agent, int fd)
{
    if (agent->local != NULL) {
        rpc_free(agent->local);
    }
    agent->local = rpc_new_fd(agent->loop, fd, &local_events, agent);
    join_local_ready(agent);
    up_flush(agent);
    host_beat(agent);
}

/* ---- the line to master ---- */

static void on_control_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct agent *agent = ctx;
    (void)rpc;
    if (strcmp(event, "auth_line") == 0 && fd >= 0) {
        on_auth_line(agent, fd);
        return;
    }
    if (strcmp(event, "log.reopen") == 0 && fd >= 0) {
        /* Sessions started from now on inherit it too. */
        (void)dup2(fd, STDERR_FILENO);
    } else if (strcmp(event, "config") == 0) {
        on_config(agent, params);
    } else if (strcmp(event, "drain") == 0) {
        drain(agent);
    } else if (strcmp(event, "stop") == 0) {
        stop(agent);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void on_control_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct agent *agent = ctx;
    (void)rpc;
    (void)reason;
    agent->control = NULL;
    if (!agent->draining) {
        stop(agent);
    }
}

static const struct rpc_events control_events = {.on_event = on_control_event, .on_close = on_control_close};

static void release(struct agent *agent)
{
    kube_free(agent->kube);
    host_stop(agent);
    up_stop(agent);
    if (agent->local != NULL) {
        rpc_free(agent->local);
    }
    if (agent->control != NULL) {
        rpc_free(agent->control);
    }
    for (size_t i = 0; i < AGENT_SLOTS; i++) {
        timer_free(agent->slots[i].retry);
        timer_free(agent->slots[i].spread);
        mem_free(agent->slots[i].last_failure);
    }
    timer_free(agent->idle_look);
    crowd_free(agent->crowd);
    tls_context_free(agent->tls);
    agent_state_free(&agent->state);
    conf_free(agent->conf);
    agent_grants_free(agent);
    mem_free(agent->heartbeat_failure);
    kube_clusters_free(agent);
    mem_free(agent->dir);
    mem_free(agent->session_path);
    mem_free(agent->session_user);
    mem_free(agent->proxy_addr);
    mem_free(agent->proxy_host);
    mem_free(agent->version);
}

int agent_main(int control_fd)
{
    struct agent agent = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    mem_keep_last();
    set_log(NULL);
    agent_state_init(&agent.state);
    agent_grants_init(&agent);
    agent.calls_end = &agent.calls;
    agent.loop = loop_new();
    agent.idle_look = timer_new(agent.loop, on_idle_look, &agent);
    agent.crowd = crowd_new(agent.loop, CROWD);
    agent.control = rpc_new_fd(agent.loop, control_fd, &control_events, &agent);
    loop_run(agent.loop);
    bool failed = agent.failed;
    /* Sessions and tunnels that are still there after the deadline end with the process. */
    bool clean = agent.sessions == NULL && agent.conns == NULL && agent.join == NULL &&
                 (agent.kube == NULL || kube_is_idle(agent.kube));
    if (clean) {
        release(&agent);
        loop_free(agent.loop);
    }
    return failed ? 1 : 0;
}
