/* A connection that ends by our will while something runs on it: whoever sits in front of it is told why, in the way that
 * the exchange under way allows, and then both sides end. */
#include "agent/kube_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>

#define FAREWELL_MS 500 /* for the client to read it and to close its half */

static void end_raw(struct kube_conn *conn, int code, const char *text)
{
    struct buf out;
    buf_init(&out, 0);
    if (conn->tap != NULL && kube_stream_farewell(conn->tap, code, text, conn->x.request->tty, &out) == TP_OK) {
        kube_down(conn, buf_head(&out), buf_size(&out));
    }
    buf_free(&out);
}

void kube_farewell_broken(struct kube_conn *conn)
{
    if (conn->down == NULL || conn->ended || conn->in_eof || conn->tap == NULL || !kube_stream_owes_status(conn->tap)) {
        return;
    }
    char *text = mem_printf("the API server of %s closed the connection before it said how the command ended",
                            kube_cluster_conf(conn->cluster)->name);
    log_info("kubernetes session broken off", "sid=%s reason=\"%s\"", conn->sid, text);
    end_raw(conn, 503, text);
    mem_free(text);
}

/* A watch of JSON documents, between two of them, can be told by one more. */
static void end_watch(struct kube_conn *conn, const char *text)
{
    struct kube_exchange *x = &conn->x;
    const struct http_response *response = http_response_parser_response(x->answer);
    const char *type = http_response_header(response, "content-type");
    if (!x->request->is_watch || x->answer_split || response->has_length || type == NULL ||
        strncasecmp(type, "application/json", 16) != 0) {
        return;
    }
    char *status = kube_status_body(403, text);
    char *event = mem_printf("{\"type\":\"ERROR\",\"object\":%.*s}\n", (int)strcspn(status, "\n"), status);
    kube_answer_body(conn, event, strlen(event));
    kube_answer_body_end(conn);
    mem_free(event);
    mem_free(status);
}

void kube_farewell(struct kube_conn *conn, enum close_reason reason, const char *text)
{
    struct kube_exchange *x = &conn->x;
    if (conn->down == NULL || conn->ended || conn->state == KUBE_LAST) {
        return;
    }
    log_info("kubernetes connection is ended", "sid=%s reason=%s", conn->sid, close_name(reason));
    if (conn->state == KUBE_RAW) {
        end_raw(conn, 403, text);
    } else if (conn->state == KUBE_ANSWER && x->answered) {
        end_watch(conn, text);
    } else if (conn->state != KUBE_READ && conn->state != KUBE_DROP) {
        x->answer_last = true;
        kube_refuse(conn, 403, "%s", text); /* which finishes the connection */
    }
    kube_record_end(conn->record, close_name(reason));
    conn->record = NULL;
    kube_upgrade_clear(conn);
    if (conn->state != KUBE_LAST) {
        kube_finish(conn);
    }
    conn->farewell = reason;
    kube_deadline(conn, FAREWELL_MS);
}

void kube_session_cut(struct kube *kube, const char *sid, enum close_reason reason, const char *text)
{
    struct kube_conn *next;
    for (struct kube_conn *conn = kube->conns; conn != NULL; conn = next) {
        next = conn->next;
        if (strcmp(conn->sid, sid) == 0) {
            kube_farewell(conn, reason, text);
        }
    }
}
