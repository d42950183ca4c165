/* tport: see src/cli/tport. */
#include "cli/tport/tport.h"

int main(int argc, char **argv)
{
    return tport_main(argc, argv);
}
