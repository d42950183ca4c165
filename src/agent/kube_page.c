/* Tokens of pages that people get who may see a part of a list: sealed, for they hold names of objects (kube/kube_filter.h).
 * Each run of the agent has a key of its own; who comes with a token of another run begins the list anew. */
#include "agent/kube_priv.h"

#include "base/enc.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "crypt/seal.h"

#include <string.h>

static char *hide(void *ctx, const char *token)
{
    const struct seal *seal = ctx;
    size_t size = strlen(token);
    uint8_t *sealed = mem_alloc(size + SEAL_OVERHEAD);
    seal_close(seal, NULL, 0, token, size, sealed);
    char *text = enc_base64url(sealed, size + SEAL_OVERHEAD);
    mem_free(sealed);
    return text;
}

static char *show(void *ctx, const char *hidden)
{
    const struct seal *seal = ctx;
    struct buf sealed;
    char *token = NULL;
    buf_init(&sealed, 0);
    if (dec_base64url(hidden, strlen(hidden), &sealed) == TP_OK && buf_size(&sealed) >= SEAL_OVERHEAD) {
        size_t size = 0;
        token = mem_alloc(buf_size(&sealed) - SEAL_OVERHEAD + 1);
        if (seal_open(seal, NULL, 0, buf_head(&sealed), buf_size(&sealed), (uint8_t *)token, &size) != TP_OK) {
            mem_free(token);
            token = NULL;
        }
    }
    buf_free(&sealed);
    return token;
}

void kube_pages_init(struct kube *kube)
{
    uint8_t key[SEAL_KEY_SIZE];
    crypt_random(key, sizeof(key));
    kube->pages_seal = seal_new(key, "tport pages of filtered lists");
    secret_wipe(key, sizeof(key));
    kube->pages = (struct kube_filter_pages){hide, show, kube->pages_seal};
}
