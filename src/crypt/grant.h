/* The signed statement that auth gives for one access (docs/protocol-rpc.md, Grant). */
#ifndef CRYPT_GRANT_H
#define CRYPT_GRANT_H

#include "base/json.h"
#include "crypt/key.h"

/* Appends the signed form of the object to out. key must be Ed25519. */
enum tp_err grant_sign(const struct key *key, const json_t *grant, struct buf *out) TP_MUST;
/* Checks the signature with one of key_count public keys, version, "expires" against now, and that host_id and service
 * are ours. The caller json_decref's ret_grant. TP_DENIED with a sentence otherwise. */
enum tp_err grant_open(const uint8_t *data, size_t size, const uint8_t (*keys)[32], size_t key_count,
                       const char *host_id, const char *service, int64_t now, json_t **ret_grant,
                       struct tp_error *error) TP_MUST;

/* What a grant says, for who has it from auth itself and so needs no signature. The caller json_decref's ret_grant. */
enum tp_err grant_peek(const uint8_t *data, size_t size, json_t **ret_grant) TP_MUST;

#endif
