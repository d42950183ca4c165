/* The calls of docs/protocol-rpc.md as a command-line program makes them: over HTTPS with the profile's certificate, or
 * over the admin socket of this machine; and the few web calls before there is a certificate. */
#ifndef CLI_COMMON_API_H
#define CLI_COMMON_API_H

#include "base/buf.h"
#include "base/json.h"
#include "cli/common/profile.h"

struct api;

/* How an unknown proxy proves itself. */
struct api_trust {
    const char *home;   /* HOME/trusted holds PEM files of CAs, each for one proxy: HOST.pem, HOST_PORT.pem */
    const char *ca_pin; /* "sha256:<hex>" or NULL */
    bool insecure;      /* accept any certificate */
};

/* HTTPS to the proxy's public face. A certificate that nothing vouches for is TP_DENIED with a sentence that says how to go
 * on. api_close it. */
enum tp_err api_open_web(const char *host, uint16_t port, const struct api_trust *trust, struct api **ret_api,
                         struct tp_error *error) TP_MUST;
/* HTTPS with the profile's client certificate; the server must be of the profile's host CA. TP_EXPIRED when the
 * certificate is over. Connects at the first call. */
enum tp_err api_open_profile(const struct profile *profile, struct api **ret_api, struct tp_error *error) TP_MUST;
/* The admin socket. TP_NOT_FOUND when there is none, TP_DENIED when this user may not use it. */
enum tp_err api_open_socket(const char *path, struct api **ret_api, struct tp_error *error) TP_MUST;
/* Is it the admin socket? */
bool api_is_local(const struct api *api);
void api_close(struct api *api); /* NULL is fine */

/* A web call; body NULL: GET, else POST (borrowed). ret_json may be set to NULL when the answer has no JSON. */
enum tp_err api_web(struct api *api, const char *path, const json_t *body, json_t **ret_json,
                    struct tp_error *error) TP_MUST;
/* One method; params are stolen. json_decref ret_result. */
enum tp_err api_rpc(struct api *api, const char *method, json_t *params, json_t **ret_result,
                    struct tp_error *error) TP_MUST;
/* All pages of a method that lists, at most limit items (0: all): an array; json_decref it. params are stolen. */
enum tp_err api_list(struct api *api, const char *method, json_t *params, size_t limit, json_t **ret_items,
                     struct tp_error *error) TP_MUST;

/* A certificate in place of the profile's, as PEM. */
struct api_key {
    const char *cert;
    const char *key;
};
/* What has gone to and fro; zero before the first call. */
struct api_relayed {
    struct buf sent; /* read of standard input; the caller buf_free's it */
    bool begun;      /* bytes of the server are on standard output */
};
/*
 * A byte stream to the SSH server of a node: standard input and output are relayed until both sides are done. key NULL: with
 * the profile's certificate. A proxy that refuses answers with one line "tport: SENTENCE" in place of the SSH greeting; that
 * sentence becomes error, TP_MFA_NEEDED when a one-time code would open the node. relayed
 * goes from one call to the next, which begins with what was read of standard input before.
 */
enum tp_err api_relay_ssh(const struct profile *profile, const char *target, const struct api_key *key,
                          struct api_relayed *relayed, struct tp_error *error) TP_MUST;

#endif
