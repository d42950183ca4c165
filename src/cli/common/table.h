/* Text for terminals: tables, and names of strangers made harmless. */
#ifndef CLI_COMMON_TABLE_H
#define CLI_COMMON_TABLE_H

#include "base/buf.h"

/* text with everything that a terminal could take for a command made visible: C0 and C1 controls and invalid UTF-8 become
 * \xNN, marks that reorder or hide text become \u{NNNN}. mem_free it. */
char *text_safe(const char *text) TP_MUST;
/* Columns that text takes on a terminal (East Asian wide characters count two, combining marks none). */
size_t text_width(const char *text);
/* Columns of the terminal that standard output is; 0: it is none, and nothing is to be cut or broken. */
size_t text_terminal(void);

struct table;

/* Columns with these titles (NULL-terminated; the strings must outlive the table). elastic: the column that is cut with
 * an ellipsis when the table is wider than the terminal, or -1. */
struct table *table_new(const char *const *titles, int elastic) TP_MUST;
/* Where the elastic column does not give enough, these give way, one after the other until the table fits: column is cut to
 * least columns, or left out (least 0). The list ends with column -1 and must outlive the table. */
struct table_cut {
    int column;
    size_t least;
};
void table_yield(struct table *table, const struct table_cut *cuts);
/* One row: as many cells as titles; copied and made safe. NULL counts as "". */
void table_add(struct table *table, const char *const *cells);
size_t table_rows(const struct table *table);
/* Titles, dashes and rows; two blanks between columns, none at the end of a line. width 0: never cut, and
 * no more than 40 dashes a column. Else the row of dashes is never wider than width, and of a table that may be cut and still
 * does not fit the widest columns are. mem_free it. */
char *table_text(const struct table *table, size_t width) TP_MUST;
void table_free(struct table *table);
/* Writes the table to standard output, cut to the terminal if that is one, and frees it. */
void table_print(struct table *table);

#endif
