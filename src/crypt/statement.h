/*
 * What auth says of whom to trust, signed with the SSH half of the host CA. It reaches agents and people through a worker, which
 * passes it on and must not be able to change it.
 */
#ifndef CRYPT_STATEMENT_H
#define CRYPT_STATEMENT_H

#include "base/json.h"
#include "crypt/key.h"

#define STATEMENT_MAX ((size_t)1024 * 1024)
#define STATEMENT_SECONDS 600 /* so old it may be, or so far ahead; clocks that differ by less do no harm */

/* Puts "statement" (base64 of what answer holds, the cluster and now) into answer, and "signatures" (base64), one by each of the
 * key_count Ed25519 keys. */
enum tp_err statement_sign(json_t *answer, const char *cluster, const struct key *const *keys, size_t key_count,
                           int64_t now) TP_MUST;
/* What is stated there, by one of ca_lines (authorized_keys lines, NULL-terminated) for this cluster, lately. ret_said:
 * json_decref it. TP_NOT_FOUND: the answer has no statement; TP_DENIED with a sentence: it is not theirs. */
enum tp_err statement_open(const json_t *answer, const char *const *ca_lines, const char *cluster, int64_t now,
                           json_t **ret_said, struct tp_error *error) TP_MUST;

#endif
