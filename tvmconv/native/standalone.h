/* The layers of a standalone program: a table that standalone.py generates, for standalone.c and proof.c. */
#ifndef TVMCONV_STANDALONE_H
#define TVMCONV_STANDALONE_H
#include <stddef.h>
#include <stdint.h>
#include "tvmconv.h"

typedef struct {
    const char *title; /* for people */
    const char *row;   /* what is known of its row before it runs: members of a JSON object */
    int32_t mb, g, ic, ih, iw, oc, oh, ow, kh, kw, sh, sw, dh, dw, ph, pw; /* as in its descriptor: dh and dw from 0 */
    int32_t nchw;      /* whether x and y are that, else NHWC */
    size_t (*packed_bytes)(void), (*workspace_bytes)(int32_t threads);
    int (*pack)(const float *w, const float *bias, void *packed), (*clamp)(float lower, float upper, void *packed);
    int (*prepare)(void *workspace);
    int (*run)(const float *x, const void *packed, float *y, void *workspace, const tvmconv_pool *pool);
} layer;

extern const layer layers[];
extern const int32_t layer_count;
extern const char context[];        /* as row, of the first object */
extern const char target[];         /* what the kernels were made for */
extern const char *const features[]; /* that they need, as Linux names them; NULL ends them */

/* A problem of small integers, on which every partial sum is exact in float32, whatever its order. */
typedef struct {
    float *x, *w, *bias, lower, upper; /* x in the layer's layout, w OIHW; the clamp cuts both ends */
    int32_t *expected;                 /* y as NHWC, by the definition of a convolution */
} problem;

int make_problem(const layer *l, problem *p); /* whether there was memory; what there is is the caller's to free */
void free_problem(problem *p);
size_t x_size(const layer *l), y_size(const layer *l); /* elements */
double largest_error(const layer *l, const problem *p, const float *y); /* 0: exact; NaN where an output is NaN */
#endif
