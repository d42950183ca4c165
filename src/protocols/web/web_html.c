/* HTML: escaping in one function, the frame of all pages, the style sheet. */
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

void web_html_page(struct buf *out, const char *title, const char *cluster, const char *body)
{
    (void)buf_append_text(
        out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
             "<meta name=\"robots\" content=\"noindex\"><meta name=\"color-scheme\" content=\"light dark\">"
             "<link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/web/style.css\"><title>");
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

const char *web_html_style(void)
{
    return ":root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--text:#1b2330;--quiet:#5a6576;--line:#d5dae2;"
           "--field:#8490a2;--accent:#1d5fd1;--accent-text:#fff;--soft:#eef2f9;--error:#b3261e;--error-soft:#fdf0ef}\n"
           "@media (prefers-color-scheme:dark){:root{--page:#11151c;--card:#1a202a;--text:#e7ebf2;--quiet:#a3aebf;"
           "--line:#323b49;--field:#76849a;--accent:#8db5ff;--accent-text:#0d1a30;--soft:#232b38;--error:#ffb3ac;"
           "--error-soft:#3a2020}}\n"
           "*{box-sizing:border-box}\n"
           "body{margin:0;background:var(--page);color:var(--text);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\","
           "Roboto,\"Noto Sans\",sans-serif}\n"
           "header{display:flex;align-items:center;justify-content:space-between;gap:1rem;max-width:36rem;margin:0 "
           "auto;"
           "padding:1.5rem 1.25rem .75rem}\n"
           ".brand{display:flex;align-items:center;gap:.55rem;color:var(--text);font-weight:650;font-size:1.1rem;"
           "text-decoration:none}\n"
           ".mark{width:1.1rem;height:1.1rem;border-radius:.35rem;border:.28rem solid var(--accent);border-right-color:"
           "transparent}\n"
           ".cluster{color:var(--quiet);font-size:.9rem;overflow-wrap:anywhere;text-align:right}\n"
           "main{max-width:36rem;margin:0 auto 3rem;padding:1.75rem;background:var(--card);border:1px solid "
           "var(--line);"
           "border-radius:.9rem}\n"
           "h1{margin:0 0 .6rem;font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}\n"
           "h2{display:flex;align-items:center;gap:.6rem;margin:1.9rem 0 .7rem;font-size:1.12rem}\n"
           "p{margin:.6rem 0}\n"
           "a{color:var(--accent)}\n"
           ".step{flex:none;display:inline-grid;place-items:center;width:1.7rem;height:1.7rem;border-radius:50%;"
           "background:var(--soft);color:var(--accent);font-size:.9rem}\n"
           ".field{margin:1.1rem 0}\n"
           "label{display:block;margin-bottom:.3rem;font-weight:600}\n"
           ".hint,.quiet{margin:0 0 .45rem;color:var(--quiet);font-size:.92rem}\n"
           "input{width:100%;min-height:2.9rem;padding:.55rem .8rem;border:1px solid var(--field);border-radius:.55rem;"
           "background:var(--card);color:var(--text);font:inherit}\n"
           "input.code{max-width:12rem;font-size:1.25rem;letter-spacing:.18em;font-variant-numeric:tabular-nums}\n"
           ".wrong input{border-color:var(--error);border-width:2px}\n"
           ".error{margin:.5rem 0;padding:.5rem .8rem;border-left:.25rem solid var(--error);border-radius:.35rem;"
           "background:var(--error-soft);color:var(--error);font-weight:600}\n"
           ":focus-visible{outline:3px solid var(--accent);outline-offset:2px}\n"
           "button{width:100%;min-height:3rem;margin-top:1.2rem;border:0;border-radius:.55rem;background:var(--accent);"
           "color:var(--accent-text);font:inherit;font-weight:650;cursor:pointer}\n"
           "button:hover{filter:brightness(1.08)}\n"
           ".qr{display:block;width:220px;height:220px;max-width:100%;margin:1rem auto;border-radius:.6rem;"
           "image-rendering:pixelated;border:1px solid var(--line)}\n"
           ".secret{display:block;padding:.7rem .9rem;border-radius:.55rem;background:var(--soft);text-align:center;"
           "font-size:1.02rem;letter-spacing:.04em;user-select:all;overflow-wrap:anywhere}\n"
           ".command{margin:.8rem 0;padding:.9rem "
           "1rem;border-radius:.55rem;background:var(--soft);font-size:.95rem;white-space:pre-wrap;"
           "overflow-wrap:anywhere}\n"
           "code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace}\n"
           ".command code{user-select:all}\n"
           ".command span{display:inline-block}\n"
           "@media (max-width:40rem){header{padding:1rem 1.1rem .6rem}main{margin-bottom:0;padding:1.3rem 1.1rem 2rem;"
           "border-width:1px 0 0;border-radius:0}}\n";
}
