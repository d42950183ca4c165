/*
 * A client that wants a node: TLS with a user certificate is done; auth is asked; its grant opens a stream in the node's
 * tunnel; from then on a relay carries SSH bytes that nobody here reads.
 *
 *   ASKING --grant--> RELAYING --either end, or cut--> closed
 *      +--refused, node offline--> one line "tport: sentence" for the person, closed
 *
 * The line comes before any "SSH-" line, where RFC 4253 section 4.2 lets a server say other things.
 */
#include "protocols/worker_priv.h"

#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "tunnel/relay.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define ASK_MS 15000
#define JOIN_MS 3000
#define JOIN_RETRY_MS 50

struct ssh_front {
    struct worker *worker;
    struct peer peer;
    struct stream *stream; /* NULL once the relay has it */
    struct relay *relay;
    uint32_t request;  /* to auth, 0 when none is pending */
    struct rpc *asked; /* by this line; auth may have a newer one by now */
    char *sid;
    char *host_id;
    struct buf grant;
    struct timer *retry;
    int64_t join_deadline;
    char target[256];
};

enum tp_err ssh_front_target(const char *server_name, const char *cluster, char *ret_name, size_t size)
{
    static const char middle[] = ".node.";
    size_t length = strlen(server_name);
    size_t tail = strlen(cluster) + sizeof(middle) - 1;
    char hex[256];
    size_t used = 0;
    struct buf name;
    enum tp_err err = TP_INVALID;

    if (length <= tail || strcasecmp(server_name + length - strlen(cluster), cluster) != 0 ||
        strncmp(server_name + length - tail, middle, sizeof(middle) - 1) != 0)
        return TP_INVALID;
    /* Long names are split into several labels. */
    for (size_t i = 0; i < length - tail && used < sizeof(hex) - 1; i++) {
        if (server_name[i] != '.')
            hex[used++] = (char)tolower((unsigned char)server_name[i]);
    }
    buf_init(&name, size - 1);
    if (used > 0 && dec_hex(hex, used, &name) == TP_OK && buf_size(&name) > 0 &&
        memchr(buf_head(&name), 0, buf_size(&name)) == NULL) {
        memcpy(ret_name, buf_head(&name), buf_size(&name));
        ret_name[buf_size(&name)] = 0;
        err = TP_OK;
    }
    buf_free(&name);
    return err;
}

static void finish(struct ssh_front *front, enum close_reason reason, const char *detail, uint64_t rx, uint64_t tx)
{
    struct worker *worker = front->worker;
    /* A line answers all that is pending before it goes, so it is still there; ids on another line are others'. */
    if (front->request)
        rpc_cancel(front->asked, front->request);
    if (front->sid) {
        (void)map_remove(worker->sessions, front->sid);
        worker_tell_auth(worker, "session.closed",
                         json_pack("{s:s, s:s, s:I, s:I}", "sid", front->sid, "reason", close_name(reason), "rx",
                                   (json_int_t)rx, "tx", (json_int_t)tx));
    }
    worker_connection_closed(worker, &front->peer, reason, detail, rx, tx);
    timer_free(front->retry);
    buf_free(&front->grant);
    mem_free(front->sid);
    mem_free(front->host_id);
    mem_free(front);
}

/* ---- before the relay ---- */

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    /* Reading is paused until the relay takes over; what slips through the same turn would be lost, so it ends here. */
    struct ssh_front *front = ctx;
    (void)data;
    (void)size;
    stream_close(front->stream, CLOSE_PROTOCOL_ERROR);
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct ssh_front *front = ctx;
    finish(front, reason, "", stream_rx(front->stream), stream_tx(front->stream));
}

static const struct stream_events asking_events = {.on_data = on_data, .on_close = on_close};

static void say(struct stream *stream, const char *sentence)
{
    char line[1024];
    int length = snprintf(line, sizeof(line), "tport: %s\r\n", sentence);
    stream_write(stream, line, length < (int)sizeof(line) ? (size_t)length : sizeof(line) - 1);
}

static void refuse(struct ssh_front *front, enum close_reason reason, const char *sentence)
{
    say(front->stream, sentence);
    stream_close_flush(front->stream, reason);
}

/* ---- the relay ---- */

static void on_relay_done(void *ctx, const struct relay_result *result)
{
    finish(ctx, result->reason, result->text, result->rx, result->tx);
}

/* The agent took no stream: what it says about it is for the person. */
static void on_relay_refused(void *ctx, struct stream *stream, enum close_reason reason, const char *text)
{
    (void)ctx;
    say(stream, *text ? text : close_text(reason));
}

static const struct relay_events relay_events = {.on_refused = on_relay_refused, .on_done = on_relay_done};

/* An agent that moves to another worker, or has just lost its tunnel, is waited for a little. */
static void join(void *ctx)
{
    struct ssh_front *front = ctx;
    struct tunnel *tunnel = tunnels_find(front->worker, front->host_id);

    if (stream_is_closing(front->stream))
        return;
    if (tunnel && relay_open(front->stream, tunnel, "ssh", buf_head(&front->grant), buf_size(&front->grant),
                             &relay_events, front, &front->relay) == TP_OK)
        return;
    if (loop_now_ms(front->worker->loop) < front->join_deadline) {
        timer_start(front->retry, JOIN_RETRY_MS, 0);
        return;
    }
    refuse(front, CLOSE_TARGET_OFFLINE, "the node is offline: its agent has no tunnel to this proxy now");
}

static enum close_reason reason_of(enum tp_err code)
{
    switch (code) {
    case TP_NOT_FOUND:
    case TP_AMBIGUOUS:
        return CLOSE_TARGET_UNKNOWN;
    case TP_UNAVAILABLE:
        return CLOSE_TARGET_OFFLINE;
    case TP_EXPIRED:
        return CLOSE_CERT_EXPIRED;
    case TP_CLOSED:
    case TP_TIMEOUT:
        return CLOSE_AUTH_UNAVAILABLE;
    case TP_NO_SPACE:
    case TP_IO:
        return CLOSE_AUDIT_FAILED;
    default:
        return CLOSE_ACCESS_DENIED;
    }
}

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct ssh_front *front = ctx;
    const char *sid;
    const char *host_id;
    const char *grant;
    front->request = 0;
    if (stream_is_closing(front->stream))
        return;
    if (error) {
        refuse(front, reason_of(error->code), error->text);
        return;
    }
    if (json_need_text(result, "sid", &sid, NULL) != TP_OK ||
        json_need_text(result, "host_id", &host_id, NULL) != TP_OK ||
        json_need_text(result, "grant", &grant, NULL) != TP_OK) {
        refuse(front, CLOSE_INTERNAL, "an internal error, see the proxy's log");
        return;
    }
    front->sid = mem_strdup(sid);
    front->host_id = mem_strdup(host_id);
    (void)map_set(front->worker->sessions, front->sid, front);
    if (dec_base64(grant, strlen(grant), &front->grant) != TP_OK) {
        refuse(front, CLOSE_INTERNAL, "an internal error, see the proxy's log");
        return;
    }
    front->join_deadline = loop_now_ms(front->worker->loop) + JOIN_MS;
    join(front);
}

void ssh_front_serve(struct worker *worker, struct stream *stream, const struct peer *peer)
{
    struct ssh_front *front = mem_alloc(sizeof(*front));
    front->worker = worker;
    front->peer = *peer;
    front->stream = stream;
    front->retry = timer_new(worker->loop, join, front);
    buf_init(&front->grant, TUNNEL_HEADER_MAX);
    stream_set_events(stream, &asking_events, front);
    stream_pause(stream);
    if (ssh_front_target(peer->server_name, worker->cluster_name, front->target, sizeof(front->target)) != TP_OK) {
        refuse(front, CLOSE_NO_ROUTE,
               "the server name (SNI) must be <hex of the node's name>.node.<cluster>; tport config writes it for you");
        return;
    }
    if (!worker->auth) {
        refuse(front, CLOSE_AUTH_UNAVAILABLE, "the auth service is not available now, try again in a moment");
        return;
    }
    front->asked = worker->auth;
    front->request = rpc_request(front->asked, "ssh.connect",
                                 json_pack("{s:s, s:i}", "target", front->target, "worker", (int)worker->number),
                                 worker_caller("user", stream, peer), ASK_MS, on_answer, front);
}

void ssh_front_cut(struct worker *worker, const char *sid, enum close_reason reason, const char *text)
{
    struct ssh_front *front = map_get(worker->sessions, sid);
    if (!front)
        return;
    if (front->relay)
        relay_cut(front->relay, reason, text);
    else if (!stream_is_closing(front->stream))
        refuse(front, reason, text && *text ? text : close_text(reason));
}
