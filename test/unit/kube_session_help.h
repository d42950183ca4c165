/* What tests of exec, attach and port-forward share: the client's request, and the API server's two ends, of the session and of the
 * question about its pod. */
#ifndef TEST_KUBE_SESSION_HELP_H
#define TEST_KUBE_SESSION_HELP_H

#include "kube_world.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define EXEC(upgrade)                                                                                               \
    "POST /api/v1/namespaces/default/pods/shell/exec?command=sh&command=-c&command=echo+hi&container=main&stdout=1" \
    "&tty=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " upgrade                                       \
    "\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"          \
    "Content-Length: 0\r\n\r\n"

static inline void client_exec(struct world *world, const char *tty)
{
    char *text = mem_printf(EXEC("SPDY/3.1"), tty);
    client_say(world, text);
    mem_free(text);
}

static inline bool session_ended(struct world *world)
{
    return call_of(world, "session.end", NULL, 0) != NULL;
}

static inline bool got_text(const struct api_conn *conn, const char *text)
{
    return memmem(buf_head(&conn->got), buf_size(&conn->got), text, strlen(text)) != NULL;
}

static inline struct api_conn *conn_that_got(struct world *world, const char *text)
{
    struct api_conn *conn = world->api;
    while (conn != NULL && !got_text(conn, text)) {
        conn = conn->next;
    }
    return conn;
}

/* The API server's end of the session, and that of our question about the pod; NULL: not there (yet). */
static inline struct api_conn *session_conn(struct world *world)
{
    return conn_that_got(world, "/shell/exec?");
}

static inline struct api_conn *pod_conn(struct world *world)
{
    return conn_that_got(world, "/pods/shell?resourceVersion=0 HTTP/1.1\r\n");
}

static inline size_t api_bytes(struct world *world)
{
    size_t size = 0;
    for (struct api_conn *conn = world->api; conn != NULL; conn = conn->next) {
        size += buf_size(&conn->got);
    }
    return size;
}

static inline void session_say(struct world *world, const char *data, size_t size)
{
    stream_write(session_conn(world)->stream, data, size);
}

static inline bool both_asked(struct world *world)
{
    struct api_conn *session = session_conn(world), *pod = pod_conn(world);
    return session != NULL && got_text(session, "\r\n\r\n") && pod != NULL && got_text(pod, "\r\n\r\n");
}

/* The request and our question are there; the question is answered. */
static inline void answer_about_pod(struct world *world)
{
    static const char body[] = "{\"spec\":{\"nodeName\":\"node-7\",\"containers\":[{\"name\":\"side\"},{\"name\":"
                               "\"main\",\"image\":\"busybox:1\"}]}}";
    char head[80];
    run_until(world, both_asked);
    (void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof(body) - 1);
    stream_write(pod_conn(world)->stream, head, strlen(head));
    stream_write(pod_conn(world)->stream, body, sizeof(body) - 1);
}

static inline bool half_a_second_later(struct world *world)
{
    if (world->deadline_ms == 0) {
        world->deadline_ms = loop_now_ms(world->loop) + 500;
    }
    return loop_now_ms(world->loop) >= world->deadline_ms;
}

static inline bool attempt_is_under_way(struct world *world)
{
    return call_of(world, "session.event", "kube.request", 0) != NULL;
}

static inline bool session_is_closed(struct world *world)
{
    return session_conn(world) == NULL || session_conn(world)->closed;
}

static inline bool kube_is_done(struct world *world)
{
    return kube_is_idle(world->kube);
}

#endif
