/* tport play. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/common/term.h"
#include "cli/tport/play_source.h"
#include "cli/tport/player_filter.h"
#include "cli/tport/tport.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SESSION_ID_LENGTH 36
#define SHORT_ID_MIN 4     /* characters of the beginning of an ID */
#define SHORT_ID_HITS 1000 /* recordings that are looked at for one */
#define SHORT_ID_SHOWN 5   /* of those that begin so */
#define IDLE_MAX_MS 500    /* what --skip-idle-time leaves of a pause */
#define SKIP_MS 10000      /* what the right arrow passes over */

struct player {
    struct player_filter filter;
    struct buf out;
    double speed;
    bool skip_idle;
    bool keys; /* standard input is a terminal in raw mode */
    bool quit;
    bool paused;
    int64_t skip_ms; /* recording time still to pass over at once */
};

static enum tp_err flush(struct player *player, struct tp_error *error)
{
    const uint8_t *at = buf_head(&player->out);
    size_t left = buf_size(&player->out);
    while (left > 0) {
        ssize_t done = write(STDOUT_FILENO, at, left);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno(error, errno, "writing the output failed");
        at += done;
        left -= (size_t)done;
    }
    buf_clear(&player->out);
    return TP_OK;
}

static void key(struct player *player, const char *keys, size_t size)
{
    if (size >= 3 && memcmp(keys, "\x1b[C", 3) == 0) {
        player->skip_ms += SKIP_MS;
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (keys[i] == 'q' || keys[i] == 3)
            player->quit = true;
        else if (keys[i] == ' ')
            player->paused = !player->paused;
    }
}

/* Lets wait_ms of the recording pass, at the chosen speed, obeying keys. */
static void wait_for(struct player *player, int64_t wait_ms)
{
    if (player->skip_ms > 0) {
        int64_t passed = player->skip_ms < wait_ms ? player->skip_ms : wait_ms;
        player->skip_ms -= passed;
        wait_ms -= passed;
    }
    if (player->skip_idle && wait_ms > IDLE_MAX_MS)
        wait_ms = IDLE_MAX_MS;
    double left = (double)wait_ms / player->speed;
    while (!player->quit && (left >= 1 || player->paused)) {
        struct pollfd poll_fd = {.fd = player->keys ? STDIN_FILENO : -1, .events = POLLIN};
        int64_t before = clock_mono_ms();
        int timeout = player->paused ? -1 : left > 1000 ? 1000 : (int)left;
        int ready = poll(&poll_fd, 1, timeout);
        bool was_paused = player->paused;
        if (ready > 0) {
            char keys[16];
            ssize_t got = read(STDIN_FILENO, keys, sizeof(keys));
            if (got > 0)
                key(player, keys, (size_t)got);
            else
                player->keys = player->paused = false;
        }
        if (!was_paused)
            left -= (double)(clock_mono_ms() - before);
        if (player->skip_ms > 0) {
            left -= (double)player->skip_ms / player->speed;
            player->skip_ms = left < 0 ? (int64_t)(-left * player->speed) : 0;
        }
    }
}

static enum tp_err play_events(struct player *player, struct play_source *source, const char *format,
                               struct tp_error *error)
{
    bool end = false;
    double before = 0;
    enum tp_err err = TP_OK;
    while (err == TP_OK && !end && !player->quit) {
        struct play_event event;
        err = play_source_next(source, &event, &end, error);
        if (err != TP_OK || end)
            break;
        if (strcmp(format, "json") == 0) {
            char *text = json_dumps(event.line, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12));
            (void)buf_printf(&player->out, "%s\n", text ? text : "");
            free(text);
        } else if (event.kind == 'o') {
            double gap = event.time - before;
            if (strcmp(format, "pty") == 0)
                wait_for(player, gap > 1e9 ? INT64_C(1000000000) : (int64_t)(gap * 1000));
            player_filter_feed(&player->filter, event.data, event.size, &player->out);
            before = event.time;
        }
        play_event_free(&event);
        if (!player->quit)
            err = flush(player, error);
    }
    return err;
}

static enum tp_err parse_speed(const char *text, double *ret_speed, struct tp_error *error)
{
    char *end;
    double speed = strtod(text, &end);
    if (end == text || (strcmp(end, "x") != 0 && *end != '\0') || !(speed >= 0.1 && speed <= 100))
        return err_set(error, TP_INVALID, "--speed=%s: 0.5x, 1x, 2x, 4x or 8x is needed", text);
    *ret_speed = speed;
    return TP_OK;
}

static enum tp_err run(const struct command_line *line, struct play_source *source, const char *format,
                       struct tp_error *error)
{
    struct player player = {.speed = 1, .skip_idle = command_flag(line, "skip-idle-time")};
    struct termios old;
    json_t *header = NULL;

    player_filter_init(&player.filter, strcmp(format, "text") == 0);
    buf_init(&player.out, 0);
    enum tp_err err = parse_speed(command_text(line, "speed", "1x"), &player.speed, error);
    if (err == TP_OK)
        err = play_source_header(source, &header, error);
    if (err == TP_OK && strcmp(format, "json") == 0) {
        char *text = json_dumps(header, JSON_COMPACT | JSON_ENSURE_ASCII);
        (void)buf_printf(&player.out, "%s\n", text ? text : "");
        free(text);
        err = flush(&player, error);
    }
    if (err == TP_OK) {
        bool pty = strcmp(format, "pty") == 0;
        bool raw = pty && isatty(STDIN_FILENO) && term_raw(STDIN_FILENO, &old);
        struct tp_error ignored;
        player.keys = raw;
        err = play_events(&player, source, format, error);
        buf_clear(&player.out);
        if (pty && isatty(STDOUT_FILENO)) {
            player_filter_end(&player.filter, &player.out);
            (void)buf_append_text(&player.out, "\r\n");
            if (flush(&player, &ignored) != TP_OK && err == TP_OK)
                err = err_set(error, TP_IO, "%s", ignored.text);
        }
        if (raw)
            term_restore(STDIN_FILENO, &old);
    }
    json_decref(header);
    buf_free(&player.out);
    return err;
}

static bool is_session_id(const char *text)
{
    return strlen(text) == SESSION_ID_LENGTH && strspn(text, "0123456789abcdef-") == SESSION_ID_LENGTH;
}

/* The beginning of an ID: enough of it that something can be meant by it. */
static bool is_short_id(const char *text)
{
    size_t length = strlen(text);
    return length >= SHORT_ID_MIN && length < SESSION_ID_LENGTH && strspn(text, "0123456789abcdef-") == length;
}

static void add_candidate(struct buf *list, const json_t *item)
{
    char *when = output_time(json_get_text(item, "started", ""));
    char *row = mem_printf("%s  %s  %s@%s  %s", json_get_text(item, "id", ""), json_get_text(item, "user", ""),
                           json_get_text(item, "login", ""),
                           json_get_text(item, "hostname", json_get_text(item, "kubernetes_cluster", "")), when);
    char *safe = text_safe(row); /* a host says the login: no end of a line may make up another row */
    (void)buf_printf(list, "\n  %s", safe);
    mem_free(safe);
    mem_free(row);
    mem_free(when);
}

/* The whole ID of the only recording that begins so. mem_free ret_id. */
static enum tp_err complete_id(struct api *api, const char *start, char **ret_id, struct tp_error *error)
{
    json_t *items = NULL;
    struct buf list;
    size_t index, hits = 0;
    json_t *item;
    enum tp_err err =
        api_list(api, "recordings.list", json_pack("{s:[s]}", "search", start), SHORT_ID_HITS, &items, error);
    buf_init(&list, 0);
    *ret_id = NULL;
    json_array_foreach (items, index, item) {
        const char *id = json_get_text(item, "id", "");
        if (strncmp(id, start, strlen(start)) != 0)
            continue;
        if (hits++ == 0)
            *ret_id = mem_strdup(id);
        if (hits <= SHORT_ID_SHOWN)
            add_candidate(&list, item);
    }
    if (err == TP_OK && hits == 0)
        err = err_set(error, TP_NOT_FOUND,
                      "no recording that you may list begins with %s; `tport recordings ls` shows them", start);
    if (err == TP_OK && hits > 1)
        err = err_set(error, TP_AMBIGUOUS, "%s is the beginning of %zu recordings; give more of it:%s%s", start, hits,
                      buf_text(&list), hits > SHORT_ID_SHOWN ? "\n  …" : "");
    if (err != TP_OK) {
        mem_free(*ret_id);
        *ret_id = NULL;
    }
    buf_free(&list);
    json_decref(items);
    return err;
}

enum tp_err tport_play(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"pty", "text", "json", NULL};
    struct profile profile = {0};
    struct api *api = NULL;
    struct play_source *source = NULL;
    const char *what = line->args[0];
    char *id = NULL;
    const char *format;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK && (strchr(what, '/') || (strchr(what, '.') && file_exists(what)))) {
        err = play_source_file(what, &source, error);
    } else if (err == TP_OK && !is_session_id(what) && !is_short_id(what)) {
        err = err_set(error, TP_INVALID,
                      "\"%s\" is neither the ID of a session (%d characters of it or more, as \"tport recordings ls\" "
                      "shows it) nor the path of a file",
                      what, SHORT_ID_MIN);
    } else if (err == TP_OK) {
        err = tport_open(line, &profile, &api, error);
        if (err == TP_OK && is_short_id(what))
            err = complete_id(api, what, &id, error);
        if (err == TP_OK)
            err = play_source_remote(api, id ? id : what, &source, error);
    }
    if (err == TP_OK)
        err = run(line, source, format, error);
    play_source_free(source);
    api_close(api);
    profile_free(&profile);
    mem_free(id);
    return err;
}
