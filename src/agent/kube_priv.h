/* What the files of the Kubernetes service share. */
#ifndef AGENT_KUBE_PRIV_H
#define AGENT_KUBE_PRIV_H

#include "agent/kube.h"
#include "agent/kube_upstream.h"
#include "base/map.h"
#include "kube/kube_filter.h"
#include "kube/kube_headers.h"
#include "kube/kube_path.h"
#include "kube/kube_status.h"
#include "kube/kube_stream.h"
#include "protocols/http/http_client.h"
#include "rbac/kube.h"
#include "tunnel/tunnel.h"

#define KUBE_OUT_HIGH ((size_t)64 * 1024) /* waits for the client: the API server is not read */
#define KUBE_OUT_LOW ((size_t)16 * 1024)
#define KUBE_PIECE ((size_t)16 * 1024) /* of a client's bytes between two looks at the way up */

struct kube {
    struct loop *loop;
    struct kube_line line;
    bool draining;
    struct map *clusters; /* name: struct kube_cluster, those that were asked for */
    struct kube_conn *conns;
    size_t conn_count;
    struct audit_event *events; /* kube.request events that auth has not confirmed, of all connections, oldest first */
    struct audit_event *events_last;
    size_t events_out;              /* how many there are, */
    size_t events_sent;             /* and how many of them are in the call under way */
    void *events_call;              /* or NULL */
    struct map *shares;             /* user to struct share of kube_audit.c: who has some of them */
    struct kube_record *records;    /* sessions, also those whose connection is gone */
    struct kube_pod_question *pods; /* asked about just now (kube_pod.c) */
    struct timer *pods_sweep;       /* or NULL */
    struct seal *pages_seal;
    struct kube_filter_pages pages;
};

enum kube_state {
    KUBE_READ,    /* between requests, and in a head */
    KUBE_HOLD,    /* a body that decides is being read (kube_held.c) */
    KUBE_SWEEP,   /* a deletecollection is done piece by piece (kube_held.c) */
    KUBE_ATTEMPT, /* an upgrade is being put on record before it goes to the cluster */
    KUBE_CONNECT, /* to the API server */
    KUBE_ANSWER,  /* the request goes up, the answer comes down */
    KUBE_DROP,    /* we answered ourselves: what is left of the request's body is read and dropped */
    KUBE_START,   /* the API server has switched protocols; session.start is being put on record */
    KUBE_RAW,     /* both directions are bytes */
    KUBE_LAST,    /* nothing is read any more; the end comes when the client has taken everything */
};

struct kube_attempt;
struct kube_pod;
struct kube_sweep;

/* One request and its answer. */
struct kube_exchange {
    struct kube_request *request; /* what it asks for */
    char *path;                   /* for events: path and query, cut */
    bool holds;                   /* its body is read before it goes anywhere (kube_held.c) */
    bool to_head;                 /* HEAD: an answer without a body */
    bool chunks_known;            /* HTTP/1.1 client: an answer may come in chunks */
    bool client_keeps;            /* the client wants another exchange */
    bool body_done;               /* the request has been read to its end */
    bool body_chunked;
    bool body_sent; /* something of the body went up: it can't be tried again */
    bool no_deadline;
    struct buf head;     /* the request's head for the API server, kept until an answer begins */
    char *identity;      /* header lines: whom we act for, and as whom (secret) */
    json_t *acting;      /* the same for events: kubernetes_users and kubernetes_groups */
    char *login;         /* whom the API server is told */
    const char *upgrade; /* "websocket" or "SPDY/3.1", NULL: none */
    size_t dropped;
    struct buf held; /* the body of a request that it decides */
    char *held_type; /* its Content-Type */
    struct buf copy; /* of the body of a create, for the event (kube_named.c) */
    char *copy_type; /* its Content-Type; NULL: there is none */
    struct kube_sweep *sweep;
    struct kube_upstream *upstream;
    struct http_response_parser *answer;
    bool answered; /* the answer's head has gone down */
    bool answer_chunked;
    bool answer_split; /* of the answer's body, a line has gone down in part */
    bool answer_last;  /* the connection to the client ends with this answer */
    bool filtered;     /* only some items of the answer may be shown */
    struct kube_filter *filter;
    bool filter_failed;
    bool no_room;         /* for its body, or for its answer */
    struct buf late_head; /* of a filtered list: it goes down when the list is understood */
    bool retried;
    bool was_used; /* the connection to the API server had served others before */
    int status;
    struct kube_attempt *attempt; /* of an upgrade: call under way to auth, or NULL */
    struct kube_pod *pod;         /* that the upgrade enters, being asked about, or NULL */
    json_t *facts;                /* kubernetes_*: what the cluster has said about it, or NULL */
};

struct kube_conn {
    struct kube *kube;
    struct kube_conn *next, **prev;
    struct tunnel_stream *down; /* NULL: gone */
    enum kube_state state;
    json_t *grant;
    const char *sid; /* in grant */
    const char *user;
    struct rbac_kube_rules *rules;
    struct kube_cluster *cluster;
    struct buf in; /* came from the client, not yet consumed */
    bool in_eof;
    struct buf out; /* for the client, not yet taken */
    struct http_parser *parser;
    struct kube_exchange x;
    struct kube_record *record; /* of the upgrade */
    struct kube_stream *tap;    /* reads along in what passes then */
    int64_t idle_ms;            /* a terminal without a sign of life for so long is ended; 0: never */
    struct buf switched;        /* came behind 101, waits for session.start */
    int64_t requests_until; /* Unix seconds: the one-time code opened it for requests that begin before; 0: no end */
    struct timer *deadline;
    struct later pump;
    bool pumping;
    bool waits;                 /* with a request until fewer events are unconfirmed, */
    bool waited;                /* and long enough: it is decided now, whatever comes of it */
    bool shut;                  /* our end has been told to the client */
    bool unrecorded;            /* the session does what can't be put on record: it ends */
    bool audit_failed;          /* an event of this connection was refused: no further service */
    enum close_reason farewell; /* the person has been told why it ends; CLOSE_NONE: it ends by itself, or goes on */
    bool ended;                 /* cut: on_close of the tunnel's stream is on its way */
};

/* kube_conn.c: the client's side. */
/* Everything of it, its session's end included. */
void kube_conn_free(struct kube_conn *conn);
/* Bytes for the client. */
void kube_down(struct kube_conn *conn, const void *data, size_t size);
/* The client is slower than the API server: stop reading that one. */
bool kube_down_is_full(const struct kube_conn *conn);
/* Fewer events wait: the requests that waited for that go on. */
void kube_conns_wake(struct kube *kube);
/* Looks at what waits from the client, at the end of this turn. */
void kube_pump_later(struct kube_conn *conn);
/* Ends the connection when the client has taken everything. */
void kube_finish(struct kube_conn *conn);
/* Ends it at once, both sides. */
void kube_cut(struct kube_conn *conn, enum close_reason reason, const char *text);
/* The exchange is over and the client may ask again. */
void kube_next(struct kube_conn *conn);
/* Begins no request any more: the one-time code that opened the connection counts no longer. What runs goes on. */
bool kube_is_past(const struct kube_conn *conn);
/* (Re)starts the connection's one deadline; 0: none. */
void kube_deadline(struct kube_conn *conn, int64_t ms);

/* kube_exchange.c: a request on its way up. */
/* A head is complete in conn->parser. */
void kube_request_begin(struct kube_conn *conn);
/* A piece of its body. */
void kube_request_body(void *ctx, const uint8_t *data, size_t size);
/* Its body is complete. */
void kube_request_end(struct kube_conn *conn);
/* Sends it to the API server (on a new connection for upgrades). */
void kube_send(struct kube_conn *conn);
/* Dials already, and sends nothing yet: kube_send follows, or the exchange ends. */
void kube_dial(struct kube_conn *conn);
/* Drops everything of the exchange, its connection to the API server too. */
void kube_exchange_clear(struct kube_conn *conn);
/* The request's members of kube.request. */
void kube_request_audit(const struct kube_conn *conn, json_t *fields);
/* Requests of that kind are put on record by kube.request. */
bool kube_request_is_audited(const struct kube_conn *conn);
/* The question for the rules. Texts belong to request. */
void kube_request_rbac(const struct kube_request *request, struct rbac_kube_request *ret_asked);
bool kube_request_is_create(const struct kube_request *request);
bool kube_request_is_deletecollection(const struct kube_request *request);
/* The grant lets the person read the pod of the exchange under way. */
bool kube_request_may_read_pod(const struct kube_conn *conn);
/* The way up takes bytes. */
bool kube_can_send(const struct kube_conn *conn);

/* kube_named.c: the name of what is created, for the event. */
/* The request that has been decided goes up: keeps a copy of its body when that names what the URL does not. */
void kube_named_begin(struct kube_conn *conn);
/* What passes of the body, and its end: from here on the request has the name. */
void kube_named_data(struct kube_conn *conn, const void *data, size_t size);
void kube_named_end(struct kube_conn *conn);
/* The name that the body said: it is the request's, unless it is no possible one. */
void kube_named_as(struct kube_conn *conn, const char *name);
void kube_named_free(struct kube_exchange *x);

/* kube_held.c: the body decides (create), or the request is taken apart (deletecollection). */
#define KUBE_HELD_MAX ((size_t)4 * 1024 * 1024) /* API servers take 3 MB */
/* x->head is written but for its framing. */
void kube_held_begin(struct kube_conn *conn);
/* The body is complete in x->held. */
void kube_held_end(struct kube_conn *conn);
void kube_sweep_free(struct kube_sweep *sweep); /* NULL is fine */
/* Bytes of what it is being told by the API server; NULL is fine. */
size_t kube_sweep_kept(const struct kube_sweep *sweep) TP_MUST;

/* kube_room.c: size bytes more may be kept for the connection. */
bool kube_has_room(const struct kube_conn *conn, size_t size);
#define KUBE_NO_ROOM \
    "too much of what the agent has to look through waits already; try again later, or ask for less at a time"

/* kube_review.c */
/* The exchange asks what the person may do, and the rules of the grant may have a word in it: its body is held. */
bool kube_review_is_limited(const struct kube_conn *conn);
/* The answer to the question in x->held when the rules refuse that; NULL: the cluster is to be asked. mem_free it. */
char *kube_review_refusal(const struct kube_conn *conn) TP_MUST;
/* What the answer under way does not say, as a sentence that kubectl shows beside it; NULL: nothing. */
const char *kube_review_warning(const struct kube_conn *conn) TP_MUST;

/* kube_answer.c: the answer on its way down. */
extern const struct kube_upstream_events kube_answer_events;
/* We answer ourselves, with a metav1.Status, and report it. */
void kube_refuse(struct kube_conn *conn, int status, const char *format, ...) TP_PRINTF(3, 4);
/* 403 by the rules of the grant, about the object name ("": none in particular). */
void kube_refuse_forbidden(struct kube_conn *conn, const char *name);
/* We did what was asked ourselves: a Status "Success". */
void kube_answer_success(struct kube_conn *conn);
/* We answer ourselves, with that object. */
void kube_answer_object(struct kube_conn *conn, int status, const char *body);
void kube_answer_late(struct kube_conn *conn);
/* The connection to the API server is open: the request goes up. */
void kube_answer_open(struct kube_conn *conn);
/* The request went up whole: now an answer is due. */
void kube_answer_due(struct kube_conn *conn);
/* The connection to the API server is gone before a byte of an answer; error may be NULL. */
void kube_answer_lost(struct kube_conn *conn, const struct tp_error *error);
/* Passes the head of a 101 answer on. */
void kube_answer_switch(struct kube_conn *conn);
/* A piece of the answer's body goes down, in the framing that its head has named; then its end. */
void kube_answer_body(struct kube_conn *conn, const void *data, size_t size);
void kube_answer_body_end(struct kube_conn *conn);
/* Appends "name: value"; false when it can't stand in a head. */
bool kube_put_header(struct buf *out, const char *name, const char *value);

/* kube_farewell.c: tells the person text as far as what runs allows it, and ends the connection: the API server's side at
 * once, the client's when it has taken what is on its way. Nothing on one that ends already. */
void kube_farewell(struct kube_conn *conn, enum close_reason reason, const char *text);
/* The API server has gone. A client whose command it leaves without a status is told so; the rest is the caller's. */
void kube_farewell_broken(struct kube_conn *conn);

/* kube_upgrade.c */
/* What the client wants to switch to, "websocket" or "SPDY/3.1"; NULL: nothing (that we know). */
const char *kube_upgrade_wanted(const struct http_request *request);
/* Puts the attempt on record; kube_send follows, or a refusal. */
void kube_upgrade_begin(struct kube_conn *conn);
/* The exchange of the attempt is over: its late answer counts no more. NULL is fine. */
void kube_attempt_forget(struct kube_attempt *attempt);
/* 101 has come (head not yet passed on); rest: what came behind it. */
void kube_upgrade_switch(struct kube_conn *conn, const uint8_t *rest, size_t size);
/* The client's bytes while KUBE_RAW. */
void kube_upgrade_client(struct kube_conn *conn, const uint8_t *data, size_t size);
/* The recorder has room again, or has failed. */
void kube_upgrade_wake(struct kube_conn *conn);
void kube_upgrade_clear(struct kube_conn *conn);

/* kube_record.c: one session (exec, attach, port-forward) towards auth; outlives its connection until auth knows its end. */
struct kube_session {
    const char *kind; /* "exec", "attach", "portforward" */
    const char *pod;
    const char *namespace;
    const char *container; /* "" when the client named none */
    const char *login;     /* whom the API server sees */
    const char *command;   /* NULL: none */
    bool tty;
    const json_t *facts; /* kubernetes_*: what the cluster says about the pod; NULL: nothing */
};
/* Sessions with a terminal on this connection are recorded. */
bool kube_record_wanted(const struct kube_conn *conn);
typedef void kube_record_cb(struct kube_conn *conn, const struct tp_error *error);
/* Starts it and sets conn->record: session.start; fn with error NULL when that is durable. On an error conn->record is NULL
 * again. What session points at is copied. */
void kube_record_start(struct kube_conn *conn, const struct kube_session *session, kube_record_cb *fn);
void kube_record_output(struct kube_record *record, const void *data, size_t size);
void kube_record_resize(struct kube_record *record, uint32_t cols, uint32_t rows);
void kube_record_exit(struct kube_record *record, int code);
/* A connection to that port of the pod was opened. false: there are more than an event can hold. */
bool kube_record_port(struct kube_record *record, unsigned port) TP_MUST;
/* Nothing more may be read from the API server until kube_upgrade_wake. */
bool kube_record_is_full(struct kube_record *record);
/* Its connection is going away; the record ends by itself when auth knows. */
void kube_record_end(struct kube_record *record, const char *reason);
/* Drops all without a word. */
void kube_records_free(struct kube *kube);

/* kube_fetch.c */
struct kube_fetch;
struct kube_fetch_request {
    const char *method;
    const char *path;      /* canonical */
    const char *query;     /* NULL: none */
    const char *identity;  /* header lines that say in whose name */
    const char *body_type; /* of the body */
    const void *body;
    size_t body_size;
    size_t limit;      /* most bytes of the answer's body */
    int64_t within_ms; /* for all of it */
    /* May size bytes more of it be kept? NULL: yes, up to limit. */
    bool (*has_room)(void *ctx, size_t size);
};
/* status 0: no answer, a broken one, or one that is too large or had no room; then the body is a sentence, or empty. It is valid
 * during the call only. */
typedef void kube_fetch_cb(void *ctx, int status, const uint8_t *body, size_t size);
/* Exactly one call of fn, never inside the call (the object is gone when it returns), unless cancelled. NULL when there are
 * no credentials. What request points at is copied. */
struct kube_fetch *kube_fetch_start(struct loop *loop, struct kube_cluster *cluster,
                                    const struct kube_fetch_request *request, kube_fetch_cb *fn, void *ctx) TP_MUST;
/* NULL is fine. */
void kube_fetch_cancel(struct kube_fetch *fetch);
/* Bytes of the answer so far; NULL is fine. */
size_t kube_fetch_kept(const struct kube_fetch *fetch) TP_MUST;

/* kube_pod.c */
struct kube_pod_facts {
    const char *node; /* each "" when the cluster does not say */
    const char *container;
    const char *image;
    bool no_terminal; /* the container is known to have none */
};
typedef void kube_pod_cb(void *ctx, const struct kube_pod_facts *facts);
struct kube_pod_name {
    const char *namespace; /* plain path segments */
    const char *pod;
    const char *container; /* "" is the first one */
    const char *identity;  /* header lines that say in whose name it is asked */
};
/* What the API server knows about a pod. At most one call of fn (the object is gone when it returns): within 3 s unless
 * cancelled, or inside the call, and then NULL is returned, when it was asked less than a second ago. NULL without a call of fn:
 * it can't be asked. */
struct kube_pod *kube_pod_ask(struct kube *kube, struct kube_cluster *cluster, const struct kube_pod_name *name,
                              kube_pod_cb *fn, void *ctx) TP_MUST;
/* NULL is fine. */
void kube_pod_cancel(struct kube_pod *pod);
/* Forgets everything; nobody waits any more. Before the clusters go. */
void kube_pods_free(struct kube *kube);

/* kube_page.c */
/* Fills kube->pages and its seal, which is seal_free'd with kube. */
void kube_pages_init(struct kube *kube);

/* kube_audit.c */
/* Events that auth has not confirmed, of the whole agent. */
#define KUBE_EVENTS_MAX 2048 /* no further request is served */
#define KUBE_EVENTS_BUSY \
    512 /* further requests wait, but for those of people who have few: auth is slower than the clients ask */
#define KUBE_EVENTS_LOW 256 /* and go on */
/* Sends an event kube.request for the exchange under way (when such requests are put on record). */
void kube_audit_request(struct kube_conn *conn, int status);
/* The params of that event; status 0: no answer yet. New reference. */
json_t *kube_audit_event(struct kube_conn *conn, int status) TP_MUST;
/* The connection ends: reports the request that went up and has no answer yet, if there is one. The cluster may have done it. */
void kube_audit_unanswered(struct kube_conn *conn);
/* No further request may be served: an event was refused, or too many wait. */
bool kube_audit_is_full(const struct kube_conn *conn);
/* The next request waits: of a person who has much in the queue himself (kube_conns_wake follows when it need not any more). */
bool kube_audit_is_busy(const struct kube_conn *conn);
/* Members that every event about this connection has. New reference. */
json_t *kube_audit_fields(const struct kube_conn *conn) TP_MUST;
void kube_audit_forget(struct kube_conn *conn);
void kube_audit_free(struct kube *kube);

#endif
