#include "session/modes.h"

#include <unistd.h>

#define OP_END 0
#define OP_UNDEFINED 160 /* this one and above */
#define OP_INPUT_SPEED 128
#define OP_OUTPUT_SPEED 129
#define CHARACTER_OFF 255

/* A special character: c_cc[index]. */
static const struct {
    uint8_t op;
    uint8_t index;
} CHARACTERS[] = {
    {1, VINTR}, {2, VQUIT},  {3, VERASE},    {4, VKILL},    {5, VEOF},    {6, VEOL},   {7, VEOL2},     {8, VSTART},
    {9, VSTOP}, {10, VSUSP}, {12, VREPRINT}, {13, VWERASE}, {14, VLNEXT}, {16, VSWTC}, {18, VDISCARD},
};

enum flag_place { IN_INPUT, IN_LOCAL, IN_OUTPUT, IN_CONTROL };

/* A flag: the bits of mask are set to bits or, when the value is 0, cleared. */
static const struct {
    uint8_t op;
    uint8_t place;
    tcflag_t mask;
    tcflag_t bits;
} FLAGS[] = {
    {30, IN_INPUT, IGNPAR, IGNPAR},   {31, IN_INPUT, PARMRK, PARMRK},   {32, IN_INPUT, INPCK, INPCK},
    {33, IN_INPUT, ISTRIP, ISTRIP},   {34, IN_INPUT, INLCR, INLCR},     {35, IN_INPUT, IGNCR, IGNCR},
    {36, IN_INPUT, ICRNL, ICRNL},     {37, IN_INPUT, IUCLC, IUCLC},     {38, IN_INPUT, IXON, IXON},
    {39, IN_INPUT, IXANY, IXANY},     {40, IN_INPUT, IXOFF, IXOFF},     {41, IN_INPUT, IMAXBEL, IMAXBEL},
    {42, IN_INPUT, IUTF8, IUTF8}, /* RFC 8160 */
    {50, IN_LOCAL, ISIG, ISIG},       {51, IN_LOCAL, ICANON, ICANON},   {52, IN_LOCAL, XCASE, XCASE},
    {53, IN_LOCAL, ECHO, ECHO},       {54, IN_LOCAL, ECHOE, ECHOE},     {55, IN_LOCAL, ECHOK, ECHOK},
    {56, IN_LOCAL, ECHONL, ECHONL},   {57, IN_LOCAL, NOFLSH, NOFLSH},   {58, IN_LOCAL, TOSTOP, TOSTOP},
    {59, IN_LOCAL, IEXTEN, IEXTEN},   {60, IN_LOCAL, ECHOCTL, ECHOCTL}, {61, IN_LOCAL, ECHOKE, ECHOKE},
    {62, IN_LOCAL, PENDIN, PENDIN},   {70, IN_OUTPUT, OPOST, OPOST},    {71, IN_OUTPUT, OLCUC, OLCUC},
    {72, IN_OUTPUT, ONLCR, ONLCR},    {73, IN_OUTPUT, OCRNL, OCRNL},    {74, IN_OUTPUT, ONOCR, ONOCR},
    {75, IN_OUTPUT, ONLRET, ONLRET},  {90, IN_CONTROL, CSIZE, CS7},     {91, IN_CONTROL, CSIZE, CS8},
    {92, IN_CONTROL, PARENB, PARENB}, {93, IN_CONTROL, PARODD, PARODD},
};

static const struct {
    uint32_t baud;
    speed_t speed;
} SPEEDS[] = {
    {50, B50},       {75, B75},         {110, B110},       {134, B134},       {150, B150},
    {200, B200},     {300, B300},       {600, B600},       {1200, B1200},     {1800, B1800},
    {2400, B2400},   {4800, B4800},     {9600, B9600},     {19200, B19200},   {38400, B38400},
    {57600, B57600}, {115200, B115200}, {230400, B230400}, {460800, B460800}, {921600, B921600},
};

json_t *modes_read(const uint8_t *data, size_t size)
{
    json_t *list = size <= MODES_MAX_BYTES ? json_array() : NULL;
    for (size_t at = 0; list != NULL && at < size && data[at] != OP_END && data[at] < OP_UNDEFINED; at += 5) {
        if (size - at < 5) {
            json_decref(list);
            return NULL;
        }
        uint32_t value =
            (uint32_t)data[at + 1] << 24 | (uint32_t)data[at + 2] << 16 | (uint32_t)data[at + 3] << 8 | data[at + 4];
        (void)json_array_append_new(list, json_pack("[i, I]", (int)data[at], (json_int_t)value));
    }
    return list;
}

static void set_speed(json_int_t op, json_int_t baud, struct termios *termios)
{
    for (size_t i = 0; i < sizeof(SPEEDS) / sizeof(SPEEDS[0]); i++) {
        if ((json_int_t)SPEEDS[i].baud == baud) {
            (void)(op == OP_INPUT_SPEED ? cfsetispeed : cfsetospeed)(termios, SPEEDS[i].speed);
        }
    }
}

static tcflag_t *flags_at(struct termios *termios, uint8_t place)
{
    switch (place) {
    case IN_INPUT:
        return &termios->c_iflag;
    case IN_LOCAL:
        return &termios->c_lflag;
    case IN_OUTPUT:
        return &termios->c_oflag;
    default:
        return &termios->c_cflag;
    }
}

static void set_one(json_int_t op, json_int_t value, struct termios *termios)
{
    if (op == OP_INPUT_SPEED || op == OP_OUTPUT_SPEED) {
        set_speed(op, value, termios);
        return;
    }
    for (size_t i = 0; i < sizeof(CHARACTERS) / sizeof(CHARACTERS[0]); i++) {
        if (CHARACTERS[i].op == op && value >= 0 && value <= CHARACTER_OFF) {
            termios->c_cc[CHARACTERS[i].index] = value == CHARACTER_OFF ? _POSIX_VDISABLE : (cc_t)value;
        }
    }
    for (size_t i = 0; i < sizeof(FLAGS) / sizeof(FLAGS[0]); i++) {
        if (FLAGS[i].op != op) {
            continue;
        }
        tcflag_t *flags = flags_at(termios, FLAGS[i].place);
        if (value != 0) {
            *flags = (*flags & ~FLAGS[i].mask) | FLAGS[i].bits;
        } else if (FLAGS[i].mask == FLAGS[i].bits) { /* "not 7 bits" says nothing about how many */
            *flags &= ~FLAGS[i].mask;
        }
    }
}

void modes_apply(const json_t *list, struct termios *termios)
{
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i <= MODES_MAX_BYTES / 5; i++) {
        const json_t *one = json_array_get(list, i);
        const json_t *op = json_array_get(one, 0);
        const json_t *value = json_array_get(one, 1);
        if (json_is_integer(op) && json_is_integer(value)) {
            set_one(json_integer_value(op), json_integer_value(value), termios);
        }
    }
}
