/* Certificates whose signature has been checked lately. Workers show the caller's certificate with every call, and a check
 * costs more than most of the calls; what is kept is that exactly these bytes were signed under exactly these CAs. */
#ifndef AUTH_CERT_CACHE_H
#define AUTH_CERT_CACHE_H

#include "base/err.h"
#include "crypt/identity.h"

struct cert_cache;

struct cert_cache *cert_cache_new(void) TP_MUST;
void cert_cache_free(struct cert_cache *cache); /* NULL is fine */

/* As x509_check (crypt/x509.h), of a certificate in base64, with an answer of the last five minutes where there is one: the
 * time is compared with the validity in each call, locks and removals are the caller's to look at in each call. now: Unix
 * seconds. ret_identity is the cache's and good until the next call. A refusal is never kept. */
enum tp_err cert_cache_check(struct cert_cache *cache, const char *base64, const char *ca_pems, int64_t now,
                             const struct identity **ret_identity, struct tp_error *error) TP_MUST;

/* Drops what is too old to be used; how many are left. */
size_t cert_cache_sweep(struct cert_cache *cache, int64_t now);
/* Drops what is remembered of this host, which is one no more. */
void cert_cache_forget_host(struct cert_cache *cache, const char *host_id);

#endif
