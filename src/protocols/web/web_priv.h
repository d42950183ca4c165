/* What the files of src/protocols/web share. */
#ifndef WEB_WEB_PRIV_H
#define WEB_WEB_PRIV_H

#include "base/json.h"
#include "protocols/http/http_server.h"
#include "protocols/web/web.h"
#include "protocols/web/web_assets.h"
#include "protocols/web/web_words.h"

#define WEB_PARAMS_MAX 2
#define WEB_CSRF_COOKIE "__Host-grv_csrf"
#define WEB_SESSION_COOKIE "__Host-session"
#define WEB_CSRF_SIZE 65 /* 32 bytes in hex and the NUL */

struct web_request;

enum web_who { WEB_ANONYMOUS, WEB_SESSION, WEB_CERT };
/* JSON; JSON with a body as large as a resource; HTML; HTML by a form's POST (needs the CSRF token); a WebSocket, whose owner
 * calls the method later */
enum web_shape { WEB_API, WEB_LARGE, WEB_PAGE, WEB_FORM, WEB_SOCKET };

/* Builds the params of the call. */
typedef enum tp_err web_begin_fn(struct web_request *request, json_t **ret_params, struct tp_error *error);
/* Answers. result is auth's, borrowed; NULL for routes without a call. */
typedef void web_finish_fn(struct web_request *request, json_t *result);
/* Answers after a refusal. */
typedef void web_failed_fn(struct web_request *request, const struct tp_error *error);

/* One thing that can be asked of us (R1, R2). No row, no route. */
struct web_route {
    const char *method;
    const char *path; /* ":name" stands for one segment */
    enum web_who who;
    const char
        *rpc; /* the method of auth that decides; ":method" for the one named in the path; NULL: nothing to decide */
    const char *then; /* a second method that may be called to show the answer, or NULL */
    const char *verb; /* what the caller does, in words; the right itself is in docs/protocol-rpc.md */
    enum web_shape shape;
    web_begin_fn *begin;   /* NULL: no params */
    web_finish_fn *finish; /* NULL: what auth says is the answer as it stands */
    web_failed_fn *failed; /* NULL: the error as JSON or page */
};

/* The table and its size. */
const struct web_route *web_routes(size_t *ret_count);
/* The row for method and canonical path ("/v1" in front is fine; HEAD is GET). Path parameters go to params (mem_free
 * them), or nowhere when that is NULL. NULL: no row; *ret_allowed is then true when another method has one. */
const struct web_route *web_route_find(const char *method, const char *path, char *params[WEB_PARAMS_MAX],
                                       bool *ret_allowed);
/* The methods of auth that a user may call through /webapi/rpc/METHOD. */
bool web_route_is_user_method(const char *method);

/* A program that hosts may download. */
#define WEB_FILES_MAX 4
struct web_file {
    char *name;
    char *sha256;
    uint64_t size;
    int fd;
};

struct web_session_cookie {
    char *user;
    char *sid;
};

struct web_conn;
struct rpc;

/* web_bodies.c: bodies above WEB_SMALL_BODY. */
#define WEB_SMALL_BODY ((size_t)40 * 1024)
#define WEB_LARGE_BODY ((size_t)2 * 1024 * 1024) /* a resource of 1 MB, escaped */
/* Those that a worker holds. */
struct web_bodies {
    struct web_body *first;
};
/* Leave to send one, from before its first byte until its request has been answered. */
struct web_body;
/* TP_UNAVAILABLE: the worker or this person has as many as may be. */
enum tp_err web_body_take(struct web_bodies *bodies, const char *user, struct web_body **ret_body,
                          struct tp_error *error) TP_MUST;
/* NULL is fine. */
void web_body_give(struct web_body *body);
/* The web is gone; what is given back afterwards is not counted. */
void web_bodies_end(struct web_bodies *bodies);
/* body is the callee's, or NULL: error says why (TP_TOO_LARGE: he may write nothing that is large; TP_UNAVAILABLE). */
typedef void web_body_fn(void *ctx, struct web_body *body, const struct tp_error *error);
/* Asks auth whether this caller (stolen) may write what large bodies hold. done is called later, exactly once unless it is
 * forgotten. */
struct web_hold *web_body_ask(struct web_bodies *bodies, struct rpc *auth, json_t *caller, web_body_fn *done,
                              void *ctx) TP_MUST;
void web_hold_forget(struct web_hold *hold); /* NULL is fine */

struct web_request {
    struct web_conn *conn; /* NULL: the connection is gone, only the reply of auth is still awaited */
    struct http_exchange *exchange;
    const struct web_route *route;
    char *params[WEB_PARAMS_MAX];
    json_t *caller;
    json_t *body;           /* of API routes with a body */
    struct web_body *large; /* of a large one, else NULL */
    int64_t started_ms;
    bool waiting;             /* a call to auth is under way */
    struct tp_error kept;     /* what was refused, while the page around it is fetched */
    enum web_word fault;      /* what is wrong with the form, found here; WORD_NONE: kept says it */
    char csrf[WEB_CSRF_SIZE]; /* "": the cookie brought none; see web_csrf */
    bool csrf_new;
};

const struct http_request *web_http(const struct web_request *request);
const struct web_options *web_options(const struct web_request *request);
/* Calls the route's second method; done answers. params are stolen. */
void web_call_then(struct web_request *request, json_t *params, web_finish_fn *done, web_failed_fn *failed);

/* What a form of this page must send back: the cookie's, or a new one that web_answer_page then sends as a cookie. Lives as
 * long as the request. */
const char *web_csrf(struct web_request *request);

/* Answers: exactly one per request, which is gone afterwards. json is stolen. */
void web_answer_json(struct web_request *request, int status, json_t *json);
void web_answer_json_cookie(struct web_request *request, int status, json_t *json, const char *set_cookie);
void web_answer_error(struct web_request *request, const struct tp_error *error);
/* The route's own way to fail. */
void web_answer_failed(struct web_request *request, const struct tp_error *error);
/* HTML with the CSRF cookie when a new one was made. script: it loads one, which its policy then allows. page is wiped. */
void web_answer_page(struct web_request *request, int status, bool script, struct buf *page);
void web_answer_text(struct web_request *request, const char *content_type, const char *text);
void web_answer_redirect(struct web_request *request, const char *to);
/* A program, read while it is sent. */
void web_answer_file(struct web_request *request, const struct web_file *file);
/* The programs that are there. */
const struct web_file *web_files(const struct web_request *request, size_t *ret_count);
/* A text that nobody keeps, with this status. */
void web_answer_plain(struct web_request *request, int status, const char *text);
/* Bytes that are shown by our pages only, with at most WEB_EXTRA_MAX headers besides the usual ones. */
#define WEB_EXTRA_MAX 2
void web_answer_bytes(struct web_request *request, const char *content_type, const struct buf *bytes,
                      const struct http_header *extra, size_t extra_count);
/* A file of the UI. for_ever: its name changes with its content. plain (with its context): where its bytes come from for who
 * does not take gzip; else NULL. */
void web_answer_asset(struct web_request *request, const struct web_asset *asset, bool for_ever,
                      const struct http_source *plain, void *plain_ctx);

/* web_source.c: bodies for http_exchange_respond_source; ..._from makes the context, which the exchange frees. */
extern const struct http_source web_file_source, web_fixed_source;
void *web_file_from(const struct web_file *file) TP_MUST;
/* body must stay what it is for ever. */
void *web_fixed_from(const void *body) TP_MUST;

/* Gives the connection away after a WebSocket handshake (web_socket.c). The request is gone. */
void web_hand_over(struct web_request *request, const char *accept, const char *session, const json_t *params);
/* web_socket.c: checks the handshake and where it comes from, then web_hand_over; or answers an error. */
void web_socket_start(struct web_request *request);

/* web_check.c */
/* The caller that a request of a web session names, or NULL when it names none. Auth checks it. */
json_t *web_session_caller(const struct http_request *http, const char *addr) TP_MUST;
/* The body as JSON, where the route takes JSON; the type of a form. */
enum tp_err web_check_body(struct web_request *request, struct tp_error *error) TP_MUST;
/* Takes the CSRF cookie; a form must repeat it. */
enum tp_err web_check_csrf(struct web_request *request, struct tp_error *error) TP_MUST;

/* web_cookie.c */
/* The value of cookie name in a Cookie header; mem_free it. TP_INVALID when present twice or not a cookie value. */
enum tp_err web_cookie_get(const char *header, const char *name, char **ret_value) TP_MUST;
/* Hex of {"user","sid"}. */
char *web_cookie_session_text(const char *user, const char *sid) TP_MUST;
enum tp_err web_cookie_session_parse(const char *value, struct web_session_cookie *ret_cookie) TP_MUST;
void web_cookie_session_free(struct web_session_cookie *cookie);
/* The token of "Authorization: Bearer TOKEN", or NULL; points into header. */
const char *web_cookie_bearer(const char *header);
/* Double submit: both are there, 64 hex digits, and the same. */
bool web_cookie_csrf_matches(const char *cookie, const char *field);
void web_cookie_csrf_new(char out[WEB_CSRF_SIZE]);
/* A request from another site's page, as far as the browser says so. */
bool web_cookie_is_cross_site(const struct http_request *request, bool form);

/* web_html.c: the only place that puts foreign text into HTML. */
void web_html_text(struct buf *out, const char *text);
/* A whole page around body, which is HTML in that language. script: the name of the asset that it loads, or NULL. */
void web_html_page(struct buf *out, enum web_language language, const char *title, const char *cluster,
                   const char *script, const char *body);
/* A QR code as PNG in base64, or NULL when text is too long for one. */
char *web_qr_base64(const char *text) TP_MUST;

/* The X.509 host CA out of host_signers of an answer, as PEM, appended to out; TP_INVALID when there is none. */
enum tp_err web_host_cas(struct buf *out, const json_t *result) TP_MUST;
/* web_lists.c: parts of what lists are asked for. */
/* limit and startKey of the query; TP_INVALID for a limit that is none. */
enum tp_err web_put_paging(const struct http_request *http, json_t *params, struct tp_error *error) TP_MUST;
/* The same, and search (words), labels (a JSON object of texts) and sort, which is this one where the query has none. */
enum tp_err web_put_list(const struct http_request *http, const char *sort, json_t *params,
                         struct tp_error *error) TP_MUST;
/* Params of resources.get for a page of resources of that kind. */
enum tp_err web_put_resources(const struct web_request *request, const char *kind, const char *sort,
                              json_t **ret_params, struct tp_error *error) TP_MUST;
/* One value of the query under its own name, unless it is absent or empty. */
void web_put_text(const struct http_request *http, const char *name, json_t *params);
/* "a b" or "a;b" as a JSON list. */
json_t *web_split(const char *text, const char *separators) TP_MUST;

/* A text that the body has in base64, as JSON; NULL when it is no base64 of UTF-8 without NULs. */
json_t *web_base64_text(const json_t *body, const char *key) TP_MUST;

/* TP_NOT_FOUND unless the path's first parameter names this cluster. */
enum tp_err web_check_cluster(const struct web_request *request, struct tp_error *error) TP_MUST;

/* The language that the browser asks for. */
enum web_language web_language(const struct web_request *request);
/* web_pages.c: answers with a page that says what did not work. */
void web_page_error(struct web_request *request, const struct tp_error *error);

/* Handlers of the table. */
web_begin_fn web_login_begin, web_mfa_session_begin, web_session_begin, web_token_begin, web_token_put_begin,
    web_join_begin, web_cluster_begin, web_nodes_begin, web_events_begin, web_ended_begin, web_users_begin,
    web_roles_begin, web_export_begin, web_rpc_begin, web_code_begin, web_password_begin;
web_finish_fn web_ping_finish, web_find_finish, web_mfa_begin_finish, web_mfa_session_finish, web_login_finish,
    web_session_finish, web_session_end_finish, web_token_finish, web_token_put_finish, web_join_finish,
    web_sites_finish, web_nodes_finish, web_kubernetes_finish, web_events_finish, web_ended_finish, web_users_finish,
    web_roles_finish, web_export_finish, web_root_finish, web_style_finish, web_invite_finish, web_code_finish,
    web_password_finish;
/* For the browser UI. */
web_begin_fn web_context_begin, web_user_add_begin, web_user_set_begin, web_user_reset_begin, web_user_rm_begin,
    web_role_rm_begin, web_token_rm_begin, web_lock_rm_begin, web_tokens_begin, web_locks_begin, web_lock_add_begin;
web_finish_fn web_done_finish, web_link_finish, web_role_check_finish, web_role_add_finish, web_role_set_finish,
    web_items_finish, web_checkpoint_finish, web_motd_finish, web_context_finish, web_app_finish, web_asset_finish;
web_failed_fn web_invite_failed, web_code_failed, web_password_failed;
/* web_access.c: who can reach what. */
web_begin_fn web_reach_begin, web_explain_begin;
web_finish_fn web_pass_finish;
/* web_kube.c: a kubeconfig for a file. */
web_begin_fn web_kubeconfig_begin;
web_finish_fn web_kubeconfig_finish;
/* What people change about themselves (web_account.c). */
web_begin_fn web_own_password_begin, web_device_add_begin, web_device_begin, web_own_session_begin;
web_finish_fn web_device_new_finish;
/* Recordings (web_recordings.c) and the page that plays them. */
web_begin_fn web_stream_begin;
web_finish_fn web_stream_finish, web_player_finish;
/* Running sessions (web_running.c). */
web_begin_fn web_running_begin, web_running_end_begin, web_watch_begin;
web_finish_fn web_running_finish;
/* web_join.c: hosts that join. */
web_begin_fn web_token_add_begin, web_joined_begin, web_script_begin;
web_finish_fn web_token_add_finish, web_items_of_hosts_finish, web_script_finish, web_program_finish;
web_failed_fn web_script_failed;

#endif
