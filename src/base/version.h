/* The version that every program tells. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define TPORT_VERSION "0.1.0"

#endif
