/*
 * The first identity of this host. Beside auth it comes over the local line; elsewhere it is bought with a join token from
 * the proxy (POST /v1/webapi/host/credentials) on the thread pool. It is tried again until it works: soon when nobody
 * answers, slowly when we were refused.
 */
#include "agent/agent_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "protocols/http/http_client.h"
#include "tls/tls_client.h"

#include <string.h>

#define JOIN_TIMEOUT_MS 20000
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 30000
#define RETRY_REFUSED_MS 60000

/* What runs on the thread pool; touches nothing else. */
struct attempt {
    struct join *join; /* for done, on the loop */
    char *host;
    uint16_t port;
    char *token;
    struct conf_list pins;
    json_t *params;
    json_t *answer;
    struct tp_error error;
};

struct join {
    struct agent *agent; /* NULL: stopped while an attempt was running */
    struct timer *retry;
    unsigned failures;
    char *last_failure;
    char *host_id;
    char *tls_key; /* PEM */
    char *ssh_key;
    char *ssh_public;
    bool running;
    bool wait_said;
};

static void join_free(struct join *join)
{
    timer_free(join->retry);
    mem_free(join->last_failure);
    mem_free(join->host_id);
    secret_free(join->tls_key);
    secret_free(join->ssh_key);
    mem_free(join->ssh_public);
    mem_free(join);
}

static void attempt_free(struct attempt *attempt)
{
    mem_free(attempt->host);
    secret_free(attempt->token);
    for (size_t i = 0; i < attempt->pins.count; i++) {
        mem_free(attempt->pins.items[i]);
    }
    mem_free(attempt->pins.items);
    json_decref(attempt->params);
    json_decref(attempt->answer);
    mem_free(attempt);
}

static bool is_refusal(enum tp_err code)
{
    switch (code) {
    case TP_UNAVAILABLE:
    case TP_TIMEOUT:
    case TP_CLOSED:
    case TP_IO:
    case TP_AGAIN:
    case TP_INTERNAL:
        return false;
    default:
        return true;
    }
}

static void failed(struct join *join, const struct tp_error *error)
{
    agent_log_change(&join->last_failure, "this host can't join the cluster yet", error);
    int64_t base = RETRY_FIRST_MS << (join->failures < 5 ? join->failures : 5);
    base = base > RETRY_LAST_MS ? RETRY_LAST_MS : base;
    if (is_refusal(error->code)) {
        base = RETRY_REFUSED_MS;
    }
    join->failures++;
    uint32_t random;
    crypt_random(&random, sizeof(random));
    timer_start(join->retry, base / 2 + (int64_t)(random % (uint32_t)(base / 2 + 1)), 0);
}

static void succeeded(struct join *join, const json_t *answer)
{
    struct agent *agent = join->agent;
    struct agent_state fresh;
    struct tp_error error = {0};
    enum tp_err err =
        agent_state_make(join->host_id, join->tls_key, join->ssh_key, join->ssh_public, answer, &fresh, &error);
    if (err == TP_OK) {
        err = agent_state_save(agent->dir, &fresh, &error);
        if (err == TP_OK) {
            err = agent_use_state(agent, &fresh, &error);
        }
        if (err != TP_OK) {
            agent_state_free(&fresh);
        }
    }
    if (err != TP_OK) {
        failed(join, &error);
        return;
    }
    int64_t now = clock_wall();
    if (now < agent->state.identity.not_before || now > agent->state.identity.not_after) {
        log_warn("this host's clock is off", "hint=\"the certificate just received is not valid now: set the clock\"");
    }
    log_info("joined the cluster", "cluster=%s host_id=%s", agent->state.identity.cluster, agent->state.host_id);
    agent->join = NULL;
    join_free(join);
    agent_joined(agent);
}

static const char *roles_wanted(const struct conf *conf)
{
    if (!conf->kube_enabled) {
        return "node";
    }
    return conf->ssh_enabled ? "node,kube" : "kube";
}

/* A join that is tried again is the same host. */
static enum tp_err prepare(struct join *join, json_t **ret_params, struct tp_error *error)
{
    struct agent *agent = join->agent;
    if (join->host_id == NULL) {
        enum tp_err err = agent_state_host_id(agent->dir, &join->host_id, error);
        if (err != TP_OK) {
            return err;
        }
    }
    /* New keys each time: an answer that got lost leaves nothing behind that fits. */
    struct key *tls_key = key_generate(KEY_P256);
    struct key *ssh_key = key_generate(KEY_ED25519);
    secret_free(join->tls_key);
    secret_free(join->ssh_key);
    mem_free(join->ssh_public);
    join->tls_key = key_to_pem(tls_key);
    join->ssh_key = key_to_openssh(ssh_key, agent->conf->nodename);
    char *tls_public = key_public_pem(tls_key);
    join->ssh_public = key_public_ssh(ssh_key, NULL);
    *ret_params =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "host_id", join->host_id, "node_name", agent->conf->nodename, "role",
                  roles_wanted(agent->conf), "tls_pub_key", tls_public, "ssh_pub_key", join->ssh_public);
    mem_free(tls_public);
    key_free(tls_key);
    key_free(ssh_key);
    return TP_OK;
}

/* ---- over the network ---- */

static void attempt_work(void *ctx)
{
    struct attempt *attempt = ctx;
    struct tls_client *client = NULL;
    bool pinned = attempt->pins.count > 0;
    /* A pin is of the host CA, and so the certificate must be, whatever the proxy shows to browsers. */
    struct tls_client_options options = {.host = attempt->host,
                                         .port = attempt->port,
                                         .alpn = pinned ? "tport-join" : "http/1.1",
                                         .ca_pins = pinned ? (const char *const *)attempt->pins.items : NULL,
                                         .timeout_ms = JOIN_TIMEOUT_MS};
    if (tls_client_connect(&options, &client, &attempt->error) != TP_OK) {
        return;
    }
    char *host = strchr(attempt->host, ':') != NULL ? mem_printf("[%s]:%u", attempt->host, attempt->port)
                                                    : mem_printf("%s:%u", attempt->host, attempt->port);
    struct http_call call = {
        .host = host, .method = "POST", .path = "/v1/webapi/host/credentials", .body = attempt->params};
    int status = 0;
    json_t *answer = NULL;
    enum tp_err err = http_client_request(client, &call, &status, &answer, NULL, &attempt->error);
    if (err == TP_OK && !json_is_object(answer)) {
        (void)err_set(&attempt->error, TP_PROTOCOL, "%s answered something that is no JSON: is it a tport proxy?",
                      host);
        json_decref(answer);
        answer = NULL;
    }
    attempt->answer = err == TP_OK ? answer : NULL;
    mem_free(host);
    tls_client_close(client);
}

static void attempt_done(void *ctx)
{
    struct attempt *attempt = ctx;
    struct join *join = attempt->join;
    join->running = false;
    if (join->agent == NULL) {
        join_free(join);
    } else if (attempt->answer != NULL) {
        succeeded(join, attempt->answer);
    } else {
        failed(join, &attempt->error);
    }
    attempt_free(attempt);
}

static void start_remote(struct join *join)
{
    struct agent *agent = join->agent;
    struct attempt *attempt = mem_alloc(sizeof(*attempt));
    struct tp_error error = {0};
    struct conf_list pins = {0};
    attempt->join = join;
    enum tp_err err = conf_token(agent->conf, &attempt->token, &error);
    if (err == TP_OK) {
        err = conf_ca_pins(agent->conf, &pins, &error);
    }
    if (err == TP_OK) {
        /* The client wants the list with a NULL behind it. */
        attempt->pins.items = mem_array(pins.count + 1, sizeof(char *));
        attempt->pins.count = pins.count;
        for (size_t i = 0; i < pins.count; i++) {
            attempt->pins.items[i] = pins.items[i];
        }
        mem_free(pins.items);
        err = prepare(join, &attempt->params, &error);
    }
    if (err != TP_OK) {
        attempt_free(attempt);
        failed(join, &error);
        return;
    }
    (void)json_object_set_new(attempt->params, "token", json_string(attempt->token));
    attempt->host = mem_strdup(agent->proxy_host);
    attempt->port = agent->proxy_port;
    join->running = true;
    work_run(agent->loop, attempt_work, attempt_done, attempt);
}

/* ---- beside auth ---- */

static void on_local_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct join *join = ctx;
    join->running = false;
    if (join->agent == NULL) {
        join_free(join);
    } else if (error != NULL) {
        failed(join, error);
    } else {
        succeeded(join, result);
    }
}

static void start_local(struct join *join)
{
    struct tp_error error = {0};
    json_t *params = NULL;
    if (prepare(join, &params, &error) != TP_OK) {
        failed(join, &error);
        return;
    }
    join->running = true;
    (void)rpc_request(join->agent->local, "host.join_local", params, NULL, 0, on_local_answer, join);
}

static void start(void *ctx)
{
    struct join *join = ctx;
    if (join->running) {
        return;
    }
    if (join->agent->local != NULL) {
        start_local(join);
    } else if (!join->agent->local_auth) {
        start_remote(join);
    } else if (!join->wait_said) {
        join->wait_said = true;
        log_debug("waiting for the line to auth", "");
    }
}

void join_start(struct agent *agent)
{
    struct join *join = mem_alloc(sizeof(*join));
    join->agent = agent;
    join->retry = timer_new(agent->loop, start, join);
    agent->join = join;
    timer_start(join->retry, 0, 0);
}

void join_local_ready(struct agent *agent)
{
    if (agent->join != NULL) {
        timer_start(agent->join->retry, 0, 0);
    }
}

void join_stop(struct agent *agent)
{
    struct join *join = agent->join;
    agent->join = NULL;
    if (join == NULL) {
        return;
    }
    timer_stop(join->retry);
    join->agent = NULL;
    if (!join->running) {
        join_free(join);
    }
}
