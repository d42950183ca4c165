/* A connection and what all of a worker's have in common; for web.c and web_answer.c. */
#ifndef WEB_WEB_CONN_H
#define WEB_WEB_CONN_H

#include "protocols/web/web_priv.h"

struct web_conn {
    struct web *web; /* NULL once the web is gone */
    struct web_conn *next;
    struct web_conn **prev;
    struct http_server *server;
    struct web_request *request;
    struct web_hold *hold; /* a large body waits for auth's word */
    const struct web_route *held;
    struct web_body *large; /* of the request that is being read */
    char *addr;
    char *cert; /* base64 of DER, or NULL */
    char *user; /* of cert, or NULL */
    uint64_t id;
};

struct web {
    bool draining; /* each further connection gets one answer */
    struct web_bodies bodies;
    struct loop *loop;
    struct web_options options;
    struct web_conn *first;
    size_t count;
    struct web_file files[WEB_FILES_MAX];
    size_t file_count;
};

void web_request_free(struct web_request *request);
/* web_answer.c: what auth said, as it stands. */
void web_answer_json_text(struct web_request *request, const char *text, size_t size);
/* Answers a request whose body is not read. */
void web_refuse_body(struct web_conn *conn, const struct tp_error *error);

#endif
