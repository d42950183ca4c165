#include "session/requests.h"

#include <string.h>

static const struct request_row ROWS[] = {
    {REQUEST_GLOBAL, "tcpip-forward", REQUEST_FORWARD_LISTEN, VERB_FORWARD_REMOTE},
    {REQUEST_GLOBAL, "cancel-tcpip-forward", REQUEST_FORWARD_CANCEL, VERB_FORWARD_REMOTE},
    {REQUEST_GLOBAL, "keepalive@openssh.com", REQUEST_KEEPALIVE, VERB_NONE},
    {REQUEST_OPEN, "session", REQUEST_OPEN_SESSION, VERB_SESSION},
    {REQUEST_OPEN, "direct-tcpip", REQUEST_OPEN_DIRECT_TCPIP, VERB_FORWARD_LOCAL},
    {REQUEST_OPEN, "direct-streamlocal@openssh.com", REQUEST_OPEN_STREAMLOCAL, VERB_FORWARD_LOCAL},
    {REQUEST_OPEN, "x11", REQUEST_OPEN_X11, VERB_NEVER},
    {REQUEST_CHANNEL, "pty-req", REQUEST_PTY, VERB_SESSION},
    {REQUEST_CHANNEL, "env", REQUEST_ENV, VERB_SESSION},
    {REQUEST_CHANNEL, "shell", REQUEST_SHELL, VERB_SESSION},
    {REQUEST_CHANNEL, "exec", REQUEST_EXEC, VERB_SESSION},
    {REQUEST_CHANNEL, "subsystem", REQUEST_SUBSYSTEM_START, VERB_SESSION},
    {REQUEST_CHANNEL, "window-change", REQUEST_WINDOW_CHANGE, VERB_NONE},
    {REQUEST_CHANNEL, "signal", REQUEST_SIGNAL, VERB_SESSION},
    {REQUEST_CHANNEL, "auth-agent-req@openssh.com", REQUEST_AGENT, VERB_FORWARD_AGENT},
    {REQUEST_CHANNEL, "x11-req", REQUEST_X11, VERB_NEVER},
    {REQUEST_SUBSYSTEM, "sftp", REQUEST_SFTP, VERB_FILE_COPY},
};

const struct request_row *requests_rows(size_t *ret_count)
{
    *ret_count = sizeof(ROWS) / sizeof(ROWS[0]);
    return ROWS;
}

const struct request_row *requests_find(enum request_place place, const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        if (ROWS[i].place == place && strcmp(ROWS[i].name, name) == 0) {
            return &ROWS[i];
        }
    }
    return NULL;
}

const struct request_row *requests_row(enum request_id id)
{
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        if (ROWS[i].id == id) {
            return &ROWS[i];
        }
    }
    return NULL;
}

enum tp_err requests_decide(const struct request_row *row, const struct request_rights *rights, struct tp_error *error)
{
    if (row == NULL) {
        return err_set(error, TP_DENIED, "this request is not offered");
    }
    switch (row->verb) {
    case VERB_NONE:
    case VERB_SESSION:
        return TP_OK;
    case VERB_FILE_COPY:
        return rights->file_copy ? TP_OK : err_set(error, TP_DENIED, "the roles do not allow file copy");
    case VERB_FORWARD_LOCAL:
        return rights->forward_local
                   ? TP_OK
                   : err_set(error, TP_DENIED, "the roles do not allow port forwarding to places behind this host");
    case VERB_FORWARD_REMOTE:
        return rights->forward_remote
                   ? TP_OK
                   : err_set(error, TP_DENIED, "the roles do not allow port forwarding from this host");
    case VERB_FORWARD_AGENT:
        return rights->forward_agent
                   ? TP_OK
                   : err_set(error, TP_DENIED, "the roles do not allow agent forwarding for this login");
    case VERB_NEVER:
        break;
    }
    return err_set(error, TP_DENIED, "X11 forwarding is not offered");
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t\r\n");
}

static bool word_is(const char *word, size_t length, const char *name)
{
    for (size_t i = length; i > 0; i--) {
        if (word[i - 1] == '/') {
            word += i;
            length -= i;
            break;
        }
    }
    return strlen(name) == length && memcmp(word, name, length) == 0;
}

bool requests_is_file_copy(const char *command)
{
    const char *word = skip_blanks(command);
    size_t length = strcspn(word, " \t\r\n;|&<>()");
    if (word_is(word, length, "scp") || word_is(word, length, "sftp-server")) {
        return true;
    }
    if (!word_is(word, length, "rsync")) {
        return false;
    }
    for (word = skip_blanks(word + length); *word != '\0'; word = skip_blanks(word + length)) {
        length = strcspn(word, " \t\r\n");
        if (length == strlen("--server") && memcmp(word, "--server", length) == 0) {
            return true;
        }
    }
    return false;
}
