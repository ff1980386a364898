/* Compares queries with rows: with the rows of the cells that each query probes, or with all rows of a table. See
 * vectorcache/vectors/native/__init__.py.
 *
 * The fast forms of all rows are offered to a bounded heap. The rows that remain in it are scored by the direct form in
 * double precision and sorted, and copies are removed. Sums are computed in a fixed order of lanes, so that the
 * distance of a row is the same to the last bit wherever it is stored. One library serves every processor of an
 * architecture.
 *
 * If the rows have codes, these are scanned instead (see codes.h). Rows whose lower bound is below a limit are scored
 * directly, several at a time, lowest bound first. The limit is the k-th smallest distance so far.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VARIANTS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VARIANTS
#endif
#define INLINE static inline __attribute__((always_inline))

#include "codes.h"

/* Vectors of floats and doubles, at any address. */
typedef float lanes __attribute__((vector_size(64), aligned(4)));
typedef float half_lanes __attribute__((vector_size(32), aligned(4)));
typedef float quarter_lanes __attribute__((vector_size(16), aligned(4)));
typedef double wide_lanes __attribute__((vector_size(64), aligned(8)));
enum { LANES = 16, WIDE_LANES = 8 };

enum metric { EUCLIDEAN = 0, COSINE = 1, DOT = 2 };

struct block { /* contiguous rows: a chunk or a table */
    const float *vectors; /* row by row */
    const float *terms;   /* the term of each row in the fast form */
    const int64_t *rows;  /* the number of each row in its collection; NULL if it is the position */
    const uint8_t *codes; /* blocks of codes, see codes.h; NULL if there are none */
    const float *centroids; /* of the block's cells, if there are codes */
    int64_t first_cell;
};

struct candidate {
    float fast;
    int32_t block;
    int64_t position; /* row in the block */
};

struct neighbour {
    double distance;
    int64_t row;
    int64_t block;
    int64_t position;
};

/* Result of one query: number of neighbours, of rows compared, and of rows scored directly. */
struct outcome {
    int64_t count, scanned, scored;
};

/* The sum of lanes i, i + 4, i + 8 and i + 12. */
INLINE quarter_lanes fold(lanes v)
{
    half_lanes half = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
        + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
}

/* The sums of all lanes of four vectors. */
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

/* A query prepared for inner products. If d is not a multiple of LANES, the last lanes are loaded from the end of the
 * row and overlap the previous ones. tail is the end of the query, with zeros where the lanes overlap. */
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

/* Inner products with four rows. The components of the query are loaded once for all of them. The next four rows are
 * prefetched, because the hardware prefetcher does not cross pages. */
INLINE quarter_lanes dots4(const float *row, const struct query *query)
{
    int64_t d = query->d;
    const float *a = row, *b = row + d, *c = row + 2 * d, *e = row + 3 * d;
    lanes sa = {0}, sb = {0}, sc = {0}, se = {0};
    for (int64_t i = 0; i < query->whole; i += LANES) {
        lanes q = load(query->values + i);
        __builtin_prefetch(a + 4 * d + i);
        __builtin_prefetch(b + 4 * d + i);
        __builtin_prefetch(c + 4 * d + i);
        __builtin_prefetch(e + 4 * d + i);
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

/* Squared distance of a scaled row from another vector: see direct_form. */
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

/* Restores the order of a heap whose first entry is the largest. */
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
    float rest; /* the smallest value that was not kept */
};

INLINE void offer(struct heap *heap, float fast, int32_t block, int64_t position)
{
    struct candidate entry = {fast, block, position};
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

INLINE void scan_rows(struct heap *heap, const struct block *block, int32_t number, int64_t start, int64_t stop,
                      const struct query *query, int metric)
{
    int64_t row = start, d = query->d;
    for (; row + 4 <= stop; row += 4) {
        quarter_lanes dots = dots4(block->vectors + row * d, query);
        for (int i = 0; i < 4; i++)
            offer(heap, fast_form(metric, dots[i], block->terms[row + i]), number, row + i);
    }
    for (; row < stop; row++)
        offer(heap, fast_form(metric, dot1(block->vectors + row * d, query), block->terms[row]), number, row);
}

/* As scan_rows, with known inner products. LANES values at a time are compared with the largest of the heap, because
 * most are larger. */
INLINE void scan_dots(struct heap *heap, const struct block *block, const float *dots, int64_t count, int metric)
{
    int64_t row = 0;
    for (; row < count && heap->count < heap->room; row++)
        offer(heap, fast_form(metric, dots[row], block->terms[row]), 0, row);
    for (; row + LANES <= count; row += LANES) {
        float fast[LANES], least = INFINITY;
        for (int i = 0; i < LANES; i++)
            fast[i] = fast_form(metric, dots[row + i], block->terms[row + i]);
        for (int i = 0; i < LANES; i++)
            least = fast[i] < least ? fast[i] : least;
        if (least >= heap->entries[0].fast) {
            heap->rest = least < heap->rest ? least : heap->rest;
            continue;
        }
        for (int i = 0; i < LANES; i++)
            offer(heap, fast[i], 0, row + i);
    }
    for (; row < count; row++)
        offer(heap, fast_form(metric, dots[row], block->terms[row]), 0, row);
}

static int nearer(const void *left, const void *right)
{
    const struct neighbour *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* A query in the form that the direct form takes, and the values that bound the fast form's error. */
struct measure {
    int metric;
    const double *exact; /* of length one under cosine */
    int64_t d;
    double smallest_norm; /* under cosine, a shorter row counts as zero */
    double length, largest_norm; /* norm of the query, and upper bound of the norms of the rows */
};

/* Upper bound of the absolute error of a fast value: Metric.slack. */
INLINE double slack(const struct measure *measure)
{
    double largest = measure->largest_norm, scale = largest * measure->length;
    if (measure->metric == EUCLIDEAN)
        scale = largest * (0.5 * largest + measure->length);
    else if (measure->metric == COSINE)
        scale = 1.0;
    return (double)(measure->d + 8) * 0x1p-24 * scale + (double)measure->d * FLT_MIN;
}

/* The largest fast value, including rounding, of a row at this distance or nearer: Metric.bound. */
INLINE double bound(const struct measure *measure, double distance)
{
    double value = distance;
    if (measure->metric == EUCLIDEAN)
        value = 0.5 * (distance * distance - measure->length * measure->length);
    else if (measure->metric == COSINE)
        value = distance - 1.0;
    return value + slack(measure);
}

/* Scores the candidates in a heap directly and writes the k nearest distinct rows, in order. Returns their number. */
INLINE int64_t settle(const struct heap *heap, const struct block *blocks, const struct measure *measure, int64_t k,
                      struct neighbour *scored, struct neighbour *found)
{
    int64_t d = measure->d;
    for (int64_t i = 0; i < heap->count; i++) {
        struct candidate entry = heap->entries[i];
        const struct block *block = &blocks[entry.block];
        const float *values = block->vectors + entry.position * d;
        double distance = direct_form(measure->metric, values, measure->exact, d, measure->smallest_norm);
        int64_t row = block->rows ? block->rows[entry.position] : entry.position;
        scored[i] = (struct neighbour){distance, row, entry.block, entry.position};
    }
    qsort(scored, (size_t)heap->count, sizeof(struct neighbour), nearer);
    int64_t count = 0;
    for (int64_t i = 0; i < heap->count && count < k; i++)
        if (i == 0 || scored[i].row != scored[i - 1].row)
            found[count++] = scored[i];
    return count;
}

/* The places of a version's cells: cell c is the rows starts[c] to stops[c] of chunk chunk_of_cell[c]. Only some of the
 * chunks are in memory: blocks[i] is chunk numbers[i], ascending. */
struct cells {
    const int32_t *chunk_of_cell;
    const int64_t *starts, *stops;
    const struct block *blocks;
    const int64_t *numbers;
    int64_t count;
};

/* Returns the first block, starting at block, whose chunk is not before this one. Blocks and probes both ascend. */
INLINE int64_t seek_block(const struct cells *cells, int64_t block, int32_t chunk)
{
    while (block < cells->count && cells->numbers[block] < chunk)
        block++;
    return block;
}

/* Compares a query with the rows of its cells, ascending. Returns the number of rows. Cells whose chunk is not in
 * memory are skipped; adjacent cells are scanned as one run. */
INLINE int64_t scan_probes(struct heap *heap, const struct cells *cells, const int32_t *probes, int64_t count,
                           const struct query *query, int metric)
{
    int64_t scanned = 0, block = 0, probe = 0;
    while (probe < count) {
        int32_t cell = probes[probe++], chunk = cells->chunk_of_cell[cell];
        block = seek_block(cells, block, chunk);
        if (block == cells->count)
            break;
        if (cells->numbers[block] != chunk)
            continue;
        int64_t start = cells->starts[cell], stop = cells->stops[cell];
        for (; probe < count && probes[probe] == cell + 1 && cells->chunk_of_cell[cell + 1] == chunk; probe++)
            stop = cells->stops[++cell];
        scan_rows(heap, &cells->blocks[block], (int32_t)block, start, stop, query, metric);
        scanned += stop - start;
    }
    return scanned;
}

/* Queries (d values each), and memory for their answers: k neighbours per query. The answers are proved to be complete:
 * no row that was not scored can be nearer. spare is how many more than k rows are scored at first. */
struct task {
    const float *queries;
    int64_t count, d;
    int metric;
    double smallest_norm, largest_norm;
    int64_t k, spare;
    struct neighbour *found;
    struct outcome *outcomes;
};

/* The rows to search: those of the cells that each query probes, or all rows of one table if cells is NULL. */
struct space {
    const struct cells *cells;
    const int32_t *probes; /* of all queries, one after the other; those of one query ascend */
    const int64_t *ends;   /* one past the last probe of each query */
    const struct block *table;
    int64_t row_count;
    const float *dots; /* inner products of prepared queries with the table's rows, or NULL */
};

INLINE int64_t scan_space(struct heap *heap, const struct space *space, int64_t number, const struct query *query,
                          int metric)
{
    if (space->cells) {
        int64_t first = number ? space->ends[number - 1] : 0;
        return scan_probes(heap, space->cells, space->probes + first, space->ends[number] - first, query, metric);
    }
    if (space->dots)
        scan_dots(heap, space->table, space->dots + number * space->row_count, space->row_count, metric);
    else
        scan_rows(heap, space->table, 0, 0, space->row_count, query, metric);
    return space->row_count;
}

/* Converts a query into the form whose inner products the fast form takes, and into that of the direct form. */
INLINE struct measure prepare(const struct task *task, const float *values, float *prepared, double *exact)
{
    double length = wide_norm(values, task->d), smallest = task->smallest_norm, divisor = 1.0;
    int is_nonzero = length >= smallest;
    if (task->metric == COSINE && is_nonzero)
        divisor = length;
    for (int64_t i = 0; i < task->d; i++) {
        prepared[i] = (float)(values[i] / divisor);
        exact[i] = values[i] / divisor;
    }
    /* Every distance from a zero query is 1, as is that from a zero row. */
    if (task->metric == COSINE && !is_nonzero)
        smallest = INFINITY;
    return (struct measure){task->metric, exact, task->d, smallest, length, task->largest_norm};
}

/* Buffers that grow with the number of rows to be scored. */
struct room {
    struct candidate *entries;
    struct neighbour *scored;
};

INLINE int make_room(struct room *room, int64_t take)
{
    free(room->entries);
    free(room->scored);
    room->entries = malloc(sizeof(struct candidate) * (size_t)take);
    room->scored = malloc(sizeof(struct neighbour) * (size_t)take);
    return room->entries && room->scored ? 0 : -1;
}

/* Answers one query. Scores four times as many rows as long as a row that was left out could belong to the answer. */
INLINE int scan_one(const struct task *task, const struct space *space, int64_t number, float *prepared, double *exact,
                    struct room *room)
{
    struct measure measure = prepare(task, task->queries + number * task->d, prepared, exact);
    struct query query = make_query(prepared, task->d);
    const struct block *blocks = space->cells ? space->cells->blocks : space->table;
    struct neighbour *found = task->found + number * task->k;
    int64_t first = task->k + task->spare;
    for (int64_t take = first;; take *= 4) {
        if (take > first && make_room(room, take))
            return -1;
        struct heap heap = {room->entries, 0, take, INFINITY};
        int64_t scanned = scan_space(&heap, space, number, &query, task->metric);
        int64_t count = settle(&heap, blocks, &measure, task->k, room->scored, found);
        task->outcomes[number] = (struct outcome){count, scanned, heap.count};
        if (take >= scanned || (count == task->k && bound(&measure, found[count - 1].distance) < heap.rest))
            return take > first ? make_room(room, first) : 0;
    }
}

INLINE int scan_all(const struct task *task, const struct space *space)
{
    struct room room = {0, 0};
    float *prepared = malloc(sizeof(float) * (size_t)task->d);
    double *exact = malloc(sizeof(double) * (size_t)task->d);
    int status = prepared && exact ? make_room(&room, task->k + task->spare) : -1;
    for (int64_t number = 0; !status && number < task->count; number++)
        status = scan_one(task, space, number, prepared, exact, &room);
    free(prepared);
    free(exact);
    free(room.entries);
    free(room.scored);
    return status;
}

/* Squared distance from a query to a centroid. */
INLINE float gap_of(const struct query *query, const float *centroid)
{
    const float *values = query->values;
    lanes sum = {0};
    int64_t i = 0;
    for (; i + LANES <= query->d; i += LANES) {
        lanes difference = load(values + i) - load(centroid + i);
        sum += difference * difference;
    }
    float gap = 0;
    for (int lane = 0; lane < LANES; lane++)
        gap += sum[lane];
    for (; i < query->d; i++)
        gap += (values[i] - centroid[i]) * (values[i] - centroid[i]);
    return gap;
}

INLINE void prefetch_row(const float *row, int64_t d)
{
    for (int64_t i = 0; i < d && i < 1024; i += LANES)
        __builtin_prefetch(row + i);
}

/* Restores the order of a heap whose first entry is the smallest. */
INLINE void sink(struct candidate *heap, int64_t count, int64_t at)
{
    struct candidate moved = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1].fast < heap[child].fast)
            child++;
        if (heap[child].fast >= moved.fast)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* The value, as bounded by codes, of a row at this distance. */
INLINE double value_of(const struct measure *measure, double distance)
{
    if (measure->metric == EUCLIDEAN)
        return distance * distance;
    return measure->metric == COSINE ? 2 * distance - 1 : measure->length * measure->length + 2 * distance;
}

/* Inserts a neighbour into count sorted ones, if it is near enough and not a copy. Returns the new count. */
INLINE int64_t insert(struct neighbour *found, int64_t count, int64_t k, struct neighbour one)
{
    if (count == k && nearer(&one, &found[k - 1]) >= 0)
        return count;
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (nearer(&found[middle], &one) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < count && nearer(&found[low], &one) == 0)
        return count;
    count += count < k;
    memmove(&found[low + 1], &found[low], sizeof(struct neighbour) * (size_t)(count - 1 - low));
    found[low] = one;
    return count;
}

/* The rows of a cell whose chunk is in memory. */
struct span {
    const float *centroid;
    float gap; /* of the query to the centroid */
    int32_t block;
    int64_t start, stop;
};

/* A search of one query by codes. Candidates are rows whose lower bound is below the limit. The limit is the value (see
 * value_of) of the k-th nearest row scored so far, rounded up to the next float. */
struct search {
    const struct coding *coding;
    block_bounds *bounds;
    struct tables tables;
    const struct block *blocks;
    struct measure measure;
    struct query query;
    struct span *spans;
    struct candidate *candidates;
    int64_t count, capacity; /* of candidates */
    float limit;
    int64_t k;
    struct neighbour *found;
    struct outcome *outcome;
};

/* Scores the candidates directly, lowest bound first, until no other candidate can belong to the k nearest. */
INLINE void score_candidates(struct search *search)
{
    struct candidate *heap = search->candidates;
    const struct measure *measure = &search->measure;
    int64_t left = search->count, d = measure->d;
    search->count = 0;
    for (int64_t at = left / 2 - 1; at >= 0; at--)
        sink(heap, left, at);
    while (left && heap[0].fast < search->limit) {
        struct candidate next = heap[0];
        heap[0] = heap[--left];
        if (left) {
            sink(heap, left, 0);
            /* The next candidate, and the two of which one comes after it. */
            for (int64_t soon = 0; soon < 3 && soon < left; soon++)
                prefetch_row(search->blocks[heap[soon].block].vectors + heap[soon].position * d, d);
        }
        const struct block *block = &search->blocks[next.block];
        const float *values = block->vectors + next.position * d;
        double distance = direct_form(measure->metric, values, measure->exact, d, measure->smallest_norm);
        struct neighbour one = {distance, block->rows[next.position], next.block, next.position};
        search->outcome->count = insert(search->found, search->outcome->count, search->k, one);
        search->outcome->scored++;
        if (search->outcome->count == search->k) /* the next larger float, so that equal values remain candidates */
            search->limit = nextafterf((float)value_of(measure, search->found[search->k - 1].distance), INFINITY);
    }
}

/* Adds the rows of one cell to the candidates. */
INLINE void scan_span_codes(struct search *search, const struct span *span)
{
    const struct tables *tables = &search->tables;
    int64_t width = search->coding->width, stride = FACTOR_BYTES + BLOCK_ROWS * width;
    float wide = 2.0f * (float)search->coding->deviations;
    struct terms terms = {span->gap * (1 - 0x1p-20f), 2 * tables->step, 2 * tables->offset + wide * tables->rounding,
                          wide * sqrtf(span->gap), search->limit};
    for (int64_t first = span->start - span->start % BLOCK_ROWS; first < span->stop; first += BLOCK_ROWS) {
        const uint8_t *block = search->blocks[span->block].codes + first / BLOCK_ROWS * stride;
        float bounds[BLOCK_ROWS];
        uint32_t lower = search->bounds(block, tables->entries, width, &terms, bounds);
        if (first < span->start)
            lower &= UINT32_MAX << (span->start - first);
        if (first + BLOCK_ROWS > span->stop)
            lower &= UINT32_MAX >> (first + BLOCK_ROWS - span->stop);
        for (; lower; lower &= lower - 1) {
            int row = __builtin_ctz(lower);
            search->candidates[search->count++] = (struct candidate){bounds[row], span->block, first + row};
        }
        if (search->count >= search->capacity - BLOCK_ROWS) {
            score_candidates(search);
            terms.limit = search->limit;
        }
    }
}

/* Finds the cells whose chunk is in memory, the one with the nearest centroid first, because its rows give a low limit
 * for the others. Returns their number. */
INLINE int64_t find_spans(struct search *search, const struct cells *cells, const int32_t *probes, int64_t count)
{
    struct span *spans = search->spans;
    int64_t found = 0, block = 0, nearest = 0, d = search->query.d;
    for (int64_t at = 0; at < count; at++) {
        int32_t cell = probes[at], chunk = cells->chunk_of_cell[cell];
        block = seek_block(cells, block, chunk);
        if (block == cells->count)
            break;
        if (cells->numbers[block] != chunk || cells->starts[cell] == cells->stops[cell])
            continue;
        const float *centroid = cells->blocks[block].centroids + (cell - cells->blocks[block].first_cell) * d;
        spans[found++] = (struct span){centroid, 0, (int32_t)block, cells->starts[cell], cells->stops[cell]};
        prefetch_row(centroid, d);
    }
    for (int64_t at = 0; at < found; at++) {
        spans[at].gap = gap_of(&search->query, spans[at].centroid);
        if (spans[at].gap < spans[nearest].gap)
            nearest = at;
    }
    if (found) {
        struct span first = spans[nearest];
        spans[nearest] = spans[0];
        spans[0] = first;
    }
    return found;
}

/* Answers one query by codes. */
INLINE void scan_one_codes(struct search *search, const struct task *task, const struct space *space, int64_t number,
                           float *prepared, double *exact, float *rotated)
{
    int64_t d = task->d, first = number ? space->ends[number - 1] : 0;
    search->measure = prepare(task, task->queries + number * d, prepared, exact);
    search->query = (struct query){prepared, {0}, d, d};
    for (int64_t i = 0; i < d; i++)
        rotated[i] = prepared[i] - search->coding->centre[i];
    rotate(rotated, d, search->coding);
    make_tables(&search->tables, rotated, search->coding);
    search->count = 0;
    search->limit = INFINITY;
    search->found = task->found + number * task->k;
    search->outcome = &task->outcomes[number];
    *search->outcome = (struct outcome){0, 0, 0};
    int64_t spans = find_spans(search, space->cells, space->probes + first, space->ends[number] - first);
    for (int64_t at = 0; at < spans; at++) {
        scan_span_codes(search, &search->spans[at]);
        search->outcome->scanned += search->spans[at].stop - search->spans[at].start;
        if (!at || at + 1 == spans)
            score_candidates(search);
    }
}

/* Finds the nearest rows of each query among those of its cells, by codes. Candidates are scored when more than waiting
 * have been collected. Returns 0, or -1 if an allocation failed. */
VARIANTS int vectorcache_scan_codes(const struct cells *cells, const int32_t *probes, const int64_t *ends,
                                    const struct coding *coding, const float *queries, int64_t count, int64_t d,
                                    int metric, double smallest_norm, double largest_norm, int64_t k, int64_t waiting,
                                    struct neighbour *found, struct outcome *outcomes)
{
    struct task task = {queries, count, d, metric, smallest_norm, largest_norm, k, 0, found, outcomes};
    struct space space = {cells, probes, ends, 0, 0, 0};
    int64_t most = 0;
    for (int64_t number = 0; number < count; number++) {
        int64_t cells_here = ends[number] - (number ? ends[number - 1] : 0);
        most = cells_here > most ? cells_here : most;
    }
    struct search search = {.coding = coding, .bounds = best_block_bounds(), .blocks = cells->blocks, .k = k,
                            .capacity = waiting + BLOCK_ROWS};
    float *prepared = malloc(sizeof(float) * (size_t)d);
    double *exact = malloc(sizeof(double) * (size_t)d);
    float *rotated = calloc((size_t)(coding->width * 8), sizeof(float));
    search.tables.entries = malloc((size_t)(2 * ENTRIES * coding->width));
    search.candidates = malloc(sizeof(struct candidate) * (size_t)search.capacity);
    search.spans = malloc(sizeof(struct span) * (size_t)(most + 1));
    int status = prepared && exact && rotated && search.tables.entries && search.candidates && search.spans ? 0 : -1;
    for (int64_t number = 0; !status && number < count; number++)
        scan_one_codes(&search, &task, &space, number, prepared, exact, rotated);
    free(prepared);
    free(exact);
    free(rotated);
    free(search.tables.entries);
    free(search.candidates);
    free(search.spans);
    return status;
}

/* Finds the nearest rows of each query among those of its cells. Returns 0, or -1 if an allocation failed. */
VARIANTS int vectorcache_scan_cells(const struct cells *cells, const int32_t *probes, const int64_t *ends,
                                    const float *queries, int64_t count, int64_t d, int metric, double smallest_norm,
                                    double largest_norm, int64_t k, int64_t spare, struct neighbour *found,
                                    struct outcome *outcomes)
{
    struct task task = {queries, count, d, metric, smallest_norm, largest_norm, k, spare, found, outcomes};
    struct space space = {cells, probes, ends, 0, 0, 0};
    return scan_all(&task, &space);
}

/* Finds the nearest rows of each query among all rows of one block. Returns 0, or -1 if an allocation failed. */
VARIANTS int vectorcache_scan_table(const struct block *table, int64_t row_count, const float *dots,
                                    const float *queries, int64_t count, int64_t d, int metric, double smallest_norm,
                                    double largest_norm, int64_t k, int64_t spare, struct neighbour *found,
                                    struct outcome *outcomes)
{
    struct task task = {queries, count, d, metric, smallest_norm, largest_norm, k, spare, found, outcomes};
    struct space space = {0, 0, 0, table, row_count, dots};
    return scan_all(&task, &space);
}

/* Returns the k-th smallest value, and reorders the values (Hoare's quickselect). */
INLINE float kth_smallest(float *values, int64_t count, int64_t k)
{
    int64_t left = 0, right = count - 1, wanted = k - 1;
    while (left < right) {
        float pivot = values[(left + right) / 2];
        int64_t up = left, down = right;
        while (up <= down) {
            while (values[up] < pivot)
                up++;
            while (values[down] > pivot)
                down--;
            if (up <= down) {
                float other = values[up];
                values[up++] = values[down];
                values[down--] = other;
            }
        }
        if (wanted <= down)
            right = down;
        else if (wanted >= up)
            left = up;
        else
            break;
    }
    return values[wanted];
}

/* Computes the fast values of all rows of a table. */
INLINE void fast_values(const struct block *table, int64_t count, const float *dots, const struct query *query,
                        int metric, float *values)
{
    int64_t row = 0, d = query->d;
    for (; !dots && row + 4 <= count; row += 4) {
        quarter_lanes four = dots4(table->vectors + row * d, query);
        for (int i = 0; i < 4; i++)
            values[row + i] = fast_form(metric, four[i], table->terms[row + i]);
    }
    for (; row < count; row++)
        values[row] = fast_form(metric, dots ? dots[row] : dot1(table->vectors + row * d, query), table->terms[row]);
}

/* Scores the rows whose fast values are within two slacks of the limit, and marks the wanted nearest of them by the
 * value -INFINITY, and the others by INFINITY. */
INLINE void decide(const struct block *table, int64_t row_count, float *values, float limit, int64_t wanted,
                   const struct measure *measure, struct neighbour *scored)
{
    int64_t undecided = 0, d = measure->d;
    double reach = 2 * slack(measure);
    for (int64_t row = 0; row < row_count; row++) {
        if (values[row] < limit - reach || values[row] > limit + reach)
            continue;
        const float *vector = table->vectors + row * d;
        double distance = direct_form(measure->metric, vector, measure->exact, d, measure->smallest_norm);
        scored[undecided++] = (struct neighbour){distance, row, 0, row};
        values[row] = INFINITY;
    }
    qsort(scored, (size_t)undecided, sizeof(struct neighbour), nearer);
    for (int64_t at = 0; at < wanted; at++)
        values[scored[at].row] = -INFINITY;
}

/* Chooses the k nearest rows of a table for each query, in ascending order. The fast value of a row decides whether it
 * is chosen, unless it is within rounding of the k-th smallest; these few rows are scored directly. Returns 0, or -1 if
 * an allocation failed. */
VARIANTS int vectorcache_choose_rows(const struct block *table, int64_t row_count, const float *dots,
                                     const float *queries, int64_t count, int64_t d, int metric, double smallest_norm,
                                     double largest_norm, int64_t k, int32_t *chosen)
{
    struct task task = {queries, count, d, metric, smallest_norm, largest_norm, k, 0, 0, 0};
    float *prepared = malloc(sizeof(float) * (size_t)d);
    double *exact = malloc(sizeof(double) * (size_t)d);
    float *values = malloc(sizeof(float) * (size_t)(2 * row_count));
    struct neighbour *scored = malloc(sizeof(struct neighbour) * (size_t)row_count);
    int status = prepared && exact && values && scored ? 0 : -1;
    for (int64_t number = 0; !status && number < count; number++) {
        struct measure measure = prepare(&task, queries + number * d, prepared, exact);
        struct query query = make_query(prepared, d);
        fast_values(table, row_count, dots ? dots + number * row_count : 0, &query, metric, values);
        memcpy(values + row_count, values, sizeof(float) * (size_t)row_count);
        float limit = kth_smallest(values + row_count, row_count, k);
        int64_t wanted = k, found = 0;
        for (int64_t row = 0; row < row_count; row++)
            wanted -= values[row] < limit - 2 * slack(&measure);
        decide(table, row_count, values, limit, wanted, &measure, scored);
        for (int64_t row = 0; row < row_count && found < k; row++)
            if (values[row] < limit)
                chosen[number * k + found++] = (int32_t)row;
    }
    free(prepared);
    free(exact);
    free(values);
    free(scored);
    return status;
}
