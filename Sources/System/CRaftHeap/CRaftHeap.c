#define _GNU_SOURCE 1
#include "CRaftHeap.h"

#include <pthread.h>
#include <raft.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// Addresses for kept blocks: only those that are in use have memory.
static const size_t space_size = (size_t)4 << 30;
// Smaller blocks are not shared by entries of a log: two of them, with their heads, need more.
static const size_t least_kept = 64;
static const time_t seconds_kept = 60;

struct kept_block {
    size_t offset;
    size_t size;
    time_t released; // 0 as long as it is used
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int keeping;
static _Atomic(unsigned char *) space;
// When the next block is to be given back; 0 for never.
static _Atomic(time_t) due;
// What follows is guarded by the lock. The blocks that still have memory, by their offsets.
static struct kept_block *blocks;
static size_t count, room, used;

static time_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return time.tv_sec;
}

static size_t in_pages(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

static bool is_kept(const void *block) {
    const unsigned char *base = atomic_load_explicit(&space, memory_order_acquire);
    return base && (const unsigned char *)block >= base && (const unsigned char *)block < base + space_size;
}

static struct kept_block *find(const void *block) {
    size_t offset = (size_t)((const unsigned char *)block - atomic_load(&space));
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (blocks[middle].offset < offset) low = middle + 1;
        else high = middle;
    }
    return low < count && blocks[low].offset == offset ? &blocks[low] : NULL;
}

static void *keep(size_t size) {
    void *made = NULL;
    pthread_mutex_lock(&lock);
    unsigned char *base = atomic_load(&space);
    if (!base) {
        base = mmap(NULL, space_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED) goto out;
        atomic_store_explicit(&space, base, memory_order_release);
    }
    size_t length = in_pages(size);
    if (length < size || length > space_size - used) goto out;
    if (count == room) {
        struct kept_block *more = realloc(blocks, (room * 2 + 64) * sizeof *blocks);
        if (!more) goto out;
        blocks = more;
        room = room * 2 + 64;
    }
    if (mprotect(base + used, length, PROT_READ | PROT_WRITE) < 0) goto out;
    blocks[count++] = (struct kept_block){.offset = used, .size = size, .released = 0};
    made = base + used;
    used += length;
out:
    pthread_mutex_unlock(&lock);
    return made;
}

void fan_blocks_give_back(long seconds) {
    pthread_mutex_lock(&lock);
    time_t time = now(), next = 0;
    size_t left = 0;
    for (size_t index = 0; index < count; index++) {
        struct kept_block block = blocks[index];
        if (block.released != 0 && time - block.released >= seconds) {
            // In one step, so that nobody ever reads zeros.
            void *gone = mmap(atomic_load(&space) + block.offset, in_pages(block.size), PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
            if (gone != MAP_FAILED) continue;
        }
        if (block.released != 0 && (next == 0 || block.released + seconds_kept < next))
            next = block.released + seconds_kept;
        blocks[left++] = block;
    }
    count = left;
    atomic_store(&due, next);
    pthread_mutex_unlock(&lock);
}

static void release(void *block) {
    pthread_mutex_lock(&lock);
    struct kept_block *found = find(block);
    if (found && found->released == 0) {
        found->released = now();
        time_t next = atomic_load(&due);
        if (next == 0 || found->released + seconds_kept < next) atomic_store(&due, found->released + seconds_kept);
    }
    pthread_mutex_unlock(&lock);
}

void fan_blocks_keep(int change) { atomic_fetch_add(&keeping, change); }

size_t fan_blocks_held(void) {
    pthread_mutex_lock(&lock);
    size_t held = count;
    pthread_mutex_unlock(&lock);
    return held;
}

void *fan_blocks_malloc(void *unused, size_t size) {
    (void)unused;
    time_t next = atomic_load_explicit(&due, memory_order_relaxed);
    if (next != 0 && now() >= next) fan_blocks_give_back(seconds_kept);
    if (size >= least_kept && atomic_load_explicit(&keeping, memory_order_relaxed) > 0) {
        void *made = keep(size);
        if (made) return made;
    }
    return malloc(size);
}

void fan_blocks_free(void *unused, void *block) {
    (void)unused;
    if (is_kept(block)) release(block);
    else free(block);
}

static void *zeroed(void *unused, size_t number, size_t size) {
    (void)unused;
    return calloc(number, size);
}

void *fan_blocks_realloc(void *unused, void *block, size_t size) {
    if (!is_kept(block)) return realloc(block, size);
    void *made = malloc(size);
    if (!made) return NULL;
    pthread_mutex_lock(&lock);
    struct kept_block *found = find(block);
    if (found) memcpy(made, block, found->size < size ? found->size : size);
    pthread_mutex_unlock(&lock);
    fan_blocks_free(unused, block);
    return made;
}

static void *aligned(void *unused, size_t alignment, size_t size) {
    (void)unused;
    return aligned_alloc(alignment, size);
}

static void release_aligned(void *unused, size_t alignment, void *block) {
    (void)alignment;
    fan_blocks_free(unused, block);
}

static struct raft_heap heap = {
    .malloc = fan_blocks_malloc,
    .free = fan_blocks_free,
    .calloc = zeroed,
    .realloc = fan_blocks_realloc,
    .aligned_alloc = aligned,
    .aligned_free = release_aligned,
};

void fan_blocks_serve_raft(void) { raft_heap_set(&heap); }
