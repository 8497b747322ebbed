/*
 * Runs a program under ptrace(2) and does one thing to its system calls. See tracer.ts, which builds
 * and calls it.
 *
 *   tracer REPORT FROM list COMMAND...                 says which calls it makes
 *   tracer REPORT FROM fail NUMBER NTH ERRNO COMMAND...  the NTH call NUMBER fails and is not made
 *   tracer REPORT FROM watch COMMAND...                says whom it signals; only itself gets it
 *
 * Calls of its first thread count, by FROM: `start` all of them, `connect` those from the first
 * connect(2) on, `entry` those made by the code in which the program begins. REPORT is a file of
 * lines: `call NUMBER`, `met`, `signal NUMBER ARGUMENT ARGUMENT`.
 * The tracer ends as the program ends. The program inherits all that the tracer was given.
 *
 * For COMMAND may stand `--pid PID`, a process that runs already. Then FROM may be `child`, too: the calls
 * that count are those of the children it makes, until they execute a program. REPORT begins with a
 * line `attached`, and when the tracer is killed the process goes on.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <linux/ptrace.h> /* after <sys/ptrace.h>, which has some of it under other names */
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum from { START, CONNECT, ENTRY, CHILD };
enum act { LIST, FAIL, WATCH };

static struct {
  enum from from;
  enum act act;
  long number, nth, error;
} plan;

static FILE *report;
static pid_t program;
/* The last child of a program whose children are looked at, until it is one of its own. */
static pid_t child;
/* Set when the program is executed, not before. */
static int counts;
static uint64_t code_start, code_end;
static long seen;
/* The call that the first thread is in fails with this when it comes back; 0: it does not. */
static long failing;

static void die(const char *what) {
  fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
  if (program > 0) kill(program, SIGKILL);
  _exit(250);
}

static void set_registers(pid_t thread, const long *number, const long *result) {
  struct user_regs_struct registers;
  if (ptrace(PTRACE_GETREGS, thread, 0, &registers) < 0) die("PTRACE_GETREGS");
  if (number) registers.orig_rax = *number;
  if (result) registers.rax = *result;
  if (ptrace(PTRACE_SETREGS, thread, 0, &registers) < 0) die("PTRACE_SETREGS");
}

/* Finds the mapping that holds the program's entry. */
static void find_code(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/auxv", program);
  FILE *file = fopen(path, "re");
  if (!file) die(path);
  Elf64_auxv_t entry;
  uint64_t address = 0;
  while (fread(&entry, sizeof entry, 1, file) == 1) {
    if (entry.a_type == AT_ENTRY) address = entry.a_un.a_val;
  }
  fclose(file);
  snprintf(path, sizeof path, "/proc/%d/maps", program);
  if (!(file = fopen(path, "re"))) die(path);
  char line[8192];
  while (fgets(line, sizeof line, file)) {
    unsigned long start, end;
    if (sscanf(line, "%lx-%lx", &start, &end) != 2 || address < start || address >= end) continue;
    code_start = start;
    code_end = end;
  }
  fclose(file);
}

static int is_signal(long number) {
  return number == SYS_kill || number == SYS_tkill || number == SYS_tgkill ||
         number == SYS_rt_sigqueueinfo || number == SYS_rt_tgsigqueueinfo ||
         number == SYS_pidfd_send_signal;
}

/* Whether a signal call is about the program itself, or the group that it leads, and nobody else. */
static int is_to_itself(long number, const __u64 *args) {
  pid_t target = (pid_t)args[0];
  if (number == SYS_pidfd_send_signal) return 0;
  if (number != SYS_tkill) return target == program || target == -program;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%d", program, target);
  return access(path, F_OK) == 0;
}

static void enter_call(pid_t thread, const struct ptrace_syscall_info *info) {
  long number = (long)info->entry.nr;
  if (plan.act == WATCH && is_signal(number) && !is_to_itself(number, info->entry.args)) {
    fprintf(report, "signal %ld %d %d\n", number, (int)info->entry.args[0],
            (int)info->entry.args[1]);
    long none = -1;
    set_registers(thread, &none, NULL);
    return;
  }
  if (thread != (plan.from == CHILD ? child : program)) return;
  if (plan.from == CONNECT && number == SYS_connect) counts = 1;
  if (!counts) return;
  if (plan.from == ENTRY && (info->instruction_pointer < code_start ||
                             info->instruction_pointer >= code_end)) {
    return;
  }
  if (plan.act == LIST) {
    fprintf(report, "call %ld\n", number);
    fflush(report);
  }
  if (plan.act != FAIL || number != plan.number || ++seen != plan.nth) return;
  fprintf(report, "met\n");
  fflush(report); /* should the program hang, we are killed */
  failing = plan.error;
  long none = -1;
  /* A close that fails has closed all the same. */
  if (number != SYS_close) set_registers(thread, &none, NULL);
}

static void leave_call(pid_t thread) {
  if (thread != (plan.from == CHILD ? child : program) || failing == 0) return;
  long result = -failing;
  set_registers(thread, NULL, &result);
  failing = 0;
}

static void on_call(pid_t thread) {
  struct ptrace_syscall_info info;
  if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) < 0) {
    if (errno == ESRCH) return; /* it was killed meanwhile */
    die("PTRACE_GET_SYSCALL_INFO");
  }
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY) enter_call(thread, &info);
  else if (info.op == PTRACE_SYSCALL_INFO_EXIT) leave_call(thread);
}

static void on_exec(pid_t thread) {
  if (thread == child) child = 0;
  if (plan.from == ENTRY) find_code();
  if (plan.from != CONNECT) counts = 1;
}

static int stops(int signal) {
  return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* Acts on one stop of a thread and lets it go on. */
static void on_stop(pid_t thread, int status) {
  int signal = WSTOPSIG(status);
  int event = status >> 16;
  enum __ptrace_request request = PTRACE_SYSCALL;
  long delivered = 0;
  if (signal == (SIGTRAP | 0x80)) on_call(thread);
  else if (event == PTRACE_EVENT_EXEC) on_exec(thread);
  else if (event == PTRACE_EVENT_STOP && thread != program && plan.from == CHILD && !child) {
    child = thread;
    counts = 1;
  }
  else if (event == PTRACE_EVENT_STOP && stops(signal)) request = PTRACE_LISTEN;
  else if (event == 0) delivered = signal;
  if (ptrace(request, thread, 0, delivered) < 0 && errno != ESRCH) die("ptrace");
}

/* Ends as the program has ended. */
static _Noreturn void end_as(int status) {
  if (fclose(report) != 0) die("the report");
  if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  int signal = WTERMSIG(status);
  sigset_t set;
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigaction(signal, &action, NULL);
  sigemptyset(&set);
  sigaddset(&set, signal);
  kill(getpid(), signal);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  _exit(128 + signal);
}

static char **parse(char **words) {
  static const char *const froms[] = {"start", "connect", "entry", "child"};
  static const char *const acts[] = {"list", "fail", "watch"};
  for (int at = 0; at < 4; at++) {
    if (strcmp(words[2], froms[at]) == 0) plan.from = (enum from)at;
    if (at < 3 && strcmp(words[3], acts[at]) == 0) plan.act = (enum act)at;
  }
  if (plan.act != FAIL) return words + 4;
  plan.number = atol(words[4]);
  plan.nth = atol(words[5]);
  plan.error = atol(words[6]);
  return words + 7;
}

/* Acts on all that is traced until the program ends. */
static _Noreturn void trace(void) {
  for (;;) {
    int status;
    pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0) die("waitpid");
    if (WIFSTOPPED(status)) on_stop(thread, status);
    else if (thread == program) end_as(status);
    else if (thread == child) child = 0;
  }
}

/* Traces a process that runs already. */
static _Noreturn void attach(const char *path, pid_t pid) {
  program = pid;
  counts = plan.from == START;
  if (!(report = fopen(path, "we"))) die(path);
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC;
  if (plan.from == CHILD) options |= PTRACE_O_TRACEVFORK | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE;
  if (ptrace(PTRACE_SEIZE, pid, 0, options) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0) {
    program = 0; /* not ours to end */
    die("PTRACE_SEIZE");
  }
  int status;
  if (waitpid(pid, &status, __WALL) != pid || ptrace(PTRACE_SYSCALL, pid, 0, 0) < 0) die("PTRACE_INTERRUPT");
  fprintf(report, "attached\n");
  fflush(report);
  trace();
}

int main(int count, char **words) {
  char **command = parse(words);
  int ready[2];
  if (count < 5) die("start");
  if (strcmp(command[0], "--pid") == 0) attach(words[1], atoi(command[1]));
  if (pipe2(ready, O_CLOEXEC) < 0) die("start");
  program = fork();
  if (program < 0) die("fork");
  if (program == 0) {
    char byte;
    close(ready[1]);
    if (read(ready[0], &byte, 1) == 1) execv(command[0], command);
    _exit(250);
  }
  /* What a terminal sends to the group is for the program; a tracer that stopped would stop it for good. */
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  if (!(report = fopen(words[1], "we"))) die(words[1]);
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SEIZE, program, 0, options) < 0) die("PTRACE_SEIZE");
  if (write(ready[1], "", 1) != 1) die("write");
  close(ready[0]);
  close(ready[1]);
  trace();
}
