/* Prints what tvmconv.describe and tvmconv.sensors return for the CPUs of its argument, a line each. */
#include <stdio.h>
#include "server.h"

const char *tvm_ffi_version(void) { return "1.2.3"; }

int main(int count, char **arguments) {
    text described = {0}, sensors = {0};
    if (count != 2 || parse_cpus(arguments[1], &allowed)) return 2;
    describe_machine(&described);
    read_sensors(&sensors);
    printf("%s\n%s\n", described.data, sensors.data);
    return 0;
}
