#include "auth/cert_cache.h"

#include "base/enc.h"
#include "base/map.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "crypt/x509.h"

#include <string.h>

#define KEPT_SECONDS 300
#define KEPT_MAX 1024 /* some 2 MB; then all are forgotten */
#define CERT_MAX (64 * 1024)

struct checked {
    struct identity identity;
    int64_t when; /* Unix seconds */
};

struct cert_cache {
    struct map *entries; /* by digest() */
};

static void free_entry(void *ctx, const char *key, void *value)
{
    struct checked *entry = value;
    (void)ctx;
    (void)key;
    identity_free(&entry->identity);
    mem_free(entry);
}

static void forget_all(struct cert_cache *cache)
{
    map_each(cache->entries, free_entry, NULL);
    map_free(cache->entries);
    cache->entries = map_new();
}

struct cert_cache *cert_cache_new(void)
{
    struct cert_cache *cache = mem_alloc(sizeof *cache);
    cache->entries = map_new();
    return cache;
}

void cert_cache_free(struct cert_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    map_each(cache->entries, free_entry, NULL);
    map_free(cache->entries);
    mem_free(cache);
}

/* The trusted CAs are part of it: what was checked under others counts for nothing. */
static char *digest(const char *base64, const char *ca_pems)
{
    uint8_t hash[32];
    struct crypt_sha256_stream *stream = crypt_sha256_new();
    crypt_sha256_add(stream, ca_pems, strlen(ca_pems) + 1);
    crypt_sha256_add(stream, base64, strlen(base64));
    crypt_sha256_finish(stream, hash);
    return enc_hex(hash, sizeof hash);
}

static enum tp_err check(const char *base64, const char *ca_pems, int64_t now, struct identity *ret_identity,
                         struct tp_error *error)
{
    struct buf der;
    buf_init(&der, CERT_MAX);
    enum tp_err err = dec_base64(base64, strlen(base64), &der);
    if (err != TP_OK) {
        err = err_set(error, TP_INVALID, "the certificate is not base64");
    } else {
        err = x509_check(buf_head(&der), buf_size(&der), ca_pems, now, ret_identity, error);
    }
    buf_free(&der);
    return err;
}

static bool is_good(const struct checked *entry, int64_t now)
{
    return entry->when <= now && now < entry->when + KEPT_SECONDS && entry->identity.not_before <= now &&
           now <= entry->identity.not_after;
}

enum tp_err cert_cache_check(struct cert_cache *cache, const char *base64, const char *ca_pems, int64_t now,
                             const struct identity **ret_identity, struct tp_error *error)
{
    char *key = digest(base64, ca_pems);
    struct checked *entry = map_get(cache->entries, key);
    enum tp_err err = TP_OK;
    bool good = entry != NULL && is_good(entry, now);
    if (!good) {
        struct identity identity;
        if (entry != NULL) {
            free_entry(NULL, key, map_remove(cache->entries, key));
        }
        err = check(base64, ca_pems, now, &identity, error);
        if (err == TP_OK) {
            if (map_count(cache->entries) >= KEPT_MAX) {
                forget_all(cache);
            }
            entry = mem_alloc(sizeof *entry);
            *entry = (struct checked){.identity = identity, .when = now};
            (void)map_set(cache->entries, key, entry);
        }
    }
    if (err == TP_OK) {
        *ret_identity = &entry->identity;
    }
    mem_free(key);
    return err;
}

struct drop {
    struct map *entries;
    int64_t now;
    const char *host_id;
};

static void drop_old(void *ctx, const char *key, void *value)
{
    const struct drop *drop = ctx;
    if (!is_good(value, drop->now)) {
        free_entry(NULL, NULL, map_remove(drop->entries, key));
    }
}

size_t cert_cache_sweep(struct cert_cache *cache, int64_t now)
{
    map_each(cache->entries, drop_old, &(struct drop){.entries = cache->entries, .now = now});
    return map_count(cache->entries);
}

static void drop_host(void *ctx, const char *key, void *value)
{
    const struct drop *drop = ctx;
    const struct checked *entry = value;
    if (entry->identity.host_id != NULL && strcmp(entry->identity.host_id, drop->host_id) == 0) {
        free_entry(NULL, NULL, map_remove(drop->entries, key));
    }
}

void cert_cache_forget_host(struct cert_cache *cache, const char *host_id)
{
    map_each(cache->entries, drop_host, &(struct drop){.entries = cache->entries, .host_id = host_id});
}
