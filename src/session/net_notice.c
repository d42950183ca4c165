/*
 * Words of ours on a person's terminal while his program runs: who watches. They stand between the program's output and not in
 * its recording. A line of them would tear the picture of a program that owns the whole screen (vim, less, tmux): there the
 * bell rings and the window's title says it, and the line follows when the program gives the screen back.
 */
#include "base/mem.h"
#include "session/net_priv.h"

#include <string.h>

#define PENDING_MAX ((size_t)2048)
#define PATIENCE_MS 5000 /* an escape sequence that has no end by then is none */

void net_notice_add(struct channel *channel, const char *text)
{
    struct buf *lines = &channel->notice;
    if (channel->state != CHANNEL_RUNNING || !channel->pty) {
        return;
    }
    if (buf_size(lines) + strlen(text) > PENDING_MAX) {
        buf_clear(lines); /* who comes and goes all the time: the last word counts */
    }
    (void)buf_printf(lines, "\r\ntport: %s\r\n", text);
    mem_free(channel->notice_title);
    channel->notice_title = mem_strdup(text);
    channel->notice_ms = loop_now_ms(channel->net->loop);
    net_wake(channel->net);
}

static void give_title(struct channel *channel)
{
    /* The title of before is kept by the terminal and comes back with the line. */
    char *title =
        mem_printf("\a%s\x1b]2;tport: %s\x1b\\", channel->notice_titled ? "" : "\x1b[22;2t", channel->notice_title);
    net_channel_give(channel, (const uint8_t *)title, strlen(title));
    mem_free(title);
    mem_free(channel->notice_title);
    channel->notice_title = NULL;
    channel->notice_titled = true;
}

static void give_lines(struct channel *channel)
{
    if (channel->notice_titled) {
        net_channel_give(channel, (const uint8_t *)"\x1b[23;2t", 7);
        channel->notice_titled = false;
    }
    net_channel_give(channel, buf_head(&channel->notice), buf_size(&channel->notice));
    buf_free(&channel->notice);
    mem_free(channel->notice_title);
    channel->notice_title = NULL;
}

void net_notice_step(struct channel *channel)
{
    const struct screen *screen = &channel->screen;
    if (buf_size(&channel->notice) == 0 || !net_channel_takes(channel)) {
        return;
    }
    if (!screen_is_between(screen)) {
        if (loop_now_ms(channel->net->loop) - channel->notice_ms < PATIENCE_MS) {
            return; /* the next output, or the next second, brings us here again */
        }
        net_channel_give(channel, (const uint8_t *)"\x18", 1); /* the terminal gives the sequence up */
    }
    if (!screen->alternate) {
        give_lines(channel);
    } else if (channel->notice_title != NULL) {
        give_title(channel);
    }
}
