// Memory for libraft 0.22.1. Entries of its log that it read from one file share a block, which it frees when the log has
// none of them any more, although it still sends others, and once more for each of those.
//
// So the blocks that it makes while it reads are kept: each one is made of pages of its own. When it is released it stays
// readable for a minute, and then its pages are given back; its addresses are never used again, so that a later write(2)
// from it fails with EFAULT and a second release does nothing. All other blocks are malloc's.
#pragma once
#include <stddef.h>

// Makes these functions the ones that libraft uses; before anything else of it is called.
void fan_blocks_serve_raft(void);

// From now on blocks that malloc makes are kept (1), or not any more (-1); the calls count.
void fan_blocks_keep(int change);

// Gives the pages of blocks back that were released so many seconds ago; malloc does it for a minute by itself.
void fan_blocks_give_back(long seconds);

// How many kept blocks hold memory now.
size_t fan_blocks_held(void);

// What libraft calls, and tests do; the first argument is not used.
void *fan_blocks_malloc(void *unused, size_t size);
void fan_blocks_free(void *unused, void *block);
void *fan_blocks_realloc(void *unused, void *block, size_t size);
