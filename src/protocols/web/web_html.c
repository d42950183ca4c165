/* HTML: escaping in one function, the frame of all pages. */
#include "protocols/web/web_priv.h"

#include <string.h>

/* Safe between tags and inside double-quoted attributes. */
void web_html_text(struct buf *out, const char *text)
{
    while (*text) {
        size_t plain = strcspn(text, "&<>\"'`");
        (void)buf_append(out, text, plain);
        text += plain;
        if (*text) {
            (void)buf_printf(out, "&#%d;", (int)(uint8_t)*text);
            text++;
        }
    }
}

void web_html_page(struct buf *out, enum web_language language, const char *title, const char *cluster,
                   const char *script, const char *body)
{
    (void)buf_printf(out, "<!DOCTYPE html>\n<html lang=\"%s\">", web_language_tag(language));
    (void)buf_append_text(
        out, "<head><meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
             "<meta name=\"robots\" content=\"noindex\"><meta name=\"color-scheme\" content=\"light dark\">"
             "<link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/web/style.css\">");
    if (script)
        (void)buf_printf(out, "<script defer src=\"/web/%s\"></script>", script);
    (void)buf_append_text(out, "<title>");
    web_html_text(out, title);
    (void)buf_append_text(out, " - ");
    web_html_text(out, cluster);
    (void)buf_append_text(out,
                          "</title></head><body><header><a class=\"brand\" href=\"/web\"><span aria-hidden=\"true\" "
                          "class=\"mark\"></span>tport</a><span class=\"cluster\">");
    web_html_text(out, cluster);
    (void)buf_append_text(out, "</span></header><main>");
    (void)buf_append_text(out, body);
    (void)buf_append_text(out, "</main></body></html>\n");
}
