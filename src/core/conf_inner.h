/* The table of keys and what its readers share. */
#ifndef CORE_CONF_INNER_H
#define CORE_CONF_INNER_H

#include "base/node.h"
#include "core/conf.h"

enum conf_kind {
    CONF_SECTION, /* a map of further rows */
    CONF_TEXT,
    CONF_BOOL,
    CONF_INT,
    CONF_DURATION, /* field: int64_t, ms */
    CONF_SIZE,     /* field: int64_t, bytes; "20GB", "512MiB" */
    CONF_CHOICE,   /* a text out of choices */
    CONF_ADDR,     /* a text that conf_addr_split reads */
    CONF_LIST,     /* texts; one text alone is a list of one */
    CONF_ADDR_LIST,
    CONF_CIDR_LIST,
    CONF_LABELS,
    CONF_COMMANDS,
    CONF_KEYPAIRS,
    CONF_NO_EFFECT, /* known from Teleport: accepted with a warning when choices is NULL, silently when among choices */
    CONF_UNSUPPORTED, /* known from Teleport: accepted only when empty or switched off */
};

#define CONF_AT_START 0x100u /* takes effect at a start only; other keys do at a reload too */
#define CONF_SECRET 0x200u

struct conf_row {
    const char *path; /* "proxy_service.web_listen_addr" */
    enum conf_kind kind;
    size_t offset;        /* of the field in struct conf */
    const char *fallback; /* the default, as text; NULL: none */
    const char *choices;  /* "a|b|c" */
    unsigned flags;       /* CONF_AUTH | CONF_WORKER | CONF_AGENT | CONF_AT_START | CONF_SECRET */
    const char *help;     /* one sentence; of CONF_UNSUPPORTED: why, or NULL */
};

/* All rows; a section stands before its keys. */
const struct conf_row *conf_rows(size_t *ret_count);
/* NULL when there is none. */
const struct conf_row *conf_row_find(const char *path);
/* The kinds that have a field. */
bool conf_row_has_field(const struct conf_row *row);

/* Where a reader of one file collects what it finds. */
struct conf_reader {
    struct conf *conf;
    const char *file;
    struct conf_report report;
    bool seen_auth_enabled;
    bool seen_proxy_enabled;
    bool seen_ssh_enabled;
    int line_kubeconfig; /* 0: the file does not have the key */
    int line_kube_name;
};

/* Adds "FILE:LINE: ..." (line 0: "FILE: ..."). */
void conf_error_add(struct conf_reader *reader, int line, const char *format, ...) TP_PRINTF(3, 4);
void conf_warning_add(struct conf_reader *reader, int line, const char *format, ...) TP_PRINTF(3, 4);
/* Appends a copy of text. */
void conf_list_add(struct conf_list *list, const char *text);
void conf_list_free(struct conf_list *list);

/* Reads the value of a row into its field; errors go to the reader. */
void conf_value_read(struct conf_reader *reader, const struct conf_row *row, const struct node *node);
/* Sets the default. */
void conf_value_default(struct conf *conf, const struct conf_row *row);
/* The value as JSON. */
json_t *conf_value_json(const struct conf *conf, const struct conf_row *row) TP_MUST;
void conf_value_free(struct conf *conf, const struct conf_row *row);

/* Checks that span several keys; computed defaults. */
void conf_check_all(struct conf_reader *reader);
/* Computed defaults only (host name, number of processors). */
void conf_fill(struct conf *conf);

#endif
