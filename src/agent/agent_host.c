/* What this host tells and asks auth about itself: heartbeats, renewal of its certificates, news of what to trust. */
#include "agent/agent_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "crypt/report.h"

#include <string.h>

#define BEAT_MS 60000 /* when auth does not say */
#define BEAT_MIN_MS 1000
#define BEAT_RETRY_MS 5000
#define REFRESH_MS 600000 /* cluster.cas */
#define CERT_SKEW_SECONDS 60
#define SPREAD_MAX_MS ((int64_t)3600 * 1000)
#define RENEW_LOOK_MS 60000 /* how often we look at the certificate's age */

/* A worker brings it to auth, and must not be able to say it for us. */
static void sign(const struct agent *agent, const char *method, json_t *params)
{
    struct tp_error error = {0};
    struct key *key = NULL;
    enum tp_err err = key_from_pem(agent->state.tls_key, strlen(agent->state.tls_key), &key, &error);
    if (err == TP_OK) {
        err = report_sign(params, key, agent->state.host_id, method, clock_wall_ms());
    }
    if (err != TP_OK) {
        log_error("what this host says of itself could not be signed", "error=\"%s\"", error.text);
    }
    key_free(key);
}

static void renew(struct agent *agent);

/* After a change of its nodename nothing of what this host says is heard until its certificate has the new name, too. */
static void renew_name(struct agent *agent)
{
    int64_t now = clock_mono_ms();
    const char *name = agent->state.identity.name;
    bool other = name == NULL || strcasecmp(name, agent->conf->nodename) != 0;
    if (other && (agent->renamed_ms == 0 || now - agent->renamed_ms >= RENEW_LOOK_MS)) {
        agent->renamed_ms = now;
        renew(agent);
    }
}

/* ---- heartbeat ---- */

static void on_beat_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct agent *agent = ctx;
    agent->heartbeat_out = false;
    if (agent->stopping || agent->draining) {
        return;
    }
    agent_log_change(&agent->heartbeat_failure, "heartbeat not delivered", error);
    if (error == NULL &&
        agent->state.identity.not_before + CERT_SKEW_SECONDS <= json_get_int(result, "hosts_since", 0)) {
        host_refresh(agent); /* we were away when the host CA changed */
    }
    if (error != NULL) {
        renew_name(agent);
    }
    int64_t next = error != NULL ? BEAT_RETRY_MS : json_get_int(result, "next", BEAT_MS);
    if (next < BEAT_MIN_MS || next > 10 * BEAT_MS) {
        next = BEAT_MS;
    }
    if (agent->heartbeat_again) {
        agent->heartbeat_again = false;
        next = BEAT_MIN_MS; /* labels that change all the time must not make a flood */
    }
    timer_start(agent->heartbeat, next, 0);
}

json_t *agent_labels_of(const struct conf_labels *labels)
{
    json_t *object = json_object();
    for (size_t i = 0; i < labels->count; i++) {
        (void)json_object_set_new(object, labels->items[i].name, json_string(labels->items[i].value));
    }
    return object;
}

void host_beat(struct agent *agent)
{
    if (agent->heartbeat == NULL || agent->stopping || agent->draining) {
        return;
    }
    if (agent->heartbeat_out) {
        agent->heartbeat_again = true;
        return;
    }
    json_t *services = json_array();
    json_t *params = json_pack("{s:s, s:s, s:O}", "hostname", agent->conf->nodename, "version", agent->version,
                               "services", services);
    if (agent->conf->ssh_enabled) {
        (void)json_array_append_new(services, json_string("ssh"));
        (void)json_object_set_new(params, "labels", agent_labels_of(&agent->conf->labels));
        (void)json_object_set_new(params, "cmd_labels", labels_json(agent->labels));
    }
    if (agent->conf->kube_enabled) {
        (void)json_array_append_new(services, json_string("kube"));
        (void)json_object_set_new(params, "kube_clusters", kube_clusters_report(agent));
    }
    json_decref(services);
    sign(agent, "host.heartbeat", params);
    agent->heartbeat_out = true;
    (void)up_request(agent, "host.heartbeat", params, on_beat_answer, agent);
}

static void on_beat_timer(void *ctx)
{
    agent_grants_sweep(ctx, clock_wall(), clock_mono_ms());
    host_beat(ctx);
}

static bool ready(const struct labels *labels)
{
    return labels == NULL || labels_ready(labels);
}

static void on_labels_change(void *ctx)
{
    struct agent *agent = ctx;
    /* The first values go with one heartbeat, when all commands have run. */
    if (ready(agent->labels) && ready(agent->kube_labels)) {
        host_beat(agent);
    }
}

/* NULL when there are none. */
static struct labels *start_labels(struct agent *agent, const struct conf_commands *commands)
{
    struct labels *labels = NULL;
    struct labels_command *list = mem_array(commands->count, sizeof(*list));
    size_t count = 0;
    for (size_t i = 0; i < commands->count; i++) {
        const struct conf_command *command = &commands->items[i];
        if (command->command.count == 0) {
            continue;
        }
        char **argv = mem_array(command->command.count + 1, sizeof(char *));
        for (size_t j = 0; j < command->command.count; j++) {
            argv[j] = command->command.items[j];
        }
        list[count++] = (struct labels_command){.name = command->name, .argv = argv, .period_ms = command->period};
    }
    if (count > 0) {
        labels = labels_new(agent->loop, list, count, on_labels_change, agent);
    }
    for (size_t i = 0; i < count; i++) {
        mem_free((void *)list[i].argv);
    }
    mem_free(list);
    return labels;
}

/* ---- what we trust ---- */

static void renew_soon(struct agent *agent, int64_t within_ms);

static void on_cas(void *ctx, json_t *result, const struct tp_error *failure)
{
    struct agent *agent = ctx;
    if (failure != NULL || agent->stopping) {
        return; /* the next refresh comes */
    }
    struct tp_error error = {0};
    bool changed = false;
    enum tp_err err = agent_state_set_cas(&agent->state, result, &changed, &error);
    if (err == TP_OK && changed) {
        log_info("the cluster's certificate authorities have changed", "");
        err = agent_state_save(agent->dir, &agent->state, &error);
        if (err == TP_OK) {
            err = agent_use_state(agent, NULL, &error);
        }
    }
    if (err != TP_OK) {
        log_error("the cluster's certificate authorities can't be taken over", "error=\"%s\"", error.text);
        return;
    }
    /* Certificates are made valid from a minute before their making. */
    if (agent->state.identity.not_before + CERT_SKEW_SECONDS <= json_get_int(result, "hosts_since", 0)) {
        renew_soon(agent, json_get_int(result, "hosts_renew_within", 0));
    }
}

void host_refresh(struct agent *agent)
{
    if (!agent->stopping) {
        (void)up_request(agent, "cluster.cas", NULL, on_cas, agent);
    }
}

static void on_refresh(void *ctx)
{
    host_refresh(ctx);
}

/* ---- renewal ---- */

static void on_renewed(void *ctx, json_t *result, const struct tp_error *failure)
{
    struct agent *agent = ctx;
    struct tp_error error = {0};
    struct agent_state fresh;
    agent->renew_out = false;
    if (agent->stopping) {
        return;
    }
    if (failure != NULL) {
        log_warn("this host's certificate could not be renewed yet", "error=\"%s\"", failure->text);
        return;
    }
    /* The keys stay: a crash between two files then never leaves a key beside the other's certificate. */
    enum tp_err err = agent_state_renew(&agent->state, result, &fresh, &error);
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
        log_error("this host's new certificate can't be used", "error=\"%s\"", error.text);
        return;
    }
    log_info("this host's certificate has been renewed", "");
    link_move(agent);
}

static void renew(struct agent *agent)
{
    if (agent->renew_out || agent->draining || agent->stopping) {
        return;
    }
    struct tp_error error = {0};
    struct key *tls_key = NULL;
    if (key_from_pem(agent->state.tls_key, strlen(agent->state.tls_key), &tls_key, &error) != TP_OK) {
        log_error("this host's key can't be read", "error=\"%s\"", error.text);
        return;
    }
    char *tls_public = key_public_pem(tls_key);
    json_t *params = json_pack("{s:s, s:s, s:s}", "tls_pub_key", tls_public, "ssh_pub_key", agent->state.ssh_public,
                               "node_name", agent->conf->nodename);
    mem_free(tls_public);
    key_free(tls_key);
    sign(agent, "host.renew", params);
    agent->renew_out = true;
    (void)up_request(agent, "host.renew", params, on_renewed, agent);
}

static void on_renew_soon(void *ctx)
{
    renew(ctx);
}

/* All hosts learn of a new CA in the same second, and must not all come for their certificates in the next one. */
static void renew_soon(struct agent *agent, int64_t within_ms)
{
    uint32_t random;
    crypt_random(&random, sizeof(random));
    if (within_ms <= 0) {
        renew(agent);
    } else if (!timer_is_active(agent->renew_soon)) {
        timer_start(agent->renew_soon, (int64_t)random % (within_ms < SPREAD_MAX_MS ? within_ms : SPREAD_MAX_MS), 0);
    }
}

/* By age: past two thirds of its life, and up to a twelfth later, for after a rotation all have the same age. */
static void on_renew_look(void *ctx)
{
    struct agent *agent = ctx;
    const struct identity *identity = &agent->state.identity;
    int64_t life = identity->not_after - identity->not_before;
    if (clock_wall() >= identity->not_before + life / 3 * 2 + life / 12 * (agent->renew_share % 256) / 256) {
        renew(agent);
    }
}

/* ---- life ---- */

void host_start(struct agent *agent)
{
    agent->heartbeat = timer_new(agent->loop, on_beat_timer, agent);
    agent->renew = timer_new(agent->loop, on_renew_look, agent);
    agent->renew_soon = timer_new(agent->loop, on_renew_soon, agent);
    crypt_random(&agent->renew_share, sizeof(agent->renew_share));
    agent->refresh = timer_new(agent->loop, on_refresh, agent);
    if (agent->conf->ssh_enabled) {
        agent->labels = start_labels(agent, &agent->conf->commands);
    }
    if (agent->conf->kube_enabled) {
        agent->kube_labels = start_labels(agent, &agent->conf->kube_commands);
    }
    kube_clusters_start(agent);
    if (agent->local != NULL) {
        host_beat(agent);
    }
    timer_start(agent->renew, 0, RENEW_LOOK_MS);
    timer_start(agent->refresh, 0, REFRESH_MS);
}

void host_stop(struct agent *agent)
{
    kube_clusters_stop(agent);
    labels_free(agent->labels);
    labels_free(agent->kube_labels);
    agent->labels = NULL;
    agent->kube_labels = NULL;
    timer_free(agent->heartbeat);
    timer_free(agent->renew);
    timer_free(agent->renew_soon);
    timer_free(agent->refresh);
    agent->heartbeat = NULL;
    agent->renew = NULL;
    agent->renew_soon = NULL;
    agent->refresh = NULL;
}
