/*
 * For tests of the agent's Kubernetes proxy: it stands between a real tunnel (over a socketpair) and an API server that the
 * test plays on a loopback port; the test plays auth too.
 */
#ifndef TEST_KUBE_WORLD_H
#define TEST_KUBE_WORLD_H

#include "agent/kube.h"
#include "agent/kube_config.h"

#include "core/stream.h"
#include "tunnel/tunnel.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct api_conn {
    struct world *world;
    struct stream *stream;
    struct buf got;
    struct api_conn *next;
    bool closed;
};

struct pending;

struct world {
    struct loop *loop;
    struct tunnel *near, *far; /* the worker's end, the agent's end */
    struct stream *near_end, *far_end;
    struct kube *kube;
    struct kube_cluster_conf conf;
    json_t *grant;
    struct tunnel_stream *client;
    struct buf got;
    bool slow; /* the client takes nothing */
    size_t untaken;
    size_t sent;
    bool near_ready;
    bool client_eof, client_closed;
    enum close_reason client_reason;
    int listener;
    struct watch *accepts;
    struct api_conn *api; /* newest first */
    size_t api_count;
    json_t *calls; /* [{method, params}] in order */
    const char *refuse_method;
    bool away;         /* auth: requests fail, reports wait */
    unsigned lost;     /* answers to the next requests are lost on their way */
    int64_t answer_ms; /* auth takes so long */
    struct pending *pendings;
    size_t confirmed;   /* events */
    size_t most_events; /* in one call */
    size_t most_bytes;  /* of such a call, as JSON */
    bool (*until)(struct world *world);
    struct timer *look, *patience;
    bool late;
    int64_t deadline_ms; /* for a test */
};

#define RULE(kind, name_space, name)                                                               \
    "{\"kind\":\"" kind "\",\"api_group\":\"*\",\"namespace\":\"" name_space "\",\"name\":\"" name \
    "\",\"verbs\":[\"*\"]}"
#define ALL_OPEN "{\"allowed\":[" RULE("*", "*", "*") "],\"denied\":[]}"

#define GET_PODS "GET /api/v1/namespaces/default/pods?limit=500 HTTP/1.1\r\nHost: x\r\n"
#define OK_ANSWER                                                                                           \
    "HTTP/1.1 200 OK\r\nAudit-Id: 7\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: " \
    "X-Secret\r\nX-Secret: 1\r\n\r\n{}"

/* With a connection that is open; free it with world_free, which ends everything. */
struct world *world_new(void);
void world_free(struct world *world);
/* The next connection's grant; resources: its rules, as JSON. */
void set_grant(struct world *world, const char *resources);
/* A new connection of the client through the tunnel. */
void client_open(struct world *world);
void client_say(struct world *world, const char *text);
/* The API server answers on its newest connection. */
void api_say(struct world *world, const char *text);
/* What it has got there, as text; valid until the next call. */
char *api_got(struct world *world);
/* The params of the nth call of that method (and event, NULL: any), or NULL. */
json_t *call_of(struct world *world, const char *method, const char *event, size_t n);
/* Runs the loop until that is true; the test fails when it does not become so. */
void run_until(struct world *world, bool (*until)(struct world *world));
bool api_has_head(struct world *world);
bool client_has_head(struct world *world);
bool client_is_closed(struct world *world);
bool api_is_closed(struct world *world);
/* text has word that often, in any case. */
bool has_count(const char *text, const char *word, size_t count);
bool client_has_503(struct world *world);

#endif
