/*
 * Guessing is slowed in three ways: each address has a rate on the anonymous methods; five wrong logins of one source for
 * one user lock that pair for half an hour; and after many wrong logins for one user from anywhere, only addresses from
 * where this user has logged in before may still try. So a stranger can never lock the owner out of a known address.
 */
#include "auth/inner.h"
#include "auth/lockout.h"

#include <string.h>

#define RATE_PER_MINUTE 20
#define RATE_BURST 40
#define WINDOW_MS ((int64_t)30 * 60 * 1000)
#define FAILURES_PAIR 5
#define FAILURES_USER 50
#define ENTRIES_MAX 200000 /* of each map; past it new sources wait for the sweep */

struct bucket {
    double tokens;
    int64_t at_ms;
};

struct failures {
    unsigned count;
    int64_t first_ms;
    int64_t locked_until_ms;
};

struct lockout {
    struct map *buckets; /* by source, or by what lockout_codes names */
    struct map *pairs;   /* "user\nsource" */
    struct map *users;
};

struct lockout *lockout_new(void)
{
    struct lockout *lockout = mem_alloc(sizeof *lockout);
    lockout->buckets = map_new();
    lockout->pairs = map_new();
    lockout->users = map_new();
    return lockout;
}

static void free_value(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    mem_free(value);
}

void lockout_free(struct lockout *lockout)
{
    if (lockout == NULL) {
        return;
    }
    struct map *maps[] = {lockout->buckets, lockout->pairs, lockout->users};
    for (size_t i = 0; i < 3; i++) {
        map_each(maps[i], free_value, NULL);
        map_free(maps[i]);
    }
    mem_free(lockout);
}

/* One person's network: an IPv4 address, or the first 64 bits of an IPv6 one. */
static void source_of(const char *ip, char out[64])
{
    snprintf(out, 64, "%s", ip);
    if (strchr(ip, ':') == NULL) {
        return;
    }
    int colons = 0;
    for (char *p = out; *p != '\0'; p++) {
        if (*p == ':' && (++colons == 4 || p[1] == ':')) {
            *p = '\0';
            return;
        }
    }
}

static bool take_token(struct lockout *lockout, const char *key, int64_t now_ms)
{
    struct bucket *bucket = map_get(lockout->buckets, key);
    if (bucket == NULL) {
        if (map_count(lockout->buckets) >= ENTRIES_MAX) {
            return false;
        }
        bucket = mem_alloc(sizeof *bucket);
        bucket->tokens = RATE_BURST;
        bucket->at_ms = now_ms;
        map_set(lockout->buckets, key, bucket);
    }
    bucket->tokens += (double)(now_ms - bucket->at_ms) * RATE_PER_MINUTE / 60000.0;
    bucket->at_ms = now_ms;
    if (bucket->tokens > RATE_BURST) {
        bucket->tokens = RATE_BURST;
    }
    if (bucket->tokens < 1.0) {
        return false;
    }
    bucket->tokens -= 1.0;
    return true;
}

enum tp_err lockout_rate(struct lockout *lockout, const char *ip, int64_t now_ms, struct tp_error *error)
{
    char source[64];
    source_of(ip, source);
    return take_token(lockout, source, now_ms)
               ? TP_OK
               : err_set(error, TP_LIMIT, "too many attempts from your address, try again in a minute");
}

enum tp_err lockout_rate_codes(struct lockout *lockout, const char *name, int64_t now_ms, struct tp_error *error)
{
    return take_token(lockout, name, now_ms) ? TP_OK
                                             : err_set(error, TP_LIMIT, "too many codes, try again in a minute");
}

void lockout_give_back(struct lockout *lockout, const char *ip)
{
    char source[64];
    source_of(ip, source);
    struct bucket *bucket = map_get(lockout->buckets, source);
    if (bucket != NULL) {
        bucket->tokens += 1.0;
    }
}

char *lockout_codes(const char *user)
{
    return mem_printf("%s\ncodes", user);
}

static char *pair_key(const char *user, const char *ip)
{
    char source[64];
    source_of(ip, source);
    return mem_printf("%s\n%s", user, source);
}

static bool over(const struct failures *failures, int64_t now_ms)
{
    return now_ms - failures->first_ms >= WINDOW_MS && now_ms >= failures->locked_until_ms;
}

bool lockout_open(struct lockout *lockout, const char *user, const char *ip, bool known, int64_t now_ms)
{
    char *key = pair_key(user, ip);
    const struct failures *pair = map_get(lockout->pairs, key);
    const struct failures *all = map_get(lockout->users, user);
    mem_free(key);
    if (pair != NULL && now_ms < pair->locked_until_ms) {
        return false;
    }
    if (pair == NULL && map_count(lockout->pairs) >= ENTRIES_MAX && !known) {
        return false;
    }
    return known || all == NULL || now_ms >= all->locked_until_ms;
}

static void count_failure(struct map *map, const char *key, unsigned most, int64_t now_ms)
{
    struct failures *failures = map_get(map, key);
    if (failures == NULL) {
        if (map_count(map) >= ENTRIES_MAX) {
            return;
        }
        failures = mem_alloc(sizeof *failures);
        failures->first_ms = now_ms;
        map_set(map, key, failures);
    } else if (over(failures, now_ms)) {
        *failures = (struct failures){.first_ms = now_ms};
    }
    failures->count++;
    if (failures->count >= most && now_ms >= failures->locked_until_ms) {
        failures->locked_until_ms = now_ms + WINDOW_MS;
        log_warn("login locked after failures", "count=%u", failures->count);
    }
}

void lockout_failed(struct lockout *lockout, const char *user, const char *ip, int64_t now_ms)
{
    char *key = pair_key(user, ip);
    count_failure(lockout->pairs, key, FAILURES_PAIR, now_ms);
    mem_free(key);
    count_failure(lockout->users, user, FAILURES_USER, now_ms);
}

void lockout_succeeded(struct lockout *lockout, const char *user, const char *ip)
{
    char *key = pair_key(user, ip);
    mem_free(map_remove(lockout->pairs, key));
    mem_free(key);
}

struct forget {
    struct map *map;
    const char *user;
    size_t length;
};

static void forget_one(void *ctx, const char *key, void *value)
{
    struct forget *forget = ctx;
    if (strncmp(key, forget->user, forget->length) == 0 &&
        (key[forget->length] == '\n' || key[forget->length] == '\0')) {
        map_remove(forget->map, key);
        mem_free(value);
    }
}

void lockout_forget(struct lockout *lockout, const char *user)
{
    struct map *maps[] = {lockout->buckets, lockout->pairs, lockout->users};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        map_each(maps[i], forget_one, &(struct forget){maps[i], user, strlen(user)});
    }
}

struct sweep {
    struct map *map;
    int64_t now_ms;
};

static void sweep_failures(void *ctx, const char *key, void *value)
{
    struct sweep *sweep = ctx;
    if (over(value, sweep->now_ms)) {
        map_remove(sweep->map, key);
        mem_free(value);
    }
}

static void sweep_bucket(void *ctx, const char *key, void *value)
{
    struct sweep *sweep = ctx;
    const struct bucket *bucket = value;
    if (sweep->now_ms - bucket->at_ms > (int64_t)RATE_BURST * 60000 / RATE_PER_MINUTE) {
        map_remove(sweep->map, key);
        mem_free(value);
    }
}

void lockout_sweep(struct lockout *lockout, int64_t now_ms)
{
    map_each(lockout->buckets, sweep_bucket, &(struct sweep){lockout->buckets, now_ms});
    map_each(lockout->pairs, sweep_failures, &(struct sweep){lockout->pairs, now_ms});
    map_each(lockout->users, sweep_failures, &(struct sweep){lockout->users, now_ms});
}
