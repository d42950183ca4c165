/*
 * The agent's Kubernetes proxy between a client, an API server and auth that do what they like. The input is a program: each
 * step is bytes of one of the two, an end, an answer of auth, a cut, or time for the loop. Long conversations are
 * reached by whole requests and answers to choose from. Whatever happens, everything ends when it is told to, the header
 * that the API server keeps to its connection never reaches the client, and no request reaches it as somebody else.
 */
#include "../unit/kube_world.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step {
    STEP_CLIENT_BYTES,
    STEP_CLIENT_WHOLE,
    STEP_API_BYTES,
    STEP_API_WHOLE,
    STEP_TIME,
    STEP_CLIENT_END,
    STEP_CLIENT_RESET,
    STEP_API_CLOSE,
    STEP_AUTH_REFUSES,
    STEP_AUTH_AGREES,
    STEP_CUT,
    STEP_CLIENT_SLOW,
    STEP_CLIENT_TAKES,
    STEP_CLIENT_AGAIN,
    STEP_DRAIN,
    STEP_POD_WHOLE,
    STEP_COUNT
};

#define POD "/api/v1/namespaces/default/pods/shell"
#define EXEC "GET " POD "/exec?command=sh&container=main&stdin=true&stdout=true&tty=true HTTP/1.1\r\nHost: x\r\n"

static const char *const requests[] = {
    GET_PODS "\r\n",
    GET_PODS "Impersonate-User: somebody\r\n\r\n",
    "GET /api/v1/namespaces/default/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n",
    "HEAD " POD " HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: "
    "application/json\r\n\r\n{}",
    "PUT " POD " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "DELETE /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: x\r\n\r\n",
    EXEC "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n",
    EXEC "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
};

static const char *const answers[] = {
    OK_ANSWER,
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    "2\r\n{}\r\n0\r\n\r\n",
    "0\r\n\r\n",
    "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 72\r\n\r\n"
    "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[         ]}  ",
};

/* Rules that let all pass, and such that lists have to be read. */
static const char *const rules[] = {
    ALL_OPEN, "{\"allowed\":[" RULE("pods", "default", "a*") "],\"denied\":[]}",
    "{\"allowed\":[" RULE("*", "*", "*") "],\"denied\":[" RULE("pods", "default", "secret") "]}"};

static unsigned turns;
static bool plain; /* only whole requests and answers so far, nothing switched: what passed can be understood */

static bool turned(struct world *world)
{
    (void)world;
    return turns-- == 0;
}

static void client_bytes(struct world *world, const void *data, size_t size)
{
    if (world->client != NULL && size > 0) {
        (void)!tunnel_stream_write(world->client, data, size);
    }
}

/* The newest connection that carries our question about a session's pod, or the newest of the others. */
static struct api_conn *api_conn(struct world *world, bool question)
{
    static const char text[] = "GET " POD "?resourceVersion=0 HTTP/1.1\r\n";
    struct api_conn *conn = world->api;
    while (conn != NULL &&
           (memmem(buf_head(&conn->got), buf_size(&conn->got), text, sizeof text - 1) != NULL) != question) {
        conn = conn->next;
    }
    return conn;
}

static void api_bytes(struct world *world, bool question, const void *data, size_t size)
{
    struct api_conn *conn = api_conn(world, question);
    if (conn != NULL && conn->stream != NULL && size > 0) {
        stream_write(conn->stream, data, size);
    }
}

static void again(struct world *world)
{
    if (world->near != NULL && world->client == NULL) {
        client_open(world);
    }
}

static void do_step(struct world *world, enum step step, const uint8_t *data, size_t size)
{
    uint8_t first = size > 0 ? data[0] : 0;
    switch (step) {
    case STEP_CLIENT_BYTES:
        plain = false;
        client_bytes(world, data, size);
        break;
    case STEP_CLIENT_WHOLE: {
        const char *text = requests[first % (sizeof requests / sizeof *requests)];
        client_bytes(world, text, strlen(text));
        break;
    }
    case STEP_API_BYTES:
        plain = false;
        api_bytes(world, false, data, size);
        break;
    case STEP_POD_WHOLE:
    case STEP_API_WHOLE: {
        const char *text = answers[first % (sizeof answers / sizeof *answers)];
        /* What follows these is bytes of a stream, or of a body that ends with the connection. */
        plain = plain && strstr(text, " 101 ") == NULL && strstr(text, "HTTP/1.0") == NULL;
        api_bytes(world, step == STEP_POD_WHOLE, text, strlen(text));
        break;
    }
    case STEP_TIME:
        turns = first % 4U;
        run_until(world, turned);
        break;
    case STEP_CLIENT_END:
        if (world->client != NULL) {
            tunnel_stream_shutdown(world->client);
        }
        break;
    case STEP_CLIENT_RESET:
        if (world->client != NULL) {
            tunnel_stream_close(world->client, CLOSE_CLIENT_CLOSED, "");
        }
        break;
    case STEP_API_CLOSE:
        if (api_conn(world, false) != NULL && api_conn(world, false)->stream != NULL) {
            stream_close(api_conn(world, false)->stream, CLOSE_SHUTDOWN);
        }
        break;
    case STEP_AUTH_REFUSES:
        world->refuse_method = first % 2 != 0 ? "session.start" : "session.event";
        break;
    case STEP_AUTH_AGREES:
        world->refuse_method = NULL;
        break;
    case STEP_CUT:
        kube_session_cut(world->kube, "sid-1", CLOSE_LOCKED, "a lock is in force");
        break;
    case STEP_CLIENT_SLOW:
        world->slow = true;
        break;
    case STEP_CLIENT_TAKES:
        world->slow = false;
        if (world->client != NULL && world->untaken > 0) {
            tunnel_stream_consume(world->client, world->untaken);
        }
        world->untaken = 0;
        break;
    case STEP_CLIENT_AGAIN:
        again(world);
        break;
    case STEP_DRAIN:
        kube_drain(world->kube);
        break;
    case STEP_COUNT:
        break;
    }
}

static void check_what_passed(struct world *world)
{
    if (strstr(buf_text(&world->got), "X-Secret: 1") != NULL) {
        abort();
    }
    for (struct api_conn *conn = world->api; conn != NULL; conn = conn->next) {
        if (strcasestr(buf_text(&conn->got), "impersonate-user: somebody") != NULL) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *world = world_new();
    size_t at = 1;
    plain = true;
    world->answer_ms = 0;
    if (size > 0) {
        set_grant(world, rules[data[0] % (sizeof rules / sizeof *rules)]);
        tunnel_stream_close(world->client, CLOSE_CLIENT_CLOSED, "");
        world->client = NULL;
        turns = 1;
        run_until(world, turned);
        again(world);
    }
    while (at + 2 <= size) {
        enum step step = (enum step)(data[at] % STEP_COUNT);
        size_t length = data[at + 1];
        at += 2;
        length = length < size - at ? length : size - at;
        do_step(world, step, data + at, length);
        at += length;
    }
    turns = 2;
    run_until(world, turned);
    if (plain) {
        check_what_passed(world);
    }
    world_free(world);
    return 0;
}
