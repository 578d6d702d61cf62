#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "server.h"

void say(const char *format, ...) {
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "tvmconv-server[%d] %s\n", getpid(), line); /* in one call, as sessions write here too */
}
