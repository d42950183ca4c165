#include "protocols/web/web_words.h"

#include "base/mem.h"
#include "protocols/http/http_accept.h"
#include "protocols/web/web_priv.h"

#include <string.h>

#define LANGUAGES 2

static const char *const words[][LANGUAGES] = {[WORD_NONE] = {"", ""},
#define X(name, english, korean) [WORD_##name] = {english, korean},
                                               WEB_WORDS(X)
#undef X
};

static const char *const tags[LANGUAGES] = {[WEB_ENGLISH] = "en", [WEB_KOREAN] = "ko"};

/* "ko" and "ko-KR" are both Korean. */
static bool is_language(const struct http_accept *item, const char *tag)
{
    struct http_accept first = *item;
    const char *dash = memchr(item->name, '-', item->size);
    if (dash)
        first.size = (size_t)(dash - item->name);
    return http_accept_is(&first, tag);
}

enum web_language web_language_of(const char *accept_language)
{
    enum web_language best = WEB_ENGLISH;
    struct http_accept item;
    int most = 0;
    while (http_accept_next(&accept_language, &item)) {
        for (int i = 0; i < LANGUAGES; i++) {
            if (item.quality > most && is_language(&item, tags[i])) {
                most = item.quality;
                best = (enum web_language)i;
            }
        }
    }
    return best;
}

const char *web_language_tag(enum web_language language)
{
    return tags[language];
}

const char *web_word_text(enum web_language language, enum web_word word)
{
    return words[word][language];
}

void web_word_put(struct buf *out, enum web_language language, enum web_word word, const char *value)
{
    const char *text = web_word_text(language, word);
    const char *gap = strstr(text, "{}");
    char *before;
    if (!gap) {
        web_html_text(out, text);
        return;
    }
    before = mem_strndup(text, (size_t)(gap - text));
    web_html_text(out, before);
    web_html_text(out, value ? value : "");
    web_html_text(out, gap + 2);
    mem_free(before);
}

enum web_word web_word_of(enum tp_err code)
{
    switch (code) {
    case TP_NOT_FOUND:
        return WORD_ERROR_NOT_FOUND;
    case TP_DENIED:
        return WORD_ERROR_DENIED;
    case TP_LIMIT:
        return WORD_ERROR_LIMIT;
    case TP_UNAVAILABLE:
    case TP_TIMEOUT:
    case TP_CLOSED:
    case TP_AGAIN:
        return WORD_ERROR_LATER;
    default:
        return WORD_ERROR_OTHER;
    }
}
