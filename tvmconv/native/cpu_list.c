#include "cpu_list.h"

/* The number that *text begins with, and *text behind it; -1 where there is no digit, or for one that is not below
 * `most`. */
static int number(const char **text, int most) {
    int value = -1;
    for (; **text >= '0' && **text <= '9'; ++*text) {
        value = (value < 0 ? 0 : value * 10) + (**text - '0');
        if (value >= most) return -1;
    }
    return value;
}

static int holds(const int *cpus, int count, int cpu) {
    for (int i = 0; i < count; i++)
        if (cpus[i] == cpu) return 1;
    return 0;
}

int tvmconv_cpu_list(const char *text, int most, int *cpus) {
    for (int count = 0;; text++) {
        int first = number(&text, most), last = first;
        if (first >= 0 && *text == '-') text++, last = number(&text, most);
        if (first < 0 || last < first || (*text && *text != ',')) return -1;
        for (int cpu = first; cpu <= last; cpu++)
            if (!holds(cpus, count, cpu)) cpus[count++] = cpu;
        if (!*text) return count;
    }
}
