// Gives up what a privileged daemon does not need once it has started. Capabilities belong to threads: call these
// before the first other thread is started. A function that can fail returns a negative errno.
#pragma once
#include <stdint.h>

// Keeps of this thread's capabilities only those whose bits are set, for good: the bounding, ambient and inheritable
// sets are emptied of the others, being root gives nothing back, and no program that is run can get more.
// 1 when the bounding set holds more and could not be emptied, for want of CAP_SETPCAP.
int fan_confine_capabilities(uint64_t keep);

// Refuses, with EPERM, every system call that an agent does not make; for this thread and those that it starts, or for
// the whole process.
int fan_confine_calls(int whole_process);

// The bits of capabilities that an agent works with: CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF.
uint64_t fan_agent_capabilities(void);
