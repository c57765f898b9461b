#define _GNU_SOURCE 1
#include "CConfine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (UINT64_C(1) << (capability))

uint64_t fan_agent_capabilities(void) { return BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_BPF); }

int fan_confine_capabilities(uint64_t keep) {
    int is_open = 0;
    for (int capability = 0; capability < 64; capability++) {
        int has = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        // Past the last one that this kernel knows.
        if (has < 0) break;
        if (!has || keep >> capability & 1) continue;
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
        if (errno != EPERM) return -errno;
        is_open = 1;
    }
    unsigned long rules = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                          SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    // Without CAP_SETPCAP this fails, but where the bounding set holds no more there is nothing for root to get.
    if (prctl(PR_SET_SECUREBITS, rules, 0, 0, 0) < 0 && errno != EPERM) return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, sets) < 0) return -errno;
    for (int half = 0; half < _LINUX_CAPABILITY_U32S_3; half++) {
        sets[half].permitted &= (uint32_t)(keep >> 32 * half);
        sets[half].effective = sets[half].permitted;
        sets[half].inheritable = 0;
    }
    if (syscall(SYS_capset, &header, sets) < 0) return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    return is_open;
}

// What an agent does: files, netlink and other sockets, eBPF, waiting, threads, time. A call that is not here is
// refused, not deadly: what a newer library tries first, it then does in an older way, or it fails and is logged.
static const int allowed[] = {
    // files
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_openat, SYS_close, SYS_close_range,
    SYS_fstat, SYS_newfstatat, SYS_statx, SYS_lseek, SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync, SYS_ftruncate,
    SYS_renameat2, SYS_unlinkat, SYS_mkdirat, SYS_readlinkat, SYS_getdents64, SYS_faccessat, SYS_faccessat2, SYS_getcwd,
    SYS_fchmod, SYS_umask, SYS_statfs, SYS_fstatfs, SYS_dup, SYS_dup3, SYS_pipe2,
    // sockets; those that are made, and ioctl, are looked at below
    SYS_bind, SYS_connect, SYS_listen, SYS_accept, SYS_accept4, SYS_getsockname, SYS_getpeername, SYS_getsockopt,
    SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg, SYS_shutdown,
    // eBPF: what may be done with it, the capabilities say
    SYS_bpf,
    // waiting
    SYS_ppoll, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_timerfd_create,
    SYS_timerfd_settime, SYS_timerfd_gettime, SYS_nanosleep, SYS_clock_nanosleep, SYS_restart_syscall,
    // memory and threads; clone, mmap and mprotect are looked at below
    SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_futex, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq,
    SYS_membarrier, SYS_sched_yield, SYS_sched_getaffinity, SYS_getcpu, SYS_set_tid_address, SYS_exit, SYS_exit_group,
    // signals to itself; kill and tgkill are looked at below
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_sigpending,
    SYS_sigaltstack,
    // who and when it is, and how much there is
    SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_getresuid,
    SYS_getresgid, SYS_capget, SYS_uname, SYS_sysinfo, SYS_getrusage, SYS_times, SYS_clock_gettime, SYS_clock_getres,
    SYS_gettimeofday, SYS_getrandom,
#ifdef __x86_64__
    // the older names of some of these, which other machines never had
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename, SYS_unlink, SYS_mkdir, SYS_rmdir, SYS_dup2,
    SYS_pipe, SYS_poll, SYS_select, SYS_epoll_wait, SYS_time, SYS_getrlimit,
#endif
#ifdef SYS_epoll_pwait2
    SYS_epoll_pwait2,
#endif
#ifdef SYS_futex_waitv
    SYS_futex_waitv,
#endif
};

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#else
#error "name this machine for the system-call filter"
#endif

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct program {
    struct sock_filter code[2 * COUNT(allowed) + 128];
    unsigned short length;
};

static void add(struct program *it, unsigned short code, uint32_t value, unsigned char yes, unsigned char no) {
    it->code[it->length++] = (struct sock_filter){code, yes, no, value};
}

static void load(struct program *it, size_t offset) { add(it, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0); }
static void end(struct program *it, uint32_t result) { add(it, BPF_RET | BPF_K, result, 0, 0); }
static void refuse(struct program *it, int code) { end(it, SECCOMP_RET_ERRNO | ((uint32_t)code & SECCOMP_RET_DATA)); }
static void allow(struct program *it) { end(it, SECCOMP_RET_ALLOW); }

// The low half of an argument; both kinds of machine here store it first. The upper half of what is looked at here is
// zero or the kernel does not look at it.
static void load_argument(struct program *it, int index) {
    load(it, offsetof(struct seccomp_data, args) + (size_t)index * sizeof(uint64_t));
}

// Skips the next instructions unless the call has this number.
static void when(struct program *it, int call, unsigned char skip) {
    add(it, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, skip);
}

// Allows a call when an argument is one of up to four values.
static void allow_one_of(struct program *it, int call, int index, const uint32_t *values, int count) {
    when(it, call, (unsigned char)(2 * count + 2));
    load_argument(it, index);
    for (int i = 0; i < count; i++) {
        add(it, BPF_JMP | BPF_JEQ | BPF_K, values[i], 0, 1);
        allow(it);
    }
    refuse(it, EPERM);
}

// Allows a call when of some bits of an argument exactly these are set.
static void allow_masked(struct program *it, int call, int index, uint32_t mask, uint32_t wanted) {
    when(it, call, 5);
    load_argument(it, index);
    add(it, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, wanted, 0, 1);
    allow(it);
    refuse(it, EPERM);
}

static void write_program(struct program *it) {
    load(it, offsetof(struct seccomp_data, arch));
    add(it, BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0);
    end(it, SECCOMP_RET_KILL_PROCESS);
    load(it, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT(allowed); i++) {
        when(it, allowed[i], 1);
        allow(it);
    }
    // Sockets of the kinds that an agent speaks.
    const uint32_t families[] = {AF_UNIX, AF_INET, AF_NETLINK, AF_PACKET};
    allow_one_of(it, SYS_socket, 0, families, COUNT(families));
    allow_masked(it, SYS_socketpair, 0, UINT32_MAX, AF_UNIX);
    // Packet sockets count probes, and have none of their own options: the rings of memory that they may share.
    when(it, SYS_setsockopt, 4);
    load_argument(it, 1);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, SOL_PACKET, 0, 1);
    refuse(it, EPERM);
    allow(it);
    // What sockets and devices are asked, and whether something is a terminal; typing into one is not among it.
    when(it, SYS_ioctl, 8);
    load_argument(it, 1);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, TCGETS, 4, 0);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, FIONBIO, 3, 0);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, FIONREAD, 2, 0);
    add(it, BPF_ALU | BPF_AND | BPF_K, 0xffffff00, 0, 0);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, SIOCADDRT & 0xff00, 0, 1);
    allow(it);
    refuse(it, EPERM);
    // A thread, but no process and no namespace. What clone3 is told cannot be seen; the library then uses clone.
    const uint32_t spaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                            CLONE_NEWNET;
    allow_masked(it, SYS_clone, 0, spaces | CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD);
    when(it, SYS_clone3, 1);
    refuse(it, ENOSYS);
    // Nothing that was written is executed.
    when(it, SYS_mmap, 5);
    load_argument(it, 2);
    add(it, BPF_ALU | BPF_AND | BPF_K, PROT_WRITE | PROT_EXEC, 0, 0);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 0, 1);
    refuse(it, EPERM);
    allow(it);
    allow_masked(it, SYS_mprotect, 2, PROT_EXEC, 0);
    // Its own signals, names and limits.
    allow_masked(it, SYS_kill, 0, UINT32_MAX, (uint32_t)getpid());
    allow_masked(it, SYS_tgkill, 0, UINT32_MAX, (uint32_t)getpid());
    const uint32_t names[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA};
    allow_one_of(it, SYS_prctl, 0, names, COUNT(names));
    allow_masked(it, SYS_prlimit64, 0, UINT32_MAX, 0);
    // What x32 and whatever else there is would do.
    refuse(it, EPERM);
}

int fan_confine_calls(int whole_process) {
    struct program it = {.length = 0};
    write_program(&it);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    struct sock_fprog filter = {.len = it.length, .filter = it.code};
    // What is refused is logged where the kernel's list of what to log has it.
    unsigned int flags = SECCOMP_FILTER_FLAG_LOG | (whole_process ? SECCOMP_FILTER_FLAG_TSYNC : 0);
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    // With threads to take along, a positive number is the one that could not be.
    return result < 0 ? -errno : result > 0 ? -EBUSY : 0;
}
