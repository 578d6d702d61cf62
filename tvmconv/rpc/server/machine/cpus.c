#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include "cpu_list.h"
#include "../server.h"

cpu_set_t allowed;

int parse_cpus(const char *list, cpu_set_t *cpus) {
    int numbers[CPU_SETSIZE], count = tvmconv_cpu_list(list, CPU_SETSIZE, numbers);
    CPU_ZERO(cpus);
    for (int i = 0; i < count; i++) CPU_SET((size_t)numbers[i], cpus);
    return count < 0 ? -1 : 0;
}

void add_cpus(text *t, const cpu_set_t *cpus) {
    const char *comma = "";
    for (int first = 0; first < CPU_SETSIZE; first++) {
        if (!CPU_ISSET((size_t)first, cpus)) continue;
        int last = first;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET((size_t)last + 1, cpus)) last++;
        add(t, last > first ? "%s%d-%d" : "%s%d", comma, first, last);
        comma = ",";
        first = last;
    }
}

int pin_process(const cpu_set_t *cpus) {
    DIR *threads = opendir("/proc/self/task");
    if (!threads) return sched_setaffinity(0, sizeof *cpus, cpus);
    int failed = 0, error = 0;
    for (struct dirent *entry; (entry = readdir(threads));) {
        int thread = atoi(entry->d_name);
        if (thread > 0 && sched_setaffinity(thread, sizeof *cpus, cpus) && errno != ESRCH) failed = -1, error = errno;
    }
    closedir(threads);
    errno = error;
    return failed;
}
