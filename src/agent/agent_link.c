/*
 * Tunnels to the proxy. Each slot wants one:
 *
 *     dial --> TLS --> hello --> up (rpc line open) --drain--> the slot dials a new one; when that is up, the old one's
 *       ^        |        |        |                           rpc line is closed and its SSH streams end by themselves
 *       +--------+--------+--------+ failure: retry after a jittered time, 1 s doubling to 30 s
 *
 * Two tunnels are worth their price when they end in two processes of the proxy. Each tells its name on the rpc line (event
 * tunnel.holder); the other slot dials with a server name that asks for anybody else ("not-NAME.tunnel.CLUSTER"). Where that
 * did not help, one of the two is moved later, ever more seldom.
 */
#include "agent/agent_priv.h"
#include "agent/kube.h"

#include "base/log.h"
#include "base/mem.h"
#include "tunnel/frame.h"
#include "crypt/key.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_MS 15000 /* dial, TLS and hello each */
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 30000
#define STABLE_MS 60000 /* up for so long: the next failure is a first one again */
#define SECOND_MS 2000  /* the second slot waits so long for the first one to know where it has landed */
#define SPREAD_FIRST_MS 5000
#define SPREAD_TRIES_MAX 7 /* doublings: ten minutes */
#define HOLDER_MAX 32

struct conn {
    struct agent *agent;
    struct slot *slot; /* NULL: it drains, another one has taken its place */
    struct conn *next;
    struct dial *dial;
    struct stream *stream; /* during the handshake only */
    struct tunnel *tunnel;
    struct rpc_line *line;
    struct timer *deadline;      /* until it is up */
    int64_t up_ms;               /* 0: not up */
    char holder[HOLDER_MAX + 1]; /* the proxy's process at the other end, "" while unknown */
    bool others;                 /* that proxy has more of them */
};

static void slot_dial(struct slot *slot);

static void conn_free(struct conn *conn)
{
    struct conn **at = &conn->agent->conns;
    while (*at != conn) {
        at = &(*at)->next;
    }
    *at = conn->next;
    timer_free(conn->deadline);
    mem_free(conn);
}

static void retry_later(struct slot *slot)
{
    int64_t base = RETRY_FIRST_MS << (slot->failures < 5 ? slot->failures : 5);
    base = base > RETRY_LAST_MS ? RETRY_LAST_MS : base;
    slot->failures++;
    /* Wide jitter: after a restart of the proxy ten thousand agents must not come in one wave. */
    uint32_t random;
    crypt_random(&random, sizeof(random));
    timer_start(slot->retry, base / 4 + (int64_t)(random % (uint32_t)base), 0);
}

/* The connection is gone. error says why when it never came up, else NULL. */
static void conn_ended(struct conn *conn, const struct tp_error *error)
{
    struct agent *agent = conn->agent;
    struct slot *slot = conn->slot;
    bool was_stable = conn->up_ms != 0 && loop_now_ms(agent->loop) - conn->up_ms >= STABLE_MS;
    conn_free(conn);
    if (slot != NULL) {
        slot->conn = NULL;
        if (was_stable) {
            slot->failures = 0;
        }
        if (error != NULL) {
            agent_log_change(&slot->last_failure, "no tunnel to the proxy", error);
        }
        if (!agent->draining && !agent->stopping) {
            retry_later(slot);
        }
    }
    agent_check_idle(agent);
}

/* ---- the rpc line ---- */

static void on_line_close(void *ctx, enum close_reason reason)
{
    struct conn *conn = ctx;
    conn->line = NULL;
    if (conn->tunnel != NULL && conn->slot != NULL && reason != CLOSE_TARGET_OFFLINE &&
        !tunnel_is_draining(conn->tunnel)) {
        /* A tunnel without its line is of no use. */
        tunnel_close(conn->tunnel, CLOSE_PROTOCOL_ERROR);
    }
}

/* The tunnel of another slot that ends in the same process although there are more; NULL when all is well. */
static const struct conn *same_holder(const struct slot *slot)
{
    const struct agent *agent = slot->agent;
    const struct conn *mine = slot->conn;
    for (size_t i = 0; i < AGENT_SLOTS; i++) {
        const struct conn *other = agent->slots[i].conn;
        if (mine != NULL && other != NULL && other != mine && mine->holder[0] != '\0' && mine->others &&
            strcmp(mine->holder, other->holder) == 0) {
            return other;
        }
    }
    return NULL;
}

/* A new tunnel is dialled; this one takes no more streams and ends when its last one has. */
static void move_away(struct slot *slot)
{
    struct conn *conn = slot->conn;
    conn->slot = NULL;
    slot->conn = NULL;
    tunnel_drain(conn->tunnel);
    slot_dial(slot);
}

static void on_spread(void *ctx)
{
    struct slot *slot = ctx;
    if (same_holder(slot) != NULL && slot->conn->tunnel != NULL && !slot->agent->draining && !slot->agent->stopping) {
        log_info("both tunnels end in one process of the proxy: moving one", "");
        move_away(slot);
    }
}

static void on_holder(struct conn *conn, const json_t *params)
{
    struct agent *agent = conn->agent;
    struct slot *slot = conn->slot;
    (void)snprintf(conn->holder, sizeof(conn->holder), "%s", json_get_text(params, "holder", ""));
    conn->others = json_get_bool(params, "others", false);
    for (const char *at = conn->holder; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at)) { /* it becomes a part of a server name */
            conn->holder[0] = '\0';
            return;
        }
    }
    if (slot == NULL || agent->draining || agent->stopping) {
        return;
    }
    if (same_holder(slot) == NULL) {
        slot->spread_tries = 0;
    } else {
        int64_t base = (int64_t)SPREAD_FIRST_MS << slot->spread_tries;
        uint32_t random;
        crypt_random(&random, sizeof(random));
        slot->spread_tries += slot->spread_tries < SPREAD_TRIES_MAX;
        timer_start(slot->spread, base + (int64_t)(random % (uint32_t)base), 0);
    }
    /* Who has waited for this only may dial now. */
    for (size_t i = 0; i < AGENT_SLOTS; i++) {
        if (agent->slots[i].conn == NULL && agent->slots[i].failures == 0) {
            slot_dial(&agent->slots[i]);
        }
    }
}

/* A sentence of the proxy as it may look on a terminal: through the codec of a reset. */
static enum tp_err safe_text(const json_t *params, enum close_reason reason, char ret_text[FRAME_TEXT_MAX + 1])
{
    uint8_t reset[FRAME_RESET_MAX];
    size_t size = frame_reset_encode(reason, json_get_text(params, "text", ""), reset);
    return frame_reset_decode(reset, size, &reason, ret_text);
}

static void on_line_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    const struct conn *conn = ctx;
    char text[FRAME_TEXT_MAX + 1];
    (void)rpc;
    (void)fd; /* none comes through a tunnel */
    if (strcmp(event, "ca.changed") == 0) {
        host_refresh(conn->agent);
    } else if (strcmp(event, "session.cut") == 0) {
        enum close_reason reason = close_from_name(json_get_text(params, "reason", ""));
        if (safe_text(params, reason, text) == TP_OK) {
            session_cut(conn->agent, json_get_text(params, "sid", ""), reason, text);
            if (conn->agent->kube != NULL) {
                kube_session_cut(conn->agent->kube, json_get_text(params, "sid", ""), reason, text);
            }
        }
    } else if (strcmp(event, "session.watched") == 0) {
        if (safe_text(params, CLOSE_DONE, text) == TP_OK) {
            session_watched(conn->agent, text, params);
        }
    }
    if (strcmp(event, "tunnel.holder") == 0) {
        on_holder(ctx, params);
    }
}

static const struct rpc_events line_rpc_events = {.on_event = on_line_event};
static const struct rpc_line_events line_events = {.rpc = &line_rpc_events, .on_close = on_line_close};

struct rpc *link_rpc(struct agent *agent)
{
    if (agent->local != NULL) {
        return agent->local;
    }
    for (struct conn *conn = agent->conns; conn != NULL; conn = conn->next) {
        struct rpc *rpc = conn->line != NULL ? rpc_line_rpc(conn->line) : NULL;
        if (rpc != NULL) {
            return rpc;
        }
    }
    return NULL;
}

/* ---- the tunnel ---- */

static void on_tunnel_ready(void *ctx)
{
    struct conn *conn = ctx;
    struct agent *agent = conn->agent;
    timer_free(conn->deadline);
    conn->deadline = NULL;
    conn->up_ms = loop_now_ms(agent->loop);
    if (rpc_line_open(agent->loop, conn->tunnel, &line_events, conn, &conn->line) != TP_OK) {
        tunnel_close(conn->tunnel, CLOSE_PROTOCOL_ERROR);
        return;
    }
    if (conn->slot != NULL) {
        agent_log_change(&conn->slot->last_failure, "tunnel to the proxy is up", NULL);
    }
    log_info("tunnel up", "proxy=%s:%u", agent->proxy_host, agent->proxy_port);
    /* Those that drain have waited for this. */
    for (struct conn *old = agent->conns; old != NULL; old = old->next) {
        if (old->slot == NULL && old->line != NULL) {
            rpc_line_close(old->line, CLOSE_DRAIN);
        }
    }
    up_flush(agent);
    host_beat(agent);
}

static void on_tunnel_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header,
                           size_t size)
{
    struct conn *conn = ctx;
    if ((strcmp(kind, "ssh") == 0 || strcmp(kind, "term") == 0) && conn->agent->conf->ssh_enabled) {
        session_open(conn->agent, stream, kind, header, size);
    } else if (strcmp(kind, "kube") == 0 && conn->agent->conf->kube_enabled) {
        kube_stream_open(conn->agent, stream, header, size);
    } else {
        tunnel_stream_close(stream, CLOSE_TARGET_REFUSED, "this host does not offer that service");
    }
}

static void on_tunnel_drain(void *ctx)
{
    struct conn *conn = ctx;
    struct slot *slot = conn->slot;
    log_info("the proxy asks us to move to a new tunnel", "");
    if (slot == NULL) {
        return;
    }
    conn->slot = NULL;
    slot->conn = NULL;
    if (!conn->agent->draining && !conn->agent->stopping) {
        slot->failures = 0;
        slot_dial(slot);
    }
}

static void on_tunnel_close(void *ctx, enum close_reason reason)
{
    struct conn *conn = ctx;
    struct tp_error error = {0};
    conn->tunnel = NULL;
    (void)err_set(&error, TP_CLOSED, "%s", close_text(reason));
    if (conn->up_ms != 0) {
        log_info("tunnel closed", "reason=%s", close_name(reason));
    }
    conn_ended(conn, conn->up_ms == 0 || close_is_error(reason) ? &error : NULL);
}

static const struct tunnel_events tunnel_events = {
    .on_ready = on_tunnel_ready,
    .on_open = on_tunnel_open,
    .on_drain = on_tunnel_drain,
    .on_close = on_tunnel_close,
};

/* ---- TLS ---- */

static void on_tls_ready(void *ctx)
{
    struct conn *conn = ctx;
    struct stream *stream = conn->stream;
    const struct identity *peer = tls_stream_identity(stream);
    if (strcmp(tls_stream_alpn(stream), "tport-tunnel") != 0 || peer == NULL ||
        strcmp(peer->cluster, conn->agent->state.identity.cluster) != 0) {
        stream_close(stream, CLOSE_TLS_FAILED);
        return;
    }
    conn->stream = NULL;
    conn->tunnel = tunnel_new(conn->agent->loop, stream, true, &tunnel_events, conn);
}

static void on_tls_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size; /* none before on_ready, and then the tunnel has them */
}

static void on_tls_close(void *ctx, enum close_reason reason)
{
    struct conn *conn = ctx;
    struct tp_error error = {0};
    const char *why = tls_stream_failure(conn->stream);
    (void)err_set(&error, TP_UNAVAILABLE, "TLS with %s port %u failed: %s", conn->agent->proxy_host,
                  conn->agent->proxy_port, why[0] != '\0' ? why : close_text(reason));
    conn->stream = NULL;
    conn_ended(conn, &error);
}

static const struct stream_events tls_events = {
    .on_ready = on_tls_ready,
    .on_data = on_tls_data,
    .on_close = on_tls_close,
};

/* The cluster, or the wish not to end where the other tunnel does; mem_free it. The certificate is checked all the same. */
static char *server_name(const struct conn *conn)
{
    const struct agent *agent = conn->agent;
    const char *cluster = agent->state.identity.cluster;
    for (size_t i = 0; i < AGENT_SLOTS; i++) {
        const struct conn *other = agent->slots[i].conn;
        if (other != NULL && other != conn && other->holder[0] != '\0' && other->others) {
            return mem_printf("not-%s.tunnel.%s", other->holder, cluster);
        }
    }
    return mem_strdup(cluster);
}

static void on_dialled(void *ctx, int fd, const struct tp_error *error)
{
    struct conn *conn = ctx;
    conn->dial = NULL;
    if (error != NULL) {
        conn_ended(conn, error);
        return;
    }
    char *name = server_name(conn);
    conn->stream = tls_stream_new(conn->agent->loop, fd, conn->agent->tls, name, &tls_events, conn);
    mem_free(name);
}

static void on_deadline(void *ctx)
{
    struct conn *conn = ctx;
    if (conn->stream != NULL) {
        stream_close(conn->stream, CLOSE_TARGET_TIMEOUT);
    } else if (conn->tunnel != NULL) {
        tunnel_close(conn->tunnel, CLOSE_TARGET_TIMEOUT);
    }
}

static void slot_dial(struct slot *slot)
{
    struct agent *agent = slot->agent;
    struct conn *conn = mem_alloc(sizeof(*conn));
    timer_stop(slot->retry);
    conn->agent = agent;
    conn->slot = slot;
    conn->next = agent->conns;
    agent->conns = conn;
    slot->conn = conn;
    conn->deadline = timer_new(agent->loop, on_deadline, conn);
    timer_start(conn->deadline, 2 * CONNECT_MS, 0);
    conn->dial = dial_start(agent->loop, agent->proxy_host, agent->proxy_port, CONNECT_MS, on_dialled, conn);
}

static void on_retry(void *ctx)
{
    struct slot *slot = ctx;
    if (slot->conn == NULL) {
        slot_dial(slot);
    }
}

/* ---- all of them ---- */

void link_start(struct agent *agent)
{
    for (size_t i = 0; i < AGENT_SLOTS; i++) {
        struct slot *slot = &agent->slots[i];
        slot->agent = agent;
        slot->retry = timer_new(agent->loop, on_retry, slot);
        slot->spread = timer_new(agent->loop, on_spread, slot);
        timer_start(slot->retry, (int64_t)i * SECOND_MS, 0);
    }
}

static void close_all(struct agent *agent, bool drain)
{
    for (size_t i = 0; i < AGENT_SLOTS; i++) {
        if (agent->slots[i].retry != NULL) {
            timer_stop(agent->slots[i].retry);
            timer_stop(agent->slots[i].spread);
        }
    }
    struct conn *next;
    for (struct conn *conn = agent->conns; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->dial != NULL) {
            dial_cancel(conn->dial);
            if (conn->slot != NULL) {
                conn->slot->conn = NULL;
            }
            conn_free(conn);
        } else if (conn->stream != NULL) {
            stream_close(conn->stream, CLOSE_SHUTDOWN);
        } else if (conn->tunnel != NULL && drain && conn->up_ms != 0) {
            tunnel_drain(conn->tunnel);
        } else if (conn->tunnel != NULL) {
            tunnel_close(conn->tunnel, CLOSE_SHUTDOWN);
        }
    }
}

void link_move(struct agent *agent)
{
    for (size_t i = 0; i < AGENT_SLOTS; i++) {
        struct slot *slot = &agent->slots[i];
        struct conn *conn = slot->conn;
        if (conn == NULL || conn->tunnel == NULL || conn->up_ms == 0 || agent->draining || agent->stopping) {
            continue; /* one that is being dialled is in time for the new certificate, or fails and comes again */
        }
        conn->slot = NULL;
        slot->conn = NULL;
        slot->failures = 0;
        tunnel_drain(conn->tunnel);
        slot_dial(slot);
    }
}

void link_drain(struct agent *agent)
{
    close_all(agent, true);
}

void link_stop(struct agent *agent)
{
    close_all(agent, false);
}
