/* The scan of probed cells: compares one query with the rows of many runs. See vectorcache/native/__init__.py.
 *
 * The fast form of every row goes through a bounded heap; what remains in it is scored by the direct form in double
 * precision, sorted, and freed from copies. Sums are taken in fixed lanes, so that a row's distance is the same to the
 * last bit wherever the row stands, and one library serves every processor of an architecture.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VARIANTS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VARIANTS
#endif
#define INLINE static inline __attribute__((always_inline))

/* Sixteen floats and eight doubles, at any address. */
typedef float lanes __attribute__((vector_size(64), aligned(4)));
typedef float half_lanes __attribute__((vector_size(32), aligned(4)));
typedef float quarter_lanes __attribute__((vector_size(16), aligned(4)));
typedef double wide_lanes __attribute__((vector_size(64), aligned(8)));
enum { LANES = 16, WIDE_LANES = 8 };

enum metric { EUCLIDEAN = 0, COSINE = 1, DOT = 2 };

struct run {
    const float *vectors; /* of the whole chunk, row by row */
    const float *terms;   /* what the fast form needs of each row */
    const int64_t *rows;  /* each row's number in its collection */
    int64_t start, stop;  /* the rows to compare */
};

struct candidate {
    float fast;
    int32_t run;
    int64_t position; /* row inside the chunk */
};

struct neighbour {
    double distance;
    int64_t row;
    int32_t run;
    int64_t position;
};

/* The sum of lanes i, i + 4, i + 8 and i + 12. */
INLINE quarter_lanes fold(lanes v)
{
    half_lanes half = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
        + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
}

/* The sums of all lanes of four vectors: folded, transposed, added. */
INLINE quarter_lanes totals(lanes a, lanes b, lanes c, lanes d)
{
    quarter_lanes fa = fold(a), fb = fold(b), fc = fold(c), fd = fold(d);
    quarter_lanes ab = __builtin_shufflevector(fa, fb, 0, 4, 1, 5) + __builtin_shufflevector(fa, fb, 2, 6, 3, 7);
    quarter_lanes cd = __builtin_shufflevector(fc, fd, 0, 4, 1, 5) + __builtin_shufflevector(fc, fd, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

INLINE double wide_total(wide_lanes v)
{
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

INLINE lanes load(const float *at)
{
    return *(const lanes *)at;
}

INLINE wide_lanes load_wide(const float *at)
{
    return __builtin_convertvector(*(const half_lanes *)at, wide_lanes);
}

/* A query, and what its inner products need beside it. Where d is no multiple of the lanes, the last lanes are taken
 * from the row's end and overlap those before; tail is the query's end with zeros where they do. */
struct query {
    const float *values;
    lanes tail;
    int64_t d, whole; /* whole: the part of d that full lanes cover */
};

INLINE struct query make_query(const float *values, int64_t d)
{
    struct query query = {values, {0}, d, d - d % LANES};
    for (int64_t i = query.whole; d >= LANES && i < d; i++)
        query.tail[i - d + LANES] = values[i];
    return query;
}

/* Inner products with four rows: the query's components are loaded once for all of them. */
INLINE quarter_lanes dots4(const float *row, const struct query *query)
{
    int64_t d = query->d;
    const float *a = row, *b = row + d, *c = row + 2 * d, *e = row + 3 * d;
    lanes sa = {0}, sb = {0}, sc = {0}, se = {0};
    for (int64_t i = 0; i < query->whole; i += LANES) {
        lanes q = load(query->values + i);
        sa += load(a + i) * q;
        sb += load(b + i) * q;
        sc += load(c + i) * q;
        se += load(e + i) * q;
    }
    if (query->whole < d && d >= LANES) {
        int64_t i = d - LANES;
        sa += load(a + i) * query->tail;
        sb += load(b + i) * query->tail;
        sc += load(c + i) * query->tail;
        se += load(e + i) * query->tail;
    }
    quarter_lanes out = totals(sa, sb, sc, se);
    for (int64_t i = 0; d < LANES && i < d; i++)
        out += (quarter_lanes){a[i], b[i], c[i], e[i]} * query->values[i];
    return out;
}

INLINE float dot1(const float *row, const struct query *query)
{
    float out = 0;
    for (int64_t i = 0; i < query->d; i++)
        out += row[i] * query->values[i];
    return out;
}

/* Inner product of a row, scaled, with itself less another vector: see direct_form. */
INLINE double squares(const float *row, double scale, const double *less, int64_t d)
{
    wide_lanes sum = {0};
    int64_t i = 0;
    for (; i + WIDE_LANES <= d; i += WIDE_LANES) {
        wide_lanes difference = load_wide(row + i) * scale - *(const wide_lanes *)(less + i);
        sum += difference * difference;
    }
    double out = wide_total(sum);
    for (; i < d; i++)
        out += (row[i] * scale - less[i]) * (row[i] * scale - less[i]);
    return out;
}

INLINE double wide_dot(const float *row, const double *other, int64_t d)
{
    wide_lanes sum = {0};
    int64_t i = 0;
    for (; i + WIDE_LANES <= d; i += WIDE_LANES)
        sum += load_wide(row + i) * *(const wide_lanes *)(other + i);
    double out = wide_total(sum);
    for (; i < d; i++)
        out += row[i] * other[i];
    return out;
}

INLINE double wide_norm(const float *row, int64_t d)
{
    wide_lanes sum = {0};
    int64_t i = 0;
    for (; i + WIDE_LANES <= d; i += WIDE_LANES)
        sum += load_wide(row + i) * load_wide(row + i);
    double out = wide_total(sum);
    for (; i < d; i++)
        out += (double)row[i] * row[i];
    return sqrt(out);
}

INLINE double direct_form(int metric, const float *row, const double *exact, int64_t d, double smallest_norm)
{
    if (metric == EUCLIDEAN)
        return sqrt(squares(row, 1.0, exact, d));
    if (metric == DOT)
        return -wide_dot(row, exact, d);
    double norm = wide_norm(row, d);
    return norm < smallest_norm ? 1.0 : 0.5 * squares(row, 1.0 / norm, exact, d);
}

INLINE float fast_form(int metric, float dot, float term)
{
    switch (metric) {
    case EUCLIDEAN:
        return term - dot;
    case COSINE:
        return term * dot;
    default:
        return -dot;
    }
}

/* A heap whose first entry is the largest that is kept. */
INLINE void sift_down(struct candidate *heap, int64_t count, int64_t at)
{
    struct candidate moved = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1].fast > heap[child].fast)
            child++;
        if (heap[child].fast <= moved.fast)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

INLINE void sift_up(struct candidate *heap, int64_t at)
{
    struct candidate moved = heap[at];
    while (at > 0 && heap[(at - 1) / 2].fast < moved.fast) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moved;
}

struct heap {
    struct candidate *entries;
    int64_t count, room;
    float rest; /* the smallest value that was left out */
};

INLINE void offer(struct heap *heap, float fast, int32_t run, int64_t position)
{
    struct candidate entry = {fast, run, position};
    if (heap->count < heap->room) {
        heap->entries[heap->count] = entry;
        sift_up(heap->entries, heap->count++);
        return;
    }
    float largest = heap->entries[0].fast;
    if (fast >= largest) {
        if (fast < heap->rest)
            heap->rest = fast;
        return;
    }
    heap->rest = largest < heap->rest ? largest : heap->rest;
    heap->entries[0] = entry;
    sift_down(heap->entries, heap->count, 0);
}

INLINE void scan_run(struct heap *heap, const struct run *run, int32_t number, const struct query *query, int metric)
{
    int64_t row = run->start, d = query->d;
    for (; row + 4 <= run->stop; row += 4) {
        const float *values = run->vectors + row * d;
        quarter_lanes dots = dots4(values, query);
        for (int i = 0; i < 4; i++)
            offer(heap, fast_form(metric, dots[i], run->terms[row + i]), number, row + i);
    }
    for (; row < run->stop; row++)
        offer(heap, fast_form(metric, dot1(run->vectors + row * d, query), run->terms[row]), number, row);
}

static int nearer(const void *left, const void *right)
{
    const struct neighbour *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* The k distinct nearest of the rows of all runs.
 *
 * query is prepared for the fast form, exact for the direct one (both d long; exact of length one under cosine).
 * Writes how many were found, at most k, nearest first, and the smallest fast value of a row that was not scored
 * (infinity where all were). smallest_norm: a shorter row counts as zero under cosine.
 * Returns how many were found, or -1 where memory is short.
 */
VARIANTS int64_t vectorcache_scan(const struct run *runs, int64_t run_count, const float *query, const double *exact,
                                  int64_t d, int metric, double smallest_norm, int64_t k, int64_t take,
                                  struct neighbour *found, float *rest)
{
    struct heap heap = {malloc(sizeof(struct candidate) * (size_t)take), 0, take, INFINITY};
    struct neighbour *scored = malloc(sizeof(struct neighbour) * (size_t)take);
    int64_t count = -1;
    if (heap.entries && scored) {
        struct query prepared = make_query(query, d);
        for (int64_t i = 0; i < run_count; i++)
            scan_run(&heap, &runs[i], (int32_t)i, &prepared, metric);
        for (int64_t i = 0; i < heap.count; i++) {
            struct candidate entry = heap.entries[i];
            const struct run *run = &runs[entry.run];
            const float *row = run->vectors + entry.position * d;
            double distance = direct_form(metric, row, exact, d, smallest_norm);
            scored[i] = (struct neighbour){distance, run->rows[entry.position], entry.run, entry.position};
        }
        qsort(scored, (size_t)heap.count, sizeof(struct neighbour), nearer);
        count = 0;
        for (int64_t i = 0; i < heap.count && count < k; i++)
            if (i == 0 || scored[i].row != scored[i - 1].row)
                found[count++] = scored[i];
        *rest = heap.rest;
    }
    free(heap.entries);
    free(scored);
    return count;
}
