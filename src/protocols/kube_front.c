/*
 * A client that wants a Kubernetes cluster (kubectl): the server name says which, the user's certificate says who. The
 * bytes go to an agent that serves the cluster (target_front.h); that one reads the HTTP in them.
 *
 * Only a refusal is answered here, and as an API server would: the head of the first request is read, a Status object is
 * the answer, and the connection ends.
 */
#include "protocols/target_front.h"

#include "base/mem.h"
#include "kube/kube_status.h"
#include "protocols/http/http_server.h"

#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HEAD_MS 10000               /* for the request that is refused */
#define LINGER_MS 2000              /* for the client to read the answer */
#define DRAIN_MAX ((size_t)1 << 20) /* of a body that nobody wants */
#define ALIVE_IDLE_S 60             /* quiet so long, a connection is probed: a watch may be silent for hours */
#define ALIVE_STEP_S 15
#define ALIVE_TRIES 3

enum tp_err kube_front_target(const char *server_name, const char *cluster, char *ret_label, size_t size)
{
    static const char middle[] = ".kube.";
    size_t length = strlen(server_name);
    size_t tail = strlen(cluster) + sizeof(middle) - 1;
    if (length <= tail || length - tail >= size || strcasecmp(server_name + length - strlen(cluster), cluster) != 0 ||
        strncasecmp(server_name + length - tail, middle, sizeof(middle) - 1) != 0)
        return TP_INVALID;
    for (size_t i = 0; i < length - tail; i++) {
        ret_label[i] = (char)tolower((unsigned char)server_name[i]);
        if (!isxdigit((unsigned char)ret_label[i]) && !(i == 0 && ret_label[i] == 'h'))
            return TP_INVALID;
    }
    ret_label[length - tail] = '\0';
    return TP_OK;
}

/* ---- a refusal ---- */

/* What a Kubernetes client makes of it: 401 asks for credentials anew, 404 and 403 are told as they are. */
static int status_of(enum tp_err code)
{
    switch (code) {
    case TP_UNAUTHENTICATED:
    case TP_EXPIRED:
        return 401;
    case TP_DENIED:
    case TP_MFA_NEEDED:
        return 403;
    case TP_NOT_FOUND:
        return 404;
    case TP_LIMIT:
        return 429;
    case TP_INTERNAL:
        return 500;
    default:
        return 503;
    }
}

struct refusal {
    struct target_front *front;
    struct stream *stream;
    struct http_parser *parser; /* NULL once it is answered */
    struct timer *deadline;
    enum close_reason reason;
    int status;
    char *sentence;
    size_t drained;
};

/* request: NULL when it was not read. */
static void respond(struct stream *stream, const struct http_request *request, int status, const char *sentence)
{
    struct kube_refusal refusal;
    kube_refusal_make(request, status, sentence, &refusal);
    char *head = mem_printf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                            "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                            refusal.status, http_status_text(refusal.status), refusal.type, strlen(refusal.body));
    stream_write(stream, head, strlen(head));
    if (!request || !request->method || strcmp(request->method, "HEAD") != 0)
        stream_write(stream, refusal.body, strlen(refusal.body));
    mem_free(head);
    mem_free(refusal.body);
}

static void answer_refusal(struct refusal *refusal)
{
    respond(refusal->stream, http_parser_request(refusal->parser), refusal->status, refusal->sentence);
    http_parser_free(refusal->parser);
    refusal->parser = NULL;
    /* Our end first; the client's bytes are read on for a moment, else they would turn into a reset that overtakes the
     * answer. */
    stream_shutdown(refusal->stream);
    timer_start(refusal->deadline, LINGER_MS, 0);
}

/* The agent took no stream. The client's request is on its way already, or comes. */
static void say(struct stream *stream, enum close_reason reason, const char *sentence)
{
    respond(stream, NULL, reason == CLOSE_ACCESS_DENIED ? 403 : 503, sentence);
}

static void on_refusal_data(void *ctx, const uint8_t *data, size_t size)
{
    struct refusal *refusal = ctx;
    enum http_step step;
    size_t used;
    if (!refusal->parser) {
        refusal->drained += size;
        if (refusal->drained > DRAIN_MAX)
            stream_close(refusal->stream, refusal->reason);
        return;
    }
    step = http_parser_feed(refusal->parser, data, size, &used);
    if (step == HTTP_FAILED)
        stream_close(refusal->stream, refusal->reason);
    else if (step != HTTP_MORE)
        answer_refusal(refusal);
}

static void on_refusal_eof(void *ctx)
{
    struct refusal *refusal = ctx;
    stream_close_flush(refusal->stream, refusal->reason);
}

static void on_refusal_deadline(void *ctx)
{
    struct refusal *refusal = ctx;
    stream_close(refusal->stream, refusal->reason);
}

static void on_refusal_close(void *ctx, enum close_reason reason)
{
    struct refusal *refusal = ctx;
    struct target_front *front = refusal->front;
    enum close_reason why = refusal->reason;
    (void)reason;
    timer_free(refusal->deadline);
    http_parser_free(refusal->parser);
    mem_free(refusal->sentence);
    mem_free(refusal);
    target_front_closed(front, why);
}

static const struct stream_events refusal_events = {
    .on_data = on_refusal_data,
    .on_eof = on_refusal_eof,
    .on_close = on_refusal_close,
};

static void refuse(struct target_front *front, enum close_reason reason, enum tp_err code, const char *sentence)
{
    struct refusal *refusal = mem_alloc(sizeof(*refusal));
    refusal->front = front;
    refusal->stream = target_front_stream(front);
    refusal->parser = http_parser_new_proxy();
    refusal->reason = reason;
    refusal->status = status_of(code);
    refusal->sentence = mem_strdup(sentence);
    refusal->deadline = timer_new(stream_loop(refusal->stream), on_refusal_deadline, refusal);
    timer_start(refusal->deadline, HEAD_MS, 0);
    stream_set_events(refusal->stream, &refusal_events, refusal);
    stream_resume(refusal->stream);
}

/* ---- the connection ---- */

static const struct target_kind kube_kind = {
    .stream = "kube",
    .method = "kube.connect",
    .hex = true,
    .several = true,
    .last_word = true,
    .offline = "the Kubernetes cluster is offline: no agent that serves it is connected to this proxy now",
    .refuse = refuse,
    .say = say,
};

/* Nothing here ends a quiet connection; a client that is gone without a word is found by the kernel. */
static void keep_alive(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, ALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, ALIVE_STEP_S},
        {IPPROTO_TCP, TCP_KEEPCNT, ALIVE_TRIES},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

void kube_front_serve(struct worker *worker, struct stream *stream, const struct peer *peer)
{
    char label[KUBE_LABEL_MAX + 1];
    enum tp_err err = kube_front_target(peer->server_name, worker->cluster_name, label, sizeof(label));
    struct target_front *front = target_front_new(worker, stream, peer, &kube_kind, err == TP_OK ? label : "");
    keep_alive(stream_fd(stream));
    if (!tls_stream_identity(stream))
        target_front_refuse(front, *tls_stream_failure(stream) ? CLOSE_CERT_REFUSED : CLOSE_CERT_MISSING,
                            TP_UNAUTHENTICATED,
                            "no valid user certificate of this cluster came with the connection (it may have expired): "
                            "sign in with tport login, then run tport kube login");
    else if (err != TP_OK)
        target_front_refuse(front, CLOSE_NO_ROUTE, TP_NOT_FOUND,
                            "the server name (SNI) names no Kubernetes cluster; tport kube login writes it for you");
    else
        target_front_ask(front);
}
