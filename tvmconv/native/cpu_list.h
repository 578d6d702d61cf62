/* CPUs by their numbers, as Linux lists them: 0,2-3. */
#ifndef TVMCONV_CPU_LIST_H
#define TVMCONV_CPU_LIST_H

/* Reads the numbers of a list, all below `most`, into cpus[most], each once, in its order. Returns how many there are,
 * or -1 for text that is no such list. */
int tvmconv_cpu_list(const char *text, int most, int *cpus);

#endif
